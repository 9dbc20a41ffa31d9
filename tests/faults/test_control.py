"""Whoever forks an execution or skips a node dies at the commit: it has happened once or not at all, and goes on by itself."""

from __future__ import annotations

import signal

import pytest

from tests.builders import Process, document, edges, node, wait_until
from tests.faults.conftest import BOUND, LEASE, Site

pytestmark = pytest.mark.timeout(120)

PLACES = [("commit.before=kill", 0), ("commit.after=kill", 1), ("api.publish.before=kill", 1)]


def ask(site: Site, verb: str, execution: str, name: str, rule: str = "") -> Process:
    """Let a process of its own ask for it, and see it end."""
    around = {**site.around, "CELERIAC_TEST": "1", "CELERIAC_FAILPOINTS": rule}
    log = site.folder / f"{verb}-{execution}-{rule}.log"
    asking = Process(["-m", "tests.faults.control", verb, execution, name], around, log)
    wait_until(lambda: asking.code is not None, 30, "the end of who asks")
    return asking


@pytest.mark.parametrize(("rule", "there"), PLACES)
def test_a_fork_is_started_once_or_not_at_all_and_does_nothing_again(
    site: Site, rule: str, there: int
) -> None:
    nodes = [site.call("first"), node("bad", "fail", {"message": "no"}), site.call("last")]
    body = document(nodes, edges("first->bad->last"))
    base = site.start(site.push(body, f"forked-{rule.partition('=')[0]}"))
    assert site.client.finished(base) == "failed"
    assert ask(site, "fork", base, "bad", rule).code == -signal.SIGKILL
    forks = "SELECT id FROM execution WHERE base = ?"
    assert len(site.client.query(forks, base)) == there
    again = ask(site, "fork", base, "bad")
    ((made,),) = site.client.query(forks, base)
    assert again.said().split() == [made, str(there == 0)]
    assert site.client.finished(made, BOUND + LEASE) == "succeeded"
    assert [site.received(made, each) for each in ("first", "last")] == [0, 1]
    assert [site.received(base, each) for each in ("first", "last")] == [1, 0]


@pytest.mark.parametrize(("rule", "there"), PLACES[:2])
def test_a_skip_has_happened_or_not_and_the_execution_goes_on(site: Site, rule: str, there: int) -> None:
    nodes = [site.call("first"), node("long", "wait", {"for": "1h"}), site.call("last")]
    body = document(nodes, edges("first->long->last"))
    name = site.start(site.push(body, f"skipped-{rule.partition('=')[0]}"))
    wait_until(lambda: site.client.status(name) == "waiting", 20, "the wait")
    assert ask(site, "skip", name, "long", rule).code == -signal.SIGKILL
    if not there:
        assert site.client.status(name) == "waiting"
        assert ask(site, "skip", name, "long").said().strip() == "skipped"
    assert site.client.finished(name, BOUND + LEASE) == "succeeded"
    assert [site.received(name, each) for each in ("first", "last")] == [1, 1]
    assert ask(site, "skip", name, "long").said().split()[-1] == "ended"
