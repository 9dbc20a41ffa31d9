"""What became of each node of an execution, in the order in which it happened. Pure: rows in, a table for people out.

A node run has no row of its own state: what it is follows from its segment's row, its journal, its events, and for what
was never started from the exits that were taken.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from celeriac import Json
from engine.definition import TRIGGER
from engine.plan import OUTPUT, Plan, PlanNode, Segment

Happened = Mapping[str, Any]
"""One event as `queries.events` returns it."""

_AT_HEAD = frozenset({"waiting", "backing_off", "uncertain", "quarantined"})
_OVER = frozenset({"succeeded", "failed", "continued"})


@dataclass(frozen=True, slots=True)
class SegmentState:
    """A segment's row, as far as people ask."""

    segment: int
    item: str
    status: str
    head: int
    exits: str | None
    due: int | None


@dataclass(frozen=True, slots=True)
class Journaled:
    """A node's own row in the journal."""

    node: str
    item: str
    status: str
    error: Json
    tries: int
    started_at: int
    ended_at: int | None


@dataclass(slots=True)
class NodeRun:
    """One node, and inside a map one item."""

    node: PlanNode
    segment: int
    item: str
    status: str = ""
    started_at: int | None = None
    ended_at: int | None = None
    tries: int = 0
    first_error: Json = None
    error: Json = None
    until: int | None = None
    kept: bool = False

    def to_json(self) -> dict[str, Json]:
        """Return the form every surface shows; times are milliseconds since the epoch."""
        body: dict[str, Json] = {
            "node": self.node.id,
            "type": self.node.type,
            "segment": self.segment,
            "effect": str(self.node.effect),
            "status": self.status,
            "tries": self.tries,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "duration_ms": None
            if self.started_at is None or self.ended_at is None
            else self.ended_at - self.started_at,
        }
        more = {
            "item": self.item or None,
            "until": self.until,
            "first_error": self.first_error,
            "error": self.error,
            "kept": self.kept or None,
        }
        return body | {name: value for name, value in more.items() if value is not None}


def timeline(
    plan: Plan,
    segments: Iterable[SegmentState],
    journal: Iterable[Journaled],
    events: Iterable[Happened],
    *,
    ended: bool,
) -> list[NodeRun]:
    """Return every node run: those that began in the order in which they did, then the others in the plan's."""
    rows: dict[int, list[SegmentState]] = defaultdict(list)
    for row in segments:
        rows[row.segment].append(row)
    runs: dict[tuple[str, str], NodeRun] = {}
    for segment in plan.segments:
        for node in segment.nodes:
            for item in [row.item for row in rows[segment.id]] or [""]:
                runs[(node.id, item)] = NodeRun(node, segment.id, item)
    claimed: dict[tuple[int, str], int] = {}
    for event in events:
        if event["type"] == "segment.claimed":
            claimed[(event["segment"], event.get("item", ""))] = event["at"]
        elif (run := runs.get((event.get("node", ""), event.get("item", "")))) is not None:
            _happened(run, event)
    for entry in journal:
        if (run := runs.get((entry.node, entry.item))) is not None:
            _journaled(run, entry)
    unreachable = skipped(plan, [row for each in rows.values() for row in each])
    for segment in plan.segments:
        for row in rows[segment.id]:
            _unfinished(segment, row, runs, claimed.get((segment.id, row.item)))
        if not rows[segment.id]:
            status = "skipped" if segment.id in unreachable else "not_reached" if ended else "pending"
            for node in segment.nodes:
                runs[(node.id, "")].status = status
    shown = [run for run in runs.values() if run.node.id != TRIGGER and not _dull_output(run)]
    return sorted(shown, key=lambda run: (run.started_at is None, run.started_at or 0))


