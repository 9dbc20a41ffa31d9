"""The judge: from the rows of a database, the ledger of effects and what clients saw, to a list of violations.

It reads the tables with queries of its own and imports nothing of the engine, so that a mistake there cannot hide here.
`check` is pure: the same evidence gives the same verdict.

The invariants, by the numbers they are known under:

- I1 what was accepted is there once; what was refused is not there
- I2 everything has ended
- I3 a node succeeds once, and what it succeeded with stays
- I4 a node starts after what it had to wait for, and what ran is what the definition says
- I5 a keyed effect is applied once if its node succeeded, never twice, and under no other key
- I6 an effect that cannot be repeated is applied once at most
- I7 the fence of a segment never goes back
- I8 a segment is claimed again only after it was given up
- I9 no more tries than the author allows, and nothing put aside that was not lost too often
- I10 the history of an execution is gapless, and ends with its end
- I12 what stands for a slot of a schedule is started once
- I14 in one execution an event ends one wait, and people decide once
- I15 only what somebody asked to stop is cancelled, and nothing of it starts after that but what its scopes do in their end
- I17 a key is never held by more than may hold it, and no more begin than a rate lets in
- I18 nothing is left: no lease, no ready or blocked row, no message
- I20 the result is the one the reference interpreter finds
- I21 of a scope that failed, what had succeeded is undone, what came last first; of another nothing
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.drafts import Case
from tests.chaos.evidence import (
    Entry,
    Evidence,
    Execution,
    Fault,
    Op,
    Outcome,
    Place,
    Range,
    Segment,
    read,
    record_of,
)
from tests.chaos.reference import Begun, Held, Result, crowds, folded, graphs, judge, overlaps

__all__ = [
    "Entry",
    "Evidence",
    "Execution",
    "Fault",
    "Op",
    "Outcome",
    "Range",
    "Segment",
    "Violation",
    "check",
    "read",
    "report",
]

FINAL = {"succeeded", "failed", "cancelled", "timed_out"}
LOSSES = 3
"""How often a segment may be lost with whoever performs it; after one more a person has to look."""
_SHOWN = 14


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise."""

    invariant: str
    execution: str | None
    text: str
    node: str | None = None


def check(evidence: Evidence) -> list[Violation]:
    """Return everything that is wrong."""
    found = [*_accepted(evidence), *_left_over(evidence), *_slots(evidence)]
    holders: list[Held] = []
    starts: list[Begun] = []
    keys: dict[str, dict[str, tuple[str, str, bool]]] = {}
    for execution in evidence.executions:
        case = evidence.case_of(execution)
        verdict = judge(case.document, execution.payload, case.answers, record_of(execution, evidence))
        keys[execution.id] = _calls(execution, case, verdict)
        holders += verdict.held
        starts += verdict.begun
        found += _ended(execution)
        found += _successes(execution)
        found += _fences(execution)
        found += _claims(execution)
        found += _tries(execution, case)
        found += _put_aside(execution)
        found += _history(execution, early=verdict.early)
        found += _stopped(execution, evidence)
        found += _leftovers(execution)
        found += _heard_once(execution)
        found += _decided_once(execution)
        if execution.status in FINAL:
            found += _result(execution, verdict)
            found += _precedence(execution, case)
            found += _undone(execution, case)
    return [*found, *_effects(evidence, keys), *_limits(holders, starts, evidence.slack)]


def _accepted(evidence: Evidence) -> Iterator[Violation]:
    """I1."""
    by_key: dict[str, list[str]] = defaultdict(list)
    for each in evidence.executions:
        if each.key is not None and each.caller is None:
            by_key[each.key].append(each.id)
    of_key: dict[str, list[Op]] = defaultdict(list)
    for op in evidence.ops:
        of_key[op.key].append(op)
    for key, ops in of_key.items():
        there = by_key.get(key, [])
        answered = sorted({str(op.execution) for op in ops if op.outcome == "ok"})
        if len(there) > 1:
            yield Violation("I1", there[0], f"the key {key} started {len(there)} executions: {there}")
        if answered and answered != there:
            yield Violation(
                "I1", answered[0], f"the key {key} was accepted as {answered}, and there is {there}"
            )
        if there and all(op.outcome == "fail" for op in ops):
            yield Violation("I1", there[0], f"the key {key} was refused, and there is {there}")
    for key in by_key.keys() - of_key.keys():
        yield Violation("I1", by_key[key][0], f"nobody asked for the key {key}")


