"""A worker dies between the commit of an answer and the word to whoever waits for it."""

from __future__ import annotations

import signal
from contextlib import suppress
from functools import partial

import pytest

from engine import queries
from engine.watch import Watcher
from tests.builders import document, edges, is_ready, node, wait_until
from tests.faults.conftest import BOUND, Site
from tests.faults.test_failpoints import IDLE, ended_or_dead

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize(
    ("rule", "there"),
    [("answer.before=kill", True), ("commit.before=kill@1", False)],
    ids=["after", "before"],
)
def test_an_answer_is_in_the_rows_before_anybody_is_told(site: Site, rule: str, there: bool) -> None:
    queue = f"only-answers-{there}"
    victim = site.worker(queue, queue, CELERIAC_TEST="1", CELERIAC_FAILPOINTS=rule, **IDLE)
    try:
        wait_until(lambda: is_ready(victim), 60, "a victim")
        active = site.client.push(
            document(
                [node("say", "respond", {"status": 201, "body": "{{ k }}"}), site.call("effect")],
                edges("say->effect"),
                name=queue,
            )
        )
        execution = ""
        while victim.code is None:
            execution = site.accept_silently(active)
            site.send([(execution, 0, "")], queue)
            wait_until(partial(ended_or_dead, site, execution, victim), 10, "a death")
    finally:
        with suppress(ProcessLookupError):
            victim.kill()
    assert victim.code == -signal.SIGKILL
    reader = site.client.runtime.reader
    if there:
        assert site.client.query("SELECT answered_at FROM execution WHERE id = ?", execution) != [(None,)]

    async def waited() -> bool:
        watcher = Watcher(reader)
        try:
            return await watcher.told(execution, 20, answers=True)
        finally:
            await watcher.close()

    assert site.client.do(waited())
    body = site.client.do(reader.read(lambda connection: queries.execution(connection, execution)))
    assert body["answer"] == {"status": 201, "headers": {}, "body": 1}
    assert site.client.finished(execution, BOUND + 5) == "succeeded"
    assert site.applied(execution, "effect") == 1
