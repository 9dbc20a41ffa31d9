from __future__ import annotations

import json
from typing import Any

import pytest

from celeriac.commands import running


def body(status: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "exec_x",
        "workflow": {"id": "wf_x", "name": "w"},
        "version": {"id": "ver_x", "number": 3},
        "status": status,
        "duration_ms": 1500,
        **more,
    }


def test_a_success_exits_with_nothing_wrong_even_when_its_output_is_null(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert running.report(body("succeeded", output=None), True) == 0
    assert json.loads(capsys.readouterr().out) == {
        "execution": "exec_x",
        "workflow": "w",
        "version": 3,
        "status": "succeeded",
        "output": None,
        "duration_ms": 1500,
    }


def test_a_failure_tells_its_remedy_and_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    error = {"code": "node.timeout", "message": "too slow", "hint": "Give it time."}
    assert running.report(body("failed", error=error), False) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "exec_x failed after 1.5 s",
        "error: too slow (node.timeout)",
        "  Give it time.",
        "  celeriac executions show exec_x",
    ]


def test_what_goes_on_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert running.report(body("waiting", duration_ms=None), False) == 1
    assert "goes on while a worker runs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"type": "node.succeeded", "node": "n", "ms": 7}, "  done     n  7 ms"),
        ({"type": "node.failed", "node": "n", "error": {"message": "no"}}, "  failed   n  no"),
        (
            {"type": "node.retrying", "node": "n", "attempt": 2, "delay": 1.5, "error": {"message": "no"}},
            "  retry    n  attempt 2 failed, again in 1.5 s: no",
        ),
        ({"type": "node.waiting", "node": "n", "until": 1}, "  waiting  n"),
        ({"type": "node.called", "node": "n", "execution": "exec_y"}, "  calling  n  exec_y"),
        ({"type": "node.log", "node": "n", "level": "info", "message": "hi"}, "  info     n  hi"),
        ({"type": "execution.cancel_requested", "reason": ""}, "  cancel requested"),
        ({"type": "segment.claimed", "segment": 1}, None),
        ({"type": "execution.created"}, None),
    ],
)
def test_events_are_lines_for_people(event: dict[str, Any], line: str | None) -> None:
    assert running.line_of(event) == line
