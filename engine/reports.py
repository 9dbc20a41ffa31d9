"""An execution told as a report: its result and a log of what happened, in the words of those who only watch. Pure.

The same facts stand in the execution and in its events; this is the short form that pages of status and older clients read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from celeriac import Json
from engine.hooks.message import iso

Body = dict[str, Json]

MOST: Final = 1_000
"""Lines of a log. Of a longer history it tells the beginning; all of it are the events."""

WORDS: Final = {"succeeded": "completed", "created": "pending"}
"""Statuses that a report has another word for."""

_TOLD: Final = {
    "node.started": ("info", "Starting {node}"),
    "node.succeeded": ("info", "Finished {node}"),
    "node.failed": ("error", "{node} failed"),
    "node.skipped": ("info", "Skipped {node}"),
    "node.retrying": ("warning", "{node} is tried again"),
    "node.waiting": ("info", "{node} waits"),
}


_ENDS: Final = frozenset({"node.succeeded", "node.failed"})


def report(execution: Body, events: Iterable[Body]) -> Body:
    """Return `{id, workflow_id, status, started_at, completed_at, duration_ms, result, error?, logs}` of an execution as
    `queries.execution` tells it. Times are ISO 8601; `credits_used` is what models have cost, in US dollars.
    """
    workflow, usage = execution["workflow"], execution.get("usage")
    status = str(execution["status"])
    body: Body = {
        "id": execution["id"],
        "workflow_id": workflow["id"] if isinstance(workflow, dict) else None,
        "status": WORDS.get(status, status),
        "started_at": _time(execution["started_at"]),
        "completed_at": _time(execution["finished_at"]),
        "duration_ms": execution["duration_ms"],
        "result": None,
        "logs": list(_lines(events)),
    }
    if "output" in execution:
        cost = usage.get("cost_usd") if isinstance(usage, dict) else None
        body["result"] = {"output": execution["output"], "credits_used": cost or 0}
    if "error" in execution:
        body["error"] = execution["error"]
    return body


def _lines(events: Iterable[Body]) -> Iterator[Body]:
    """Yield the lines of a log, in their order. Of a node whose start is no event its end says when that was."""
    found: list[tuple[int, str, str]] = []
    begun: set[str] = set()
    for each in events:
        at, type_, node, took = int(str(each["at"])), str(each["type"]), each.get("node"), each.get("ms")
        if type_ == "node.started":
            begun.add(str(node))
        elif type_ in _ENDS and isinstance(took, int) and str(node) not in begun:
            found.append((at - took, *_told("node.started", each)))
        if line := _told(type_, each):
            found.append((at, *line))
    for at, level, message in sorted(found, key=lambda each: each[0]):
        yield {"timestamp": iso(at), "level": level, "message": message}


def _told(type_: str, event: Body) -> tuple[str, str] | tuple[()]:
    if type_ == "node.log":
        return str(event.get("level", "info")), str(event.get("message", ""))
    if type_ in _TOLD:
        level, message = _TOLD[type_]
        return level, message.format(node=event.get("node"))
    if type_.startswith("execution."):
        level = "error" if type_ in ("execution.failed", "execution.timed_out") else "info"
        return level, f"The execution: {type_.partition('.')[2].replace('_', ' ')}"
    return ()


def _time(ms: Json) -> str | None:
    return iso(ms) if isinstance(ms, int) else None