def skipped(plan: Plan, rows: Sequence[SegmentState]) -> set[int]:
    """Return the segments that no taken edge can reach any more: the fold over the exits that were not taken."""
    against: Counter[int] = Counter()
    found: set[int] = set()
    edges = [
        exit_.target
        for row in rows
        if row.status == "done"
        for exit_, bit in zip(plan.segments[row.segment].exits, _bits(plan, row), strict=True)
        if bit == "0"
    ]
    while edges:
        target = edges.pop()
        against[target] += 1
        if against[target] == plan.segments[target].entries:
            found.add(target)
            edges.extend(exit_.target for exit_ in plan.segments[target].exits)
    return found


def _bits(plan: Plan, row: SegmentState) -> str:
    count = len(plan.segments[row.segment].exits)
    return row.exits if row.exits is not None and row.exits != "*" else "1" * count


def _happened(run: NodeRun, event: Happened) -> None:
    """Take over what an event says of a node."""
    at: int = event["at"]
    match event["type"]:
        case "node.started":
            run.status, run.tries = "running", event["attempt"]
            run.started_at = _earlier(run.started_at, at)
        case "node.succeeded":
            run.status, run.ended_at, run.until = "succeeded", at, None
            run.tries = run.tries + 1 if run.first_error is not None else max(run.tries, 1)
            run.started_at = _earlier(run.started_at, at - event["ms"])
        case "node.retrying":
            run.status, run.tries = "backing_off", event["attempt"]
            run.started_at = _earlier(run.started_at, at)
            run.first_error = run.first_error or event["error"]
            run.until = at + round(event["delay"] * 1000)
        case "node.failed":
            run.status, run.tries, run.ended_at, run.until = "failed", event["attempt"], at, None
            run.started_at = _earlier(run.started_at, at)
            run.first_error = run.first_error or event["error"]
            run.error = event["error"]
        case "node.waiting":
            run.status, run.until, run.tries = "waiting", event["until"], max(run.tries, 1)
            run.started_at = _earlier(run.started_at, at)
        case "node.kept":
            run.status, run.kept = event["status"], True
        case "node.uncertain":
            run.status = "uncertain"
            run.first_error = run.first_error or {"code": "effect.uncertain", "message": event["message"]}
            run.started_at = _earlier(run.started_at, at)


def _journaled(run: NodeRun, entry: Journaled) -> None:
    """Take over what the journal knows better: when an attempt began, and a person's word."""
    if entry.started_at:
        run.started_at = _earlier(run.started_at, entry.started_at)
    if entry.status in _OVER:
        run.status, run.until = entry.status, None
        run.ended_at = entry.ended_at if entry.ended_at is not None else run.ended_at
        run.tries = max(run.tries, entry.tries)
        if entry.error is not None:
            run.first_error = run.first_error or entry.error
            run.error = entry.error
    elif entry.status == "intent" and not run.status:
        run.status = "running"


def _unfinished(
    segment: Segment, row: SegmentState, runs: Mapping[tuple[str, str], NodeRun], claimed_at: int | None
) -> None:
    """Give the nodes that have not ended the state that their segment's row implies."""
    open_ = [
        run
        for node in segment.nodes
        if node.id != TRIGGER and (run := runs[(node.id, row.item)]).status not in _OVER
    ]
    if row.status in _AT_HEAD:
        head = runs[(segment.nodes[row.head].id, row.item)]
        first = head if head in open_ else next(iter(open_), None)
        status = row.status
    else:
        first = next(iter(open_), None)
        status = {"running": "running", "ready": "ready"}.get(row.status, "")
    after = {"done": "skipped", "skipped": "skipped", "failed": "not_reached", "cancelled": "cancelled"}
    for run in open_:
        if run is first and status:
            run.status = status
            if status == "running" and run.started_at is None:
                run.started_at = claimed_at
            if status in ("waiting", "backing_off"):
                run.until = row.due
        else:
            run.status = after.get(row.status, "pending")


def _dull_output(run: NodeRun) -> bool:
    """Whether it is the implied last node, and nothing went wrong in it."""
    return run.node.id == OUTPUT and run.first_error is None


def _earlier(known: int | None, at: int) -> int:
    return at if known is None else min(known, at)
