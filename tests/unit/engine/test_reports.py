from __future__ import annotations

from typing import Any, cast

from engine.reports import report

AT = 1_762_684_200_000
EXECUTION: dict[str, Any] = {
    "id": "exec_1",
    "workflow": {"id": "wf_1", "name": "w"},
    "status": "succeeded",
    "started_at": AT,
    "finished_at": AT + 15_000,
    "duration_ms": 15_000,
    "output": "Done.",
}


def test_a_report_has_the_result_and_a_log() -> None:
    events: list[dict[str, Any]] = [
        {"seq": 1, "type": "execution.started", "at": AT},
        {"seq": 2, "type": "segment.claimed", "at": AT, "segment": 0},
        {"seq": 3, "type": "node.started", "at": AT + 1000, "node": "node_1"},
        {"seq": 4, "type": "node.log", "at": AT, "node": "node_1", "level": "warning", "message": "Slow."},
        {"seq": 5, "type": "node.succeeded", "at": AT + 2000, "node": "node_2", "ms": 1500},
    ]
    assert report({**EXECUTION, "usage": {"cost_usd": 0.5}}, events) == {
        "id": "exec_1",
        "workflow_id": "wf_1",
        "status": "completed",
        "started_at": "2025-11-09T10:30:00.000Z",
        "completed_at": "2025-11-09T10:30:15.000Z",
        "duration_ms": 15_000,
        "result": {"output": "Done.", "credits_used": 0.5},
        "logs": [
            {"timestamp": "2025-11-09T10:30:00.000Z", "level": "info", "message": "The execution: started"},
            {"timestamp": "2025-11-09T10:30:00.000Z", "level": "warning", "message": "Slow."},
            {"timestamp": "2025-11-09T10:30:00.500Z", "level": "info", "message": "Starting node_2"},
            {"timestamp": "2025-11-09T10:30:01.000Z", "level": "info", "message": "Starting node_1"},
            {"timestamp": "2025-11-09T10:30:02.000Z", "level": "info", "message": "Finished node_2"},
        ],
    }


def test_what_has_not_ended_well_has_no_result() -> None:
    running: dict[str, Any] = {**EXECUTION, "status": "running", "finished_at": None, "duration_ms": None}
    del running["output"]
    found = report(running, [])
    assert (found["status"], found["completed_at"], found["result"], "error" in found) == (
        "running",
        None,
        None,
        False,
    )
    failed = {**running, "status": "failed", "error": {"code": "x.y"}}
    found = report(failed, [{"seq": 1, "type": "execution.failed", "at": AT}])
    (line,) = cast("list[dict[str, Any]]", found["logs"])
    assert (found["error"], line["level"]) == ({"code": "x.y"}, "error")
    assert report({**EXECUTION, "output": None}, [])["result"] == {"output": None, "credits_used": 0}