def _slots(evidence: Evidence) -> Iterator[Violation]:
    """I12."""
    started = Counter(each.slot for each in evidence.executions if each.slot is not None)
    for (schedule, at), count in started.items():
        if count > 1:
            yield Violation("I12", None, f"the slot {at} of {schedule} started {count} executions")


def _ended(execution: Execution) -> Iterator[Violation]:
    """I2."""
    if execution.status not in FINAL:
        rows = ", ".join(
            f"{each.number}{each.item} {each.status} (pending {each.pending}, epoch {each.epoch}, "
            f"deliveries {each.deliveries})"
            for each in execution.segments
            if each.status not in ("done", "skipped")
        )
        yield Violation("I2", execution.id, f"it is still {execution.status}; segments: {rows or 'all done'}")


def _successes(execution: Execution) -> Iterator[Violation]:
    """I3."""
    ends = Counter(
        _place(body) for _, _, body in execution.events() if body[0] in ("node.succeeded", "node.failed")
    )
    states, kept = execution.states, execution.kept
    for (node, item), count in ends.items():
        if count > 1:
            yield Violation("I3", execution.id, f"{node} {item} came to an end {count} times", node)
    for (node, item), entry in states.items():
        known = entry.status in ("succeeded", "failed", "continued") and not node.endswith("@end")
        if (node, item) in kept:
            continue
        if known and ends[node, item] == 0:
            yield Violation(
                "I3", execution.id, f"{node} {item} is {entry.status}, and no event says so", node
            )
    succeeded = {_place(body) for _, _, body in execution.events() if body[0] == "node.succeeded"}
    for node, item in succeeded:
        journaled = states.get((node, item))
        if journaled is None or journaled.status != "succeeded":
            status = "missing" if journaled is None else journaled.status
            yield Violation("I3", execution.id, f"{node} {item} succeeded, and its journal is {status}", node)
    final = [
        body[0] for _, _, body in execution.events() if body[0] in {f"execution.{each}" for each in FINAL}
    ]
    if execution.status in FINAL and final != [f"execution.{execution.status}"]:
        yield Violation("I3", execution.id, f"it is {execution.status}, and its events say {final}")


def _place(body: Sequence[Any]) -> Place:
    return body[1], body[3].get("item", "")


def _precedence(execution: Execution, case: Case) -> Iterator[Violation]:
    """I4, as far as the order of events shows it: a node ends after all it had to wait for."""
    ended: dict[str, dict[str, int]] = defaultdict(dict)
    for seq, _, body in execution.events():
        if body[0] in ("node.succeeded", "node.failed"):
            node, item = _place(body)
            ended[node][item] = seq
    for graph in graphs(folded(case.document["definition"])):
        waits_for_all = {each["id"] for each in graph["nodes"] if each.get("join", "all") == "all"}
        for edge in graph.get("edges", ()):
            source, target = edge["from"], edge["to"]
            for item, seq in ended[target].items():
                if target in waits_for_all and ended[source].get(item, 0) > seq:
                    yield Violation("I4", execution.id, f"{target} {item} ended before {source}", target)


def _undone(execution: Execution, case: Case) -> Iterator[Violation]:
    """I21."""
    states = execution.states
    ended = {_place(body): seq for seq, _, body in execution.events() if body[0] == "node.succeeded"}
    for scope in (node for graph in graphs(folded(case.document["definition"])) for node in graph["nodes"]):
        if scope["type"] != "scope":
            continue
        name = f"{scope['id']}@item" if {"for_each", "loop"} & scope.keys() else scope["id"]
        undoable = {each["id"] for each in scope["body"]["nodes"] if "compensate" in each}
        for node, item in [place for place in states if place[0] in undoable]:
            succeeded = states[node, item].status == "succeeded"
            end = states.get((f"{name}@end", item))
            undo = (f"{node}@undo", item) in states
            if undo and not (succeeded and end is not None and end.status == "failed"):
                yield Violation("I21", execution.id, f"{node} {item} was undone without a reason", node)
            over = (name, item.rpartition(".")[0]) in states
            if not undo and succeeded and over and end is not None and end.status == "failed":
                yield Violation("I21", execution.id, f"{node} {item} was not undone", node)
        for edge in scope["body"].get("edges", ()):
            first, second = edge["from"], edge["to"]
            for item in {item for node, item in ended if node == first}:
                in_order = ended[first, item] < ended.get((second, item), 0)
                undone = [ended.get((f"{each}@undo", item), 0) for each in (second, first)]
                if in_order and 0 < undone[1] < undone[0]:
                    yield Violation("I21", execution.id, f"{first} {item} was undone before {second}", first)


