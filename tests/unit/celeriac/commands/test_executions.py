from __future__ import annotations

from typing import Any

import pytest

from celeriac.client import Refused
from celeriac.commands import executions


def run(node: str, status: str, **more: Any) -> dict[str, Any]:
    plain = {
        "node": node,
        "status": status,
        "tries": 1,
        "started_at": 1000,
        "ended_at": 1020,
        "duration_ms": 20,
    }
    return {**plain, **more}


def body(status: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "exec_x",
        "workflow": {"id": "wf_x", "name": "shop"},
        "version": {"id": "ver_x", "number": 3},
        "status": status,
        "created_at": 990,
        "finished_at": 1500,
        "duration_ms": 510,
        **more,
    }


def test_a_failure_stands_on_top_with_its_remedy_and_the_next_command() -> None:
    error = {"code": "http.status", "message": "500", "node": "pay", "hint": "Look at the server."}
    first = {"code": "http.status", "message": "500"}
    nodes = [run("load", "succeeded"), run("pay", "failed", tries=3, first_error=first, error=first)]
    assert executions._timeline(body("failed", error=error), nodes, 200).splitlines() == [
        "exec_x  shop v3  failed  510 ms",
        "error: pay: 500 (http.status)",
        "  Look at the server.",
        "  celeriac executions retry exec_x",
        "",
        "node  status     start   took   tries  first error",
        "load  succeeded  +10 ms  20 ms  1",
        "pay   failed     +10 ms  20 ms  3      http.status: 500",
    ]


def test_what_waits_for_a_person_says_where_to_decide() -> None:
    nodes = [run("pay", "uncertain", ended_at=None, duration_ms=None)]
    text = executions._timeline(body("waiting", finished_at=None, duration_ms=None), nodes, 200)
    assert "  pay waits for a person: celeriac attention list" in text.splitlines()


def test_a_held_execution_says_how_it_goes_on() -> None:
    text = executions._timeline(body("running", finished_at=None, duration_ms=None, paused_at=1000), [], 200)
    assert "celeriac executions resume exec_x" in text


def test_a_long_list_is_cut_and_says_so() -> None:
    nodes = [run(f"n{number}", "succeeded") for number in range(7)]
    assert executions._timeline(body("succeeded"), nodes, 5).splitlines()[-1] == "... and 2 more: --nodes 7"


def test_a_node_that_never_began_has_no_times() -> None:
    nodes = [run("late", "not_reached", tries=0, started_at=None, ended_at=None, duration_ms=None)]
    assert executions._timeline(body("failed"), nodes, 9).splitlines()[-1].split() == [
        "late",
        "not_reached",
        "-",
        "-",
        "-",
    ]


def test_the_verdicts_of_a_fork_are_a_table() -> None:
    nodes: list[dict[str, Any]] = [
        {"node": "a", "verdict": "kept", "reason": "", "effect": "keyed", "outcome": "succeeded"},
        {"node": "b", "verdict": "again", "reason": "it is named", "effect": "none", "outcome": None},
    ]
    assert executions._verdicts(nodes).splitlines() == [
        "node  verdict  effect  so far     why",
        "a     kept     keyed   succeeded",
        "b     again    none    -          it is named",
    ]


def test_outputs_are_given_by_node() -> None:
    assert executions._given(["a=1", 'b={"x": "y=z"}']) == {"a": {"output": 1}, "b": {"output": {"x": "y=z"}}}
    with pytest.raises(Refused):
        executions._given(["a"])


def test_what_a_fork_has_kept_has_no_start_of_its_own() -> None:
    text = executions._timeline(body("succeeded"), [run("load", "succeeded", kept=True, started_at=10)], 200)
    assert text.splitlines()[-1].split() == ["load", "succeeded", "kept", "20", "ms", "1"]


def test_a_node_of_many_items_says_how_many_there_are_and_what_became_of_them() -> None:
    row = {**run("sq", "failed"), "items": {"succeeded": 997, "failed": 3}}
    assert "sq  1,000 items, 3 failed" in executions._timeline(body("failed"), [row], 9)
    assert "sq  1 item " in executions._timeline(body("succeeded"), [{**row, "items": {"succeeded": 1}}], 9)
