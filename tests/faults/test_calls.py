"""A worker dies between the end of what was called and the word to its caller."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest

from tests.builders import Process, document, edges, is_ready, node, wait_until
from tests.faults.conftest import BOUND, Site
from tests.faults.test_failpoints import ended_or_dead

pytestmark = pytest.mark.timeout(120)

PLACES = ["return.before", "dispatch.before", "commit.after"]
"""Before the word, before what was called is even begun, and right after the commit that started it."""


@pytest.fixture(params=PLACES)
def victim(site: Site, request: pytest.FixtureRequest) -> Iterator[Process]:
    """A worker that repairs nothing, takes what is sent to its own queue, and dies at one place."""
    rule = f"{request.param}=kill"
    idle = {"CELERIAC_TIMING_POLL": "3600000", "CELERIAC_TIMING_CANARY": "3600000"}
    made = site.worker(
        f"victim-{site.dialect}", "only-calls", CELERIAC_TEST="1", CELERIAC_FAILPOINTS=rule, **idle
    )
    wait_until(lambda: is_ready(made), 60, "a victim")
    yield made
    with suppress(ProcessLookupError):
        made.kill()


def test_a_caller_whose_worker_dies_is_woken_by_another(site: Site, victim: Process) -> None:
    site.client.push(document([site.call("effect")], name="called"))
    ask = node("ask", "workflow", {"workflow": "called", "input": {"k": "{{ k }}"}})
    active = site.client.push(
        document([ask, node("after", "set", {"values": {"k": "{{ k }}"}})], edges("ask->after"), "caller")
    )
    execution = ""
    while victim.code is None:
        execution = site.accept_silently(active)
        site.send([(execution, 0, "")], "only-calls")
        wait_until(partial(ended_or_dead, site, execution, victim), 10, "a death")
    assert victim.code == -signal.SIGKILL
    assert site.client.finished(execution, BOUND + 2) == "succeeded"
    children = site.client.query("SELECT id, told FROM execution WHERE parent_execution = ?", execution)
    assert [told for _, told in children] == [1]
    assert site.applied(children[0][0], "effect") == 1
