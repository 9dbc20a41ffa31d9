"""Children, workers and APIs are killed or stopped from outside, at times of their own choosing."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.builders import Process, document, edges, is_ready, node, state_of, wait_until
from tests.faults.conftest import BOUND, LEASE, Site

pytestmark = pytest.mark.timeout(120)


def test_a_child_that_is_killed_takes_only_its_own_attempt_with_it(site: Site) -> None:
    quick = site.push(document([node("quick", "compute")]), "warm")

    def warm() -> bool:
        assert site.client.finished(site.start(quick)) == "succeeded"
        return all(each.children() for each in site.workers)

    wait_until(warm, 30, "a child in every worker, so that none is killed before it has begun")
    long = node("long", "compute", {"seconds": 1.0, "value": "{{ k }}"})
    active = site.push(document([long, site.call("after")], edges("long->after")), "child")
    execution = site.start(active)
    claimed = "SELECT owner FROM segment WHERE execution_id = ? AND status = 'running'"
    wait_until(lambda: bool(site.client.query(claimed, execution)), 10, "the claim")
    ((owner,),) = site.client.query(claimed, execution)
    (worker,) = (each for each in site.workers if f":{each.pid}:" in owner)
    wait_until(lambda: any(state_of(each) == "R" for each in worker.children()), 10, "a child at work")
    (child,) = (each for each in worker.children() if state_of(each) == "R")
    os.kill(child, signal.SIGKILL)
    died = time.time()
    assert site.client.finished(execution) == "succeeded"
    ((finished, deliveries, tries),) = site.client.query(
        "SELECT e.finished_at, s.deliveries, s.tries FROM execution e JOIN segment s ON s.execution_id = e.id "
        "WHERE e.id = ? AND s.segment = 0",
        execution,
    )
    assert finished / 1000 - died < BOUND
    assert (deliveries, tries) == (1, 0)
    assert worker.code is None
    site.judge([execution])


def working(site: Site, active_name: str, execution: str) -> Process:
    """The worker of a test's own that holds the first segment."""
    claimed = "SELECT owner FROM segment WHERE execution_id = ? AND status = 'running'"
    wait_until(lambda: bool(site.client.query(claimed, execution)), 10, f"the claim of {active_name}")
    ((owner,),) = site.client.query(claimed, execution)
    (worker,) = (each for each in site.workers if f":{each.pid}:" in owner)
    return worker


def test_a_worker_killed_in_the_middle_of_an_effect_is_followed_by_another(site: Site) -> None:
    active = site.push(
        document([site.call("slow", delay=1.0), site.call("after")], edges("slow->after")), "slow"
    )
    executions = site.accept_all(active, 6, f"killed-{site.dialect}")
    wait_until(lambda: all(site.received(each, "slow") for each in executions), 10, "the calls")
    worker = working(site, "slow", executions[0])
    index = site.workers.index(worker)
    worker.kill()
    died = time.time()
    site.ended(executions, 20)
    latest = max(
        site.client.query("SELECT finished_at FROM execution WHERE id = ?", each)[0][0] for each in executions
    )
    assert latest / 1000 - died < BOUND + 2
    site.judge(executions)
    site.workers[index] = site.worker(f"survivor-{index}-again")
    wait_until(lambda: is_ready(site.workers[index]), 40, "the new worker")


def test_a_worker_that_sleeps_through_its_lease_writes_nothing_when_it_wakes(site: Site) -> None:
    active = site.push(
        document([site.call("slow", delay=0.7), site.call("after")], edges("slow->after")), "stalled"
    )
    execution = site.start(active)
    wait_until(lambda: site.received(execution, "slow") == 1, 10, "the call")
    worker = working(site, "stalled", execution)
    worker.send(signal.SIGSTOP)
    try:
        assert site.client.finished(execution) == "succeeded"
    finally:
        worker.send(signal.SIGCONT)
    site.pause(0.5)
    assert site.applied(execution, "slow") == 1
    assert site.received(execution, "slow") == 2
    site.judge([execution])
    assert worker.code is None


@pytest.mark.parametrize(
    ("rule", "there"),
    [("commit.before=kill", 0), ("commit.after=kill", 1), ("api.publish.before=kill", 1)],
)
def test_an_api_that_dies_while_it_accepts_has_accepted_once_or_not_at_all(
    site: Site, rule: str, there: int
) -> None:
    name, key = f"accepted-{rule.partition('=')[0]}", f"{site.dialect}-{rule}"
    site.push(document([site.call("effect")]), name)
    around = {**site.around, "CELERIAC_TEST": "1", "CELERIAC_FAILPOINTS": rule}
    dying = Process(["-m", "tests.faults.accept", name, key], around, site.folder / f"{name}.log")
    wait_until(lambda: dying.code is not None, 30, "the death of the API")
    assert dying.code == -signal.SIGKILL
    accepted = "SELECT id FROM execution WHERE idempotency_key = ?"
    assert len(site.client.query(accepted, key)) == there
    again = Process(["-m", "tests.faults.accept", name, key], site.around, site.folder / f"{name}-again.log")
    wait_until(lambda: again.code is not None, 30, "the answer")
    assert again.code == 0
    ((execution,),) = site.client.query(accepted, key)
    assert again.said().split() == [execution, str(there == 0)]
    assert site.client.finished(execution, BOUND + LEASE) == "succeeded"
    site.judge([execution])


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
@pytest.mark.parametrize("commit", [1, 2], ids=["claim", "settle"])
def test_a_worker_that_stands_still_in_a_transaction_keeps_its_locks_no_longer_than_its_lease(
    site: Site, commit: int
) -> None:
    lane = f"frozen-{commit}"
    idle = {"CELERIAC_TIMING_POLL": "3600000", "CELERIAC_TIMING_CANARY": "3600000"}
    rule = {"CELERIAC_TEST": "1", "CELERIAC_FAILPOINTS": f"commit.before=stop@{commit}"}
    frozen = site.worker(lane, lane, **rule, **idle)
    site.opened.callback(frozen.end)
    wait_until(lambda: is_ready(frozen), 60, "the worker that is to stand still")
    active = site.push(document([site.call("first"), site.call("last")], edges("first->last")), lane)
    execution = site.accept_silently(active)
    site.send([(execution, 0, "")], lane)
    wait_until(lambda: state_of(frozen.pid) == "T", 20, "a worker that stands still")
    stopped = time.time()
    assert site.client.finished(execution) == "succeeded"
    ((finished,),) = site.client.query("SELECT finished_at FROM execution WHERE id = ?", execution)
    assert finished / 1000 - stopped < BOUND
    site.judge([execution])
    os.kill(frozen.pid, signal.SIGCONT)
    # It has lost its connection, makes another one, and works on.
    again = site.accept_silently(active)
    site.send([(again, 0, "")], lane)
    assert site.client.finished(again) == "succeeded"
    assert frozen.code is None
