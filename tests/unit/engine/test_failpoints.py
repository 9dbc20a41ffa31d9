from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from engine import failpoints
from engine.failpoints import FailpointError, crossing, parse

ARMED = {"CELERIAC_TEST": "1"}


def arm(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(failpoints, "_rules", parse(text))
    monkeypatch.setattr(failpoints, "_hits", {})


def fired(name: str, times: int) -> list[bool]:
    """Which of so many hits raised."""
    found = []
    for _ in range(times):
        try:
            failpoints._fire(name)
        except FailpointError:
            found.append(True)
        else:
            found.append(False)
    return found


def test_nothing_is_armed_in_production() -> None:
    assert failpoints._armed({"CELERIAC_FAILPOINTS": "a=raise"}) == {}
    assert list(failpoints._armed({"CELERIAC_FAILPOINTS": "a=raise", **ARMED})) == ["a"]
    assert failpoints._armed(ARMED) == {}
    assert failpoints._pass("anything") is None  # type: ignore[func-returns-value]  # that is the point


def test_a_rule_fires_at_its_place_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    arm(monkeypatch, "claim.after=raise")
    assert fired("claim.after", 2) == [True, True]
    assert fired("claim.before", 2) == [False, False]


def test_a_rule_may_fire_at_one_hit_only(monkeypatch: pytest.MonkeyPatch) -> None:
    arm(monkeypatch, "a=raise@3")
    assert fired("a", 5) == [False, False, True, False, False]


def test_a_rule_may_fire_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    arm(monkeypatch, "a=raise%0.5")
    draws = iter([0.49, 0.5, 0.1])
    monkeypatch.setattr("random.random", lambda: next(draws))
    assert fired("a", 3) == [True, False, True]


def test_a_rule_may_kill_stop_or_delay_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    arm(monkeypatch, "a=kill; b=stop;c=sleep:2.5;")
    signals: list[tuple[int, int]] = []
    slept: list[float] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: signals.append((pid, number)))
    monkeypatch.setattr("time.sleep", slept.append)
    for name in "abc":
        failpoints._fire(name)
    assert signals == [(os.getpid(), signal.SIGKILL), (os.getpid(), signal.SIGSTOP)]
    assert slept == [2.5]


@pytest.mark.parametrize("text", ["a", "a=explode", "a=sleep", "A=kill", "a=kill@x", "a=kill@1@2"])
def test_a_rule_that_cannot_be_read_is_refused_with_the_form_that_can(text: str) -> None:
    with pytest.raises(ValueError, match="name=kill"):
        parse(text)


def test_a_bug_is_planted_in_tests_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERIAC_BUG", "no_fence")
    monkeypatch.delenv("CELERIAC_TEST", raising=False)
    assert not failpoints.planted("no_fence")
    monkeypatch.setenv("CELERIAC_TEST", "1")
    assert failpoints.planted("no_fence")
    assert not failpoints.planted("other")


def test_a_crossing_is_the_function_itself_when_nothing_is_armed() -> None:
    def leave() -> str:
        return "answer"

    assert crossing("unit.leave")(leave) is leave


def test_a_crossing_raises_what_the_outside_would_before_it_is_done_or_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(failpoints, "ARMED", True)
    done: list[int] = []
    leave = crossing("unit.leave", OSError)(done.append)
    arm(monkeypatch, "unit.leave.before=raise")
    with pytest.raises(OSError, match="before"):
        leave(1)
    assert done == []
    arm(monkeypatch, "unit.leave.after=raise")
    with pytest.raises(OSError, match="after"):
        leave(2)
    assert done == [2]


async def test_a_crossing_may_be_awaited_and_one_that_cannot_fail_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(failpoints, "ARMED", True)
    arm(monkeypatch, "unit.wait.after=raise;unit.clock.before=raise")

    @crossing("unit.wait", OSError)
    async def wait() -> None: ...

    with pytest.raises(OSError, match="after"):
        await wait()
    assert crossing("unit.clock", None)(lambda: 7)() == 7


def test_rules_come_from_a_file_that_may_change_and_what_fired_is_noted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "rules"
    arm(monkeypatch, "")
    monkeypatch.setattr(failpoints, "_path", path)
    monkeypatch.setattr(failpoints, "_changed", [0])
    assert fired("a", 1) == [False]
    path.write_text("a=raise@1")
    os.utime(path, ns=(1, 1))
    assert fired("a", 2) == [True, False]
    path.write_text("b=raise@1")
    os.utime(path, ns=(2, 2))
    assert fired("b", 1) == [False], "another process has fired already, as far as anybody can tell"
    said = path.with_suffix(".fired")
    assert said.read_text() == f"a {os.getpid()}\n"
    said.unlink()
    os.utime(path, ns=(3, 3))
    assert (fired("a", 1), fired("b", 1)) == ([False], [True])
    assert said.read_text() == f"b {os.getpid()}\n"
    path.write_text("*=note")
    os.utime(path, ns=(4, 4))
    assert (fired("a", 2), fired("b", 1)) == ([False, False], [False])
    assert [each.split()[0] for each in said.read_text().splitlines()] == ["b", "a", "a", "b"]