def _result(execution: Execution, verdict: Result) -> Iterator[Violation]:
    """I4 and I20: what ran, what each came to and the end are what the reference allows."""
    for (node, item), text in verdict.complaints:
        yield Violation("I4" if node else "I20", execution.id, f"{node} {item}: {text}", node or None)


def _limits(holders: Sequence[Held], starts: Sequence[Begun], slack: int) -> Iterator[Violation]:
    """I17: a key is never held by more than may hold it, and no more begin than a rate lets in."""
    for start, text in crowds(starts, slack):
        yield Violation("I17", start.execution, f"{start.place[0]} {start.place[1]}: {text}", start.place[0])
    for one, text in overlaps(holders, slack):
        yield Violation("I17", one.execution, f"{one.place[0]} {one.place[1]}: {text}", one.place[0])


def _heard_once(execution: Execution) -> Iterator[Violation]:
    """I14: in one execution an event ends one wait."""
    for event, count in Counter(execution.heard).items():
        if count > 1:
            yield Violation("I14", execution.id, f"{event} ended {count} waits")


def _decided_once(execution: Execution) -> Iterator[Violation]:
    """I14: what people are asked is decided once."""
    decided = Counter(
        _place(body)
        for _, _, body in execution.events()
        if body[0] == "segment.signalled" and body[3].get("source") == "decision"
    )
    for (segment, item), count in decided.items():
        if count > 1:
            yield Violation("I14", execution.id, f"segment {segment} {item} was decided {count} times")


def effect_key(execution: str, node: str, item: str = "") -> str:
    """The key of a node's effect, as the documentation says it is made."""
    text = f"{execution}\x1f{node}\x1f{item}\x1f"
    return base64.b32encode(hashlib.sha256(text.encode()).digest()[:20]).decode().lower()


def _effects(
    evidence: Evidence, places: Mapping[str, Mapping[str, tuple[str, str, bool]]]
) -> Iterator[Violation]:
    """I5 and I6."""
    applied: Counter[str] = Counter()
    once: Counter[Place] = Counter()
    for effect in evidence.effects:
        execution, node = effect.execution or "", effect.node or ""
        if execution not in evidence.by_id:
            yield Violation("I5", None, f"an effect of {execution!r}, which does not exist")
            continue
        if effect.key is None:
            once[execution, node] += effect.applied
            continue
        if effect.key not in places[execution]:
            yield Violation("I5", execution, f"{node} came under the key {effect.key}", node)
        if effect.behaviour == "conflict":
            yield Violation("I5", execution, f"{node} came twice under one key with different bodies", node)
        applied[str(effect.key)] += effect.applied
    for execution_ in evidence.executions:
        states = {place: each for place, each in execution_.states.items() if place not in execution_.kept}
        open_: Counter[str] = Counter()
        for key, (name, item, keyed) in places[execution_.id].items():
            succeeded = (name, item) in states and states[name, item].status == "succeeded"
            if not keyed:
                open_[name] += 1
                count = once[execution_.id, name]
                wrong = count > open_[name] and not item
            else:
                count = applied.pop(key, 0)
                wrong = count > 1
            if wrong or (succeeded and count == 0):
                state = states[name, item].status if (name, item) in states else "not journaled"
                text = f"{name}{item and f' {item}'} is {state} and was applied {count} times"
                yield Violation("I5" if keyed else "I6", execution_.id, text, name)
        for (execution, node), count in once.items():
            if execution == execution_.id and count > open_[node]:
                text = f"{node} came without a key {count} times instead of {open_[node]}"
                yield Violation("I6", execution, text, node)
    for key, count in applied.items():
        if count:
            yield Violation("I5", None, f"an effect under a key nobody knows: {key}")


