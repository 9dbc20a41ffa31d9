"""What became of each node of an execution, in the order in which it happened. Pure: rows in, a table for people out.

A node run has no row of its own state: what it is follows from its segment's row, its journal, its events, and for what
was never started from the exits that were taken. Inside a container that holds for each instance by itself; of many items
people are shown a few, the failed ones first, and the counts of all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from celeriac import Json
from engine.definition import TRIGGER
from engine.plan import BEGIN, END, ITEM, OUTPUT, Plan, PlanNode, Region, Segment, item_of, split_item

Happened = Mapping[str, Any]
"""One event as `queries.events` returns it."""

_AT_HEAD = frozenset({"waiting", "backing_off", "uncertain", "quarantined"})
_OVER = frozenset({"succeeded", "failed", "continued"})
SHOWN = 20
"""Items of one node that are shown, when there are more."""

_IMPLIED = frozenset({TRIGGER, OUTPUT, BEGIN, END})
_STRIKING = frozenset({"failed", "uncertain", "quarantined"})
_WORST = (
    "failed",
    "uncertain",
    "quarantined",
    "running",
    "backing_off",
    "waiting",
    "ready",
    "pending",
    "cancelled",
)


@dataclass(frozen=True, slots=True)
class SegmentState:
    """A segment's row, as far as people ask."""

    segment: int
    item: str
    status: str
    head: int
    exits: str | None
    due: int | None
    hi: int | None = None


@dataclass(frozen=True, slots=True)
class Journaled:
    """A node's own row in the journal; of a chunk, whose error is one by each failed index."""

    node: str
    item: str
    status: str
    error: Json
    tries: int
    started_at: int
    ended_at: int | None


