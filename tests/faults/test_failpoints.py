"""A worker dies at one place after another; what it held is ended by others, and each effect is applied once."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial

import pytest

from engine import operations as op
from tests.builders import Process, document, edges, is_ready, node, wait_until
from tests.faults.conftest import BOUND, Site

PLACES = {
    "claim.before": "claim.before=kill",
    "claim.after": "claim.after=kill",
    "effect.before": "effect.before=kill",
    "effect.after": "effect.after=kill",
    "settle.before": "settle.before=kill",
    "settle.fenced": "settle.fenced=kill",
    "commit.before.claim": "commit.before=kill@1",
    "commit.before.settle": "commit.before=kill@2",
    "commit.after.settle": "commit.after=kill@2",
    "dispatch.before": "dispatch.before=kill",
    "publish.before": "publish.before=kill",
}
IDLE = {"CELERIAC_TIMING_POLL": "3600000", "CELERIAC_TIMING_CANARY": "3600000"}
"""A victim repairs nothing, so that its first commit is one of what it is sent."""
ONCE = {f"once.{place}": f"{place}=kill" for place in ("effect.before", "effect.after")}

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="session")
def victims(site: Site) -> Iterator[dict[str, Process]]:
    """One worker a place, all started at once; each takes only what is sent to its own queue."""
    with ExitStack() as opened:
        found = {}
        for place, rule in (PLACES | ONCE).items():
            more = {"CELERIAC_TEST": "1", "CELERIAC_FAILPOINTS": rule, **IDLE}
            found[place] = site.worker(f"victim-{place}", f"only-{place}", **more)
            opened.callback(_end, found[place])
        for each in found.values():
            wait_until(lambda each=each: is_ready(each), 60, "a victim")  # type: ignore[misc]
        yield found


def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()


def ended_or_dead(site: Site, execution: str, victim: Process) -> bool:
    return victim.code is not None or site.client.status(execution) == "succeeded"


@pytest.mark.parametrize("place", PLACES)
def test_what_a_worker_held_that_died_is_ended_by_another_and_its_effects_are_applied_once(
    site: Site, victims: dict[str, Process], place: str
) -> None:
    victim = victims[place]
    body = document(
        [
            site.call("first"),
            node("left"),
            node("right", queue="cpu"),
            node("meet", "merge"),
            site.call("last"),
        ],
        edges("first->left->meet->last", "first->right->meet"),
    )
    active = site.push(body, f"dies-at-{place}")
    execution = ""
    while victim.code is None:
        # A survivor may be quicker than the victim when the machine is busy: then another one is tried.
        execution = site.accept_silently(active)
        site.send([(execution, 0, "")], f"only-{place}")
        wait_until(partial(ended_or_dead, site, execution, victim), 10, "a death")
    died = time.time()
    assert victim.code == -signal.SIGKILL
    assert site.client.finished(execution) == "succeeded"
    ((finished,),) = site.client.query("SELECT finished_at FROM execution WHERE id = ?", execution)
    assert finished / 1000 - died < BOUND
    site.judge([execution])
    assert [site.applied(execution, each) for each in ("first", "last")] == [1, 1]


@pytest.mark.parametrize(("place", "decision"), [("effect.before", "retry"), ("effect.after", "done")])
def test_an_effect_that_cannot_be_repeated_and_whose_fate_is_unknown_waits_for_a_person(
    site: Site, victims: dict[str, Process], place: str, decision: str
) -> None:
    victim = victims[f"once.{place}"]
    once = node("once", "once_effect", {"url": f"{site.sink.url}/effect"})
    active = site.push(document([once, node("after")], edges("once->after")), f"once-{place}")
    execution = ""
    while victim.code is None:
        execution = site.accept_silently(active)
        site.send([(execution, 0, "")], f"only-once.{place}")
        wait_until(partial(ended_or_dead, site, execution, victim), 10, "a death")
    row = "SELECT status FROM segment WHERE execution_id = ? AND segment = 0"
    wait_until(lambda: site.client.query(row, execution) == [("uncertain",)], BOUND, "the doubt")
    called = 1 if place == "effect.after" else 0
    site.send([(execution, 0, "")] * 5)
    site.pause(0.5)
    assert site.client.status(execution) == "waiting"
    assert site.received(execution, "once") == called
    now = site.client.runtime.clock.now()
    output = op.Payload('{"status": 200}') if decision == "done" else op.Payload()
    word = op.Resolve(execution, 0, "", decision, now, "someone", output, "once")
    site.client.runtime.ledger.ask(word)
    assert site.client.finished(execution) == "succeeded"
    assert site.received(execution, "once") == 1