def _calls(execution: Execution, case: Case, verdict: Result) -> dict[str, tuple[str, str, bool]]:
    """The calls an execution may make, by their keys: node, item, and whether the sink is told the key."""
    found = {}
    for node, keyed in _callers(case.document["definition"]):
        for name, item in {*verdict.runs, *verdict.undecided}:
            if name == node:
                found[effect_key(execution.id, node, item)] = (node, item, keyed)
    return found


def _callers(definition: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    for node in (each for graph in graphs(folded(definition)) for each in graph["nodes"]):
        repeated = {"for_each", "loop"} & node.keys()
        for name, each in (
            (f"{node['id']}@item" if repeated else node["id"], node),
            (f"{node['id']}@undo", node.get("compensate", {})),
        ):
            if each.get("type") == "http_request":
                yield name, each["config"].get("idempotent") is True


def _fences(execution: Execution) -> Iterator[Violation]:
    """I7."""
    seen: dict[Place, int] = {}
    for _, epoch, body in execution.events():
        if body[0].startswith("node.") and body[1] is not None:
            place = _place(body)
            by_nobody = body[0] == "node.skipped" and epoch == 0
            if epoch < seen.get(place, 0) and not by_nobody:
                text = f"{body[1]} wrote {body[0]} under fence {epoch} after {seen[place]}"
                yield Violation("I7", execution.id, text, body[1])
            seen[place] = max(epoch, seen.get(place, 0))
    claimed: dict[Any, int] = {}
    for _, epoch, body in execution.events():
        if body[0] == "segment.claimed":
            claimed[_place(body)] = max(epoch, claimed.get(_place(body), 0))
    for row in execution.segments:
        last = claimed.get((row.number, row.item), 0)
        if row.epoch < last:
            text = f"segment {row.number} {row.item} is at fence {row.epoch}, and was claimed under {last}"
            yield Violation("I7", execution.id, text)


def _claims(execution: Execution) -> Iterator[Violation]:
    """I8."""
    held: set[Any] = set()
    for _, _, body in execution.events():
        if body[0] == "segment.claimed":
            key = _place(body)
            if key in held:
                yield Violation("I8", execution.id, f"segment {body[1]} was claimed while somebody held it")
            held.add(key)
        elif body[0] in ("segment.lost", "segment.ready", "segment.released", "segment.resolved"):
            held.discard(_place(body))
        elif body[0] == "node.skipped":
            held = {each for each in held if each[1] != _place(body)[1]}


def _tries(execution: Execution, case: Case) -> Iterator[Violation]:
    """I9."""
    allowed = {
        name: each["retry"]["max_attempts"]
        for graph in graphs(folded(case.document["definition"]))
        for each in graph["nodes"]
        for name in (each["id"], f"{each['id']}@item")
        if "retry" in each
    }
    for (name, _), entry in execution.states.items():
        if entry.tries > allowed.get(name, entry.tries):
            yield Violation(
                "I9", execution.id, f"{name} was tried {entry.tries} times, not {allowed[name]}", name
            )


def _put_aside(execution: Execution) -> Iterator[Violation]:
    """I9: a segment is put aside for its losses only, each of which is an event."""
    losses: Counter[Any] = Counter()
    for _, _, body in execution.events():
        if body[0] == "segment.resolved":
            losses[_place(body)] = 0
        elif body[0] == "segment.lost":
            losses[_place(body)] += 1
            if body[3]["status"] == "quarantined" and losses[_place(body)] <= LOSSES:
                text = f"segment {body[1]} was put aside after {losses[_place(body)]} losses"
                yield Violation("I9", execution.id, text)


def _history(execution: Execution, *, early: bool) -> Iterator[Violation]:
    """I10."""
    following = 1
    for each in execution.ranges:
        if each.seq != following or each.count != len(each.bodies):
            text = f"event {following} is followed by {each.seq} with {each.count} of {len(each.bodies)}"
            yield Violation("I10", execution.id, text)
        following = each.seq + each.count
    if execution.seq != following - 1:
        yield Violation(
            "I10", execution.id, f"its sequence is at {execution.seq}, its events at {following - 1}"
        )
    names = [body[0] for _, _, body in execution.events()]
    if not names or names[0] != "execution.created":
        yield Violation("I10", execution.id, f"its history begins with {names[:1]}")
    if execution.status == "succeeded" and not early and names[-1] != "execution.succeeded":
        yield Violation("I10", execution.id, f"it succeeded, and then came {names[-1]}")


def _stopped(execution: Execution, evidence: Evidence) -> Iterator[Violation]:
    """I15."""
    names = [body[0] for _, _, body in execution.events()]
    if execution.status == "cancelled" and not _was_asked(execution, evidence):
        yield Violation("I15", execution.id, "it was cancelled, and nobody had asked for that")
    if "execution.cancel_requested" in names:
        after = names[names.index("execution.cancel_requested") :]
        if execution.ending:
            after = [each for each in after if not each.startswith("segment.")]
        for name in {"segment.claimed", "segment.ready", "execution.succeeded"} & set(after):
            yield Violation("I15", execution.id, f"after it was asked to stop came {name}")


def _was_asked(execution: Execution, evidence: Evidence) -> bool:
    """Whether somebody has asked an execution to stop, or what called it goes on without it."""
    if execution.id in evidence.cancels or execution.caller is None:
        return execution.id in evidence.cancels
    caller, node, item = execution.caller
    entry = evidence.by_id[caller].states.get((node, item))
    last = evidence.called[caller][node, item][-1]
    return entry is None or entry.status != "succeeded" or last is not execution


def _leftovers(execution: Execution) -> Iterator[Violation]:
    """I18 and the counts of joins, for one execution."""
    for each in execution.segments:
        living = each.status not in ("done", "failed", "skipped", "cancelled")
        if execution.status in FINAL and (living or each.owner is not None):
            text = f"it is {execution.status}, and its segment {each.number} is {each.status} of {each.owner}"
            yield Violation("I18", execution.id, text)
        if each.pending < 0:
            yield Violation("I3", execution.id, f"more arrived at segment {each.number} than lead to it")


def _left_over(evidence: Evidence) -> Iterator[Violation]:
    """I18 for the broker."""
    if evidence.queued:
        yield Violation("I18", None, f"{evidence.queued} messages are left in the broker")


# --- Telling ------------------------------------------------------------------------------------------------


def report(violations: Sequence[Violation], evidence: Evidence, seed: object, limit: int = 10) -> str:
    """What a person needs to find the cause: the seed, the faults around each violation, the events of its node."""
    lines = [f"{len(violations)} violations with seed {seed}"]
    counts = Counter(each.invariant for each in violations)
    lines.append(", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    for each in violations[:limit]:
        lines += ["", f"{each.invariant} {each.execution or ''}: {each.text}"]
        execution = evidence.by_id.get(each.execution or "")
        if execution is not None and execution.ranges:
            lines += _timeline(execution, each.node, evidence.faults)
    if len(violations) > limit:
        lines += ["", f"and {len(violations) - limit} more"]
    return "\n".join(lines)


def _timeline(execution: Execution, node: str | None, faults: Sequence[Fault]) -> list[str]:
    """The faults and the events of an execution in the order they happened; of a long history what concerns `node`."""
    begun, ended = execution.ranges[0].at, execution.ranges[-1].at
    around = [(each.at, f"    --- {each.text}") for each in faults if begun - 2000 <= each.at <= ended + 3000]
    events = [
        (each.at, f"    #{each.seq + index} epoch {each.epoch} {json.dumps(body)[:160]}", body[1])
        for each in execution.ranges
        for index, body in enumerate(each.bodies)
    ]
    chosen = [each for each in events if node is None or each[2] in (node, None) or isinstance(each[2], int)]
    told = sorted([*around, *((at, text) for at, text, _ in chosen)], key=lambda each: each[0])
    if len(told) > 3 * _SHOWN:
        told = [*told[:_SHOWN], (told[_SHOWN][0], "    ..."), *told[-2 * _SHOWN :]]
    return [f"  {(at - begun) / 1000:+8.3f}{text}" for at, text in told]
