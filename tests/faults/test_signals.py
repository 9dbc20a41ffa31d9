"""Whoever ends a wait, begins one or publishes dies around the commit; the wait ends once, and with the first signal."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import pytest

from engine import operations as op
from engine.settings import DEFAULT_PROJECT
from tests.builders import Process, document, edges, is_ready, node, wait_until
from tests.faults.conftest import BOUND, Site
from tests.faults.test_failpoints import IDLE

WAITS: dict[str, dict[str, Any]] = {
    "decide": node("pause", "approval", {"title": "Go on?"}),
    "publish": node("pause", "wait", {"event": {"type": "paid", "correlation": "{{ execution.id }}"}}),
    "call": node("pause", "wait", {"callback": True}),
}
AGAIN = {"decide": "closed", "publish": "known", "call": "lost"}
FIRST = {"decide": "decided", "publish": "new", "call": "won"}
PLACES = {
    "commit.before.rest": "commit.before=kill@1",
    "commit.after.rest": "commit.after=kill@1",
    "rest.after": "rest.after=kill",
}

pytestmark = pytest.mark.timeout(120)


def resting(site: Site, execution: str) -> bool:
    look = "SELECT 1 FROM segment WHERE execution_id = ? AND status = 'waiting'"
    return bool(site.client.query(look, execution))


def signals(site: Site, execution: str) -> int:
    found: int = site.client.query("SELECT count(*) FROM signal WHERE execution_id = ?", execution)[0][0]
    return found


@pytest.mark.parametrize("what", WAITS)
@pytest.mark.parametrize(("rule", "there"), [("commit.before=kill@1", 0), ("commit.after=kill@1", 1)])
def test_whoever_dies_while_he_ends_a_wait_has_ended_it_or_not_at_all(
    site: Site, what: str, rule: str, there: int
) -> None:
    active = site.client.push(
        document([WAITS[what], node("after")], edges("pause->after"), name=f"says-{what}")
    )
    execution = site.client.start(active)
    wait_until(lambda: resting(site, execution), 20, "the rest")
    around = {**site.around, "CELERIAC_TEST": "1", "CELERIAC_FAILPOINTS": rule}
    line = ["-m", "tests.faults.say", what, execution]
    dying = Process(line, around, site.folder / f"{what}-{rule}.log")
    wait_until(lambda: dying.code is not None, 30, "a death")
    assert dying.code == -signal.SIGKILL, dying.said()
    assert signals(site, execution) == there
    again = Process(line, site.around, site.folder / f"{what}-{rule}-again.log")
    wait_until(lambda: again.code is not None, 30, "an end")
    assert again.said().strip() == (AGAIN if there else FIRST)[what]
    assert site.client.finished(execution, BOUND + 5) == "succeeded"
    assert signals(site, execution) == 1


@pytest.fixture(scope="module")
def victims(site: Site) -> Iterator[dict[str, Process]]:
    with ExitStack() as opened:
        found = {}
        for place, rule in {**PLACES, "emit.after": "emit.after=kill"}.items():
            more = {"CELERIAC_TEST": "1", "CELERIAC_FAILPOINTS": rule, **IDLE}
            found[place] = site.worker(f"victim-{place}", f"only-{place}", **more)
            opened.callback(_end, found[place])
        for each in found.values():
            wait_until(lambda each=each: is_ready(each), 60, "a victim")  # type: ignore[misc]
        yield found


def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()


def died_or_done(site: Site, execution: str, victim: Process) -> bool:
    return victim.code is not None or resting(site, execution) or site.client.status(execution) == "succeeded"


@pytest.mark.parametrize("place", PLACES)
def test_a_worker_that_dies_while_a_wait_begins_leaves_a_wait_that_hears(
    site: Site, victims: dict[str, Process], place: str
) -> None:
    victim = victims[place]
    active = site.client.push(
        document([WAITS["publish"], node("after")], edges("pause->after"), name=f"rests-{place}")
    )
    execution = ""
    while victim.code is None:
        execution = site.accept_silently(active)
        site.send([(execution, 0, "")], f"only-{place}")
        wait_until(partial(died_or_done, site, execution, victim), 10, "a death")
        if victim.code is None:
            site.pause(0.2)
    assert victim.code == -signal.SIGKILL
    wait_until(lambda: resting(site, execution), BOUND, "the rest")
    now = site.client.runtime.clock.now()
    event = op.Publish(f"evt_{place}_{site.dialect}", DEFAULT_PROJECT, "paid", execution, now, now + 60_000)
    published: op.Published = site.client.runtime.ledger.ask(event)
    assert published.woken == 1
    assert site.client.finished(execution, BOUND + 5) == "succeeded"


def test_a_worker_that_dies_after_it_has_published_has_published_once(
    site: Site, victims: dict[str, Process]
) -> None:
    victim = victims["emit.after"]
    emit = node("tell", "emit", {"event": "told", "correlation": "{{ execution.id }}"})
    active = site.client.push(document([emit, node("after")], edges("tell->after"), name="emits"))
    execution = ""
    while victim.code is None:
        execution = site.accept_silently(active)
        site.send([(execution, 0, "")], "only-emit.after")
        wait_until(partial(died_or_done, site, execution, victim), 10, "a death")
    assert victim.code == -signal.SIGKILL
    assert site.client.finished(execution, BOUND + 5) == "succeeded"
    published = site.client.query("SELECT id FROM event_log WHERE correlation = ?", execution)
    assert len(published) == 1
