from __future__ import annotations

from typing import Any

from engine.rehearsal.recording import recorded

EXECUTION: dict[str, Any] = {
    "status": "succeeded",
    "created_at": 1_893_456_000_250,
    "finished_at": 1_893_456_009_000,
    "input": {"id": 7},
    "output": {"a": 1},
}


def run(node: str, status: str = "succeeded", effect: str = "read", tries: int = 1, **more: Any) -> Any:
    return {
        "node": node,
        "effect": effect,
        "status": status,
        "tries": tries,
        "started_at": 1_893_456_001_000,
        **more,
    }


def test_what_effects_came_to_becomes_mocks_and_pure_nodes_stay_themselves() -> None:
    nodes = [run("sum", effect="none", output=3), run("get", output={"x": 1})]
    assert recorded(EXECUTION, nodes, "as it was") == {
        "name": "as it was",
        "input": {"id": 7},
        "now": "2030-01-01T00:00:00.250Z",
        "mocks": {"get": [{"output": {"x": 1}}]},
        "expect": {"output": {"a": 1}},
    }


def test_nothing_to_mock_leaves_no_mocks() -> None:
    never = {**run("get", "skipped"), "started_at": None}
    assert "mocks" not in recorded(EXECUTION, [run("a", effect="none"), never], "x")


def test_attempts_that_failed_come_before_the_one_that_did_not() -> None:
    error = {"code": "http.timeout", "message": "Late.", "details": {"s": 5}, "hint": "Look."}
    nodes = [run("get", tries=3, first_error=error, output=1)]
    kept = {"error": {"code": "http.timeout", "message": "Late.", "details": {"s": 5}}}
    assert recorded(EXECUTION, nodes, "x")["mocks"] == {"get": [kept, kept, {"output": 1}]}


def test_a_failure_is_what_every_attempt_came_to() -> None:
    error = {"code": "http.timeout", "message": "Late."}
    failed = {**EXECUTION, "status": "failed", "error": {**error, "node": "get"}}
    made = recorded(failed, [run("get", "failed", tries=2, first_error=error, error=error)], "x")
    assert made["mocks"] == {"get": [{"error": error}, {"error": error}]}
    assert made["expect"] == {"status": "failed", "error": {"code": "http.timeout", "node": "get"}}


def test_items_of_a_map_have_mocks_of_their_own_under_the_name_the_author_gave() -> None:
    nodes = [run("each@item", item="0", output="a"), run("each@item", item="1", output="b")]
    assert recorded(EXECUTION, nodes, "x")["mocks"] == {
        "each": [{"output": "a", "item": "0"}, {"output": "b", "item": "1"}]
    }


def test_what_was_under_way_when_time_was_up_will_be_again() -> None:
    late = {**EXECUTION, "status": "timed_out", "error": None}
    made = recorded(late, [run("get", "cancelled", tries=1)], "x")
    assert made["mocks"] == {"get": [{"takes": "9000ms"}]}
    assert made["expect"] == {"status": "timed_out"}


def test_an_answer_is_expected_again() -> None:
    answer = {"status": 201, "headers": {}, "body": 7}
    assert recorded({**EXECUTION, "answer": answer}, [], "x")["expect"] == {
        "answer": answer,
        "output": {"a": 1},
    }