@dataclass(slots=True)
class NodeRun:
    """One node, and inside a map one item. `items` counts the states of all items of what stands for many."""

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
    called: str | None = None
    items: Counter[str] | None = None

    @property
    def name(self) -> str:
        """What its author calls it."""
        return self.node.id.removesuffix(ITEM)

    def to_json(self) -> dict[str, Json]:
        """Return the form every surface shows; times are milliseconds since the epoch."""
        body: dict[str, Json] = {
            "node": self.name,
            "type": self.node.type,
            "segment": self.segment,
            "effect": str(self.node.effect),
            "status": self.status,
            "tries": self.tries,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "duration_ms": None
            if self.started_at is None or self.ended_at is None
            else max(0, self.ended_at - self.started_at),
        }
        more: dict[str, Json] = {
            "item": self.item or None,
            "until": self.until,
            "called": self.called,
            "first_error": self.first_error,
            "error": self.error,
            "kept": self.kept or None,
            "items": None if self.items is None else {**self.items},
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
    instances: dict[tuple[int, str], dict[int, SegmentState]] = defaultdict(dict)
    for row in segments:
        for item in _items(row):
            instances[(plan.segments[row.segment].region, item)][row.segment] = row
    runs: dict[tuple[str, str], NodeRun] = {}
    for number, item in instances:
        for segment in _of_region(plan, plan.regions[number]):
            for node in segment.nodes:
                runs[(node.id, item)] = NodeRun(node, segment.id, item)
    claimed: dict[tuple[int, str], int] = {}
    for event in events:
        if event["type"] == "segment.claimed":
            claimed[(event["segment"], event.get("item", ""))] = event["at"]
        elif (run := runs.get((event.get("node", ""), event.get("item", "")))) is not None:
            _happened(run, event)
    over: set[tuple[int, str]] = set()
    regions = {each.end: each for each in plan.regions[1:]}
    for entry in journal:
        region = regions.get(entry.node)
        if region is not None and entry.status in ("failed", "succeeded"):
            over.add((region.id, entry.item))
        if region is not None and entry.status == "chunk":
            over.update(_chunk(plan, region, entry, instances, runs))
        elif region is not None and isinstance(entry.error, dict) and entry.error.get("node") != entry.node:
            continue  # an instance ends in the failure of a node, which is told there
        elif (run := runs.get((entry.node, entry.item))) is not None:
            _journaled(run, entry)
    for (number, item), rows in instances.items():
        unreachable = skipped(plan, list(rows.values()))
        for segment in _of_region(plan, plan.regions[number]):
            here = rows.get(segment.id)
            if here is not None and here.hi is not None and (number, item) in over:
                continue
            if here is not None:
                _unfinished(segment, here, item, runs, claimed.get((segment.id, here.item)))
                continue
            past = ended or (number, item) in over
            for node in segment.nodes:
                status = "skipped" if segment.id in unreachable else "not_reached" if past else "pending"
                runs[(node.id, item)].status = status
    for run in _never_begun(plan, {number for number, _ in instances}, runs, ended=ended):
        runs[(run.node.id, "")] = run
    return list(_summarised([run for run in runs.values() if not _is_dull(run)]))


def _items(row: SegmentState) -> Iterator[str]:
    """Yield the items of a row: all those of a chunk."""
    if row.hi is None:
        yield row.item
        return
    parent, first = split_item(row.item)
    yield from (item_of(parent, index) for index in range(first, row.hi + 1))


def _of_region(plan: Plan, region: Region) -> Iterator[Segment]:
    return (each for each in plan.segments[region.first : region.beyond] if each.region == region.id)


def _chunk(
    plan: Plan,
    region: Region,
    entry: Journaled,
    instances: Mapping[tuple[int, str], Mapping[int, SegmentState]],
    runs: Mapping[tuple[str, str], NodeRun],
) -> Iterator[tuple[int, str]]:
    """Take over what became of the items that were performed in one go. Yields them."""
    failures: Mapping[str, Any] = entry.error if isinstance(entry.error, dict) else {}
    row = instances[(region.id, entry.item)][region.first]
    for item in _items(row):
        yield region.id, item
        error = failures.get(str(split_item(item)[1]))
        status = "succeeded"
        for node in plan.segments[region.first].nodes:
            run = runs[(node.id, item)]
            run.status, run.started_at, run.ended_at, run.tries = status, entry.started_at, entry.ended_at, 1
            if error is not None and error.get("node") == node.id:
                run.status, run.error, run.first_error = "failed", error, error
                status = "not_reached"
            if run.status == "not_reached":
                run.started_at, run.ended_at, run.tries = None, None, 0


def _never_begun(
    plan: Plan, begun: set[int], runs: Mapping[tuple[str, str], NodeRun], *, ended: bool
) -> Iterator[NodeRun]:
    """Yield the nodes of regions that were never opened: what their container came to without them."""
    states: dict[str, set[str]] = defaultdict(set)
    for run in runs.values():
        states[run.node.id].add(run.status)
    for region in plan.regions[1:]:
        if region.id in begun or region.kind == "undo":
            continue
        owners = states[region.owner]
        ran = owners - {"skipped"}
        if not ran - {"succeeded", "continued"} and owners:
            status = "skipped"
        elif ran == {"cancelled"}:
            status = "cancelled"
        else:
            status = "not_reached" if ended or not ran - {"failed", "not_reached"} else "pending"
        for segment in _of_region(plan, region):
            for node in segment.nodes:
                states[node.id].add(status)
                if not node.id.endswith(ITEM):
                    yield NodeRun(node, segment.id, "", status)


def _summarised(runs: Sequence[NodeRun]) -> Iterator[NodeRun]:
    """Yield the runs node by node, in the order in which the nodes began; of many items the counts of all, and some."""
    of_name: dict[str, list[NodeRun]] = defaultdict(list)
    for run in runs:
        of_name[run.name].append(run)
    for found in sorted(of_name.values(), key=lambda each: _key(_began(each))):
        containers = {run.item: run for run in found if run.node.container is not None}
        items = [run for run in found if run.item and not (run.node.container and run.node.id == run.name)]
        for run in items:
            if run.node.id != run.name and (container := containers.get(split_item(run.item)[0])) is not None:
                container.items = container.items or Counter()
                container.items[run.status] += 1
        if len(items) > SHOWN and all(run.node.id == run.name for run in items):
            yield _summary(items)
        kept = sorted(items, key=lambda run: run.status not in _STRIKING)[:SHOWN]
        yield from sorted((run for run in found if run not in items), key=lambda run: _path(run.item))
        yield from sorted(kept, key=lambda run: (run.status not in _STRIKING, _path(run.item)))


def _began(runs: Iterable[NodeRun]) -> int | None:
    return min((run.started_at for run in runs if run.started_at is not None), default=None)


def _key(at: int | None) -> tuple[bool, int]:
    return at is None, at or 0


def _path(item: str) -> tuple[int, ...]:
    return tuple(map(int, item.split("."))) if item else ()


def _summary(found: Sequence[NodeRun]) -> NodeRun:
    """Return what stands for all items of a node."""
    counts = Counter(run.status for run in found)
    worst = next((each for each in _WORST if counts[each]), "succeeded")
    ended = [run.ended_at for run in found if run.ended_at is not None]
    return NodeRun(
        found[0].node,
        found[0].segment,
        "",
        worst,
        _began(found),
        max(ended, default=None) if worst in ("failed", "succeeded") else None,
        sum(run.tries for run in found),
        items=counts,
    )


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
        case "node.opened":
            run.status, run.tries = "waiting", max(run.tries, 1)
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
        case "node.called":
            run.status, run.called, run.tries = "waiting", event["execution"], event["attempt"]
            run.started_at = _earlier(run.started_at, at)
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
    segment: Segment,
    row: SegmentState,
    item: str,
    runs: Mapping[tuple[str, str], NodeRun],
    claimed_at: int | None,
) -> None:
    """Give the nodes that have not ended the state that their segment's row implies."""
    open_ = [
        run
        for node in segment.nodes
        if node.type not in (TRIGGER, BEGIN) and (run := runs[(node.id, item)]).status not in _OVER
    ]
    if row.status in _AT_HEAD:
        head = runs[(segment.nodes[row.head].id, item)]
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
            if status == "backing_off" or (status == "waiting" and run.called is None):
                run.until = row.due
        else:
            run.status = after.get(row.status, "pending")


def _is_dull(run: NodeRun) -> bool:
    """Whether nobody has written it, and nothing went wrong in it."""
    return run.node.type in _IMPLIED and run.first_error is None


def _earlier(known: int | None, at: int) -> int:
    return at if known is None else min(known, at)
