"""What there is to judge by: the rows of a database, the ledger of effects, and what clients saw.

The tables are read with queries of its own. Nothing of the engine is imported, so that a mistake there cannot hide here.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tests.chaos.drafts import Case
from tests.chaos.reference import Child, Ended, Published, Record, Vote
from tests.chaos.reference.record import SLACK
from tests.chaos.sink import Effect

Place = tuple[str, str]
"""A node and the path of its item."""


Outcome = Literal["ok", "fail", "info"]
_UNDECIDED = {"items", "caught"}
_TAKEN_OVER = ("@kept", "@was")
"""Under such names a fork has what items of a map came to, until the map is reached."""
_OUTCOMES = {"succeeded", "failed", "continued", "left"}


@dataclass(frozen=True, slots=True)
class Op:
    """One submission as its client saw it: `ok` with an execution, `fail` (refused), `info` (nobody knows)."""

    key: str
    outcome: Outcome
    execution: str | None
    at: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was done to the stack, in milliseconds since the epoch."""

    at: int
    text: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A row of dispatch."""

    number: int
    item: str
    status: str
    pending: int
    epoch: int
    deliveries: int
    owner: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the journal, packed rows taken apart."""

    node: str
    status: str
    output: Any
    error: Any
    tries: int
    item: str = ""


@dataclass(frozen=True, slots=True)
class Range:
    """A row of events: `count` of them from `seq` on."""

    seq: int
    count: int
    epoch: int
    at: int
    bodies: list[list[Any]]


@dataclass(slots=True)
class Execution:
    """One execution with all its rows."""

    id: str
    workflow: str
    status: str
    key: str | None
    seq: int
    payload: Any
    output: Any
    error: Any
    segments: list[Segment] = field(default_factory=list)
    journal: list[Entry] = field(default_factory=list)
    ranges: list[Range] = field(default_factory=list)
    chunked: set[str] = field(default_factory=set)
    """The regions whose items were performed in one go: nothing is written of their nodes but what an item came to."""
    caller: tuple[str, str, str] | None = None
    """The execution, the node and its item that called this one."""
    depth: int = 0
    created_at: int = 0
    finished_at: int = 0
    document: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    """The number of the version of its workflow that it has."""
    slot: tuple[str, str] | None = None
    """The schedule that started it, and for when."""
    published: Mapping[str, Published] = field(default_factory=dict)
    """All events of the project."""
    heard: list[str] = field(default_factory=list)
    answer: Any = None
    base: str | None = None
    """The execution of which it is a fork."""
    beats: dict[Place, Any] = field(default_factory=dict)
    """The details of the last heartbeats."""
    votes: dict[Place, list[Vote]] = field(default_factory=lambda: defaultdict(list))

    @property
    def states(self) -> dict[Place, Entry]:
        """The node runs with a journaled outcome. What a container opened or has to deal with is none."""
        return {
            (each.node, each.item): each
            for each in self.journal
            if each.status not in _UNDECIDED and not each.node.endswith(_TAKEN_OVER)
        }

    @property
    def kept(self) -> set[Place]:
        """What a fork has taken over."""
        return {(str(body[1]), "") for _, _, body in self.events() if body[0] == "node.kept"}

    @property
    def ending(self) -> bool:
        """Whether it had something to do before it ended."""
        return any(body[0] == "execution.ending" for _, _, body in self.events())

    def events(self) -> Iterator[tuple[int, int, list[Any]]]:
        """Yield (seq, epoch, body)."""
        for each in self.ranges:
            for index, body in enumerate(each.bodies):
                yield each.seq + index, each.epoch, body


@dataclass(frozen=True)
class Evidence:
    """All there is to judge by. `cases` are the definitions by their names; `queued` what is left in the broker.

    `cancels` are the executions that somebody asked to stop. By `slack` milliseconds times may be wrong: more than usual
    where somebody set a clock.
    """

    executions: Sequence[Execution]
    cases: Mapping[str, Case]
    effects: Sequence[Effect]
    ops: Sequence[Op]
    faults: Sequence[Fault] = ()
    queued: int = 0
    cancels: frozenset[str] = frozenset()
    slack: int = SLACK

    @cached_property
    def by_id(self) -> dict[str, Execution]:
        """The executions by their ids."""
        return {each.id: each for each in self.executions}

    @cached_property
    def called(self) -> dict[str, dict[Place, list[Execution]]]:
        """The executions that were called, by their callers and the places there, in the order they were called in."""
        found: dict[str, dict[Place, list[Execution]]] = defaultdict(lambda: defaultdict(list))
        for each in sorted(self.executions, key=lambda one: (one.created_at, one.id)):
            if each.caller is not None:
                execution, node, item = each.caller
                found[execution][node, item].append(each)
        return found

    def case_of(self, execution: Execution) -> Case:
        """The definition an execution has. One that was called has the words for its calls from whoever began it all."""
        root = execution
        while root.caller is not None:
            root = self.by_id[root.caller[0]]
        if execution.workflow in self.cases:
            case = self.cases[execution.workflow]
            return case if execution.version == 1 else replace(case, document=dict(execution.document))
        return Case(dict(execution.document), {}, self.cases[root.workflow].answers)


def record_of(execution: Execution, evidence: Evidence) -> Record:
    """An execution as the reference judges it."""
    times: dict[int, int] = {}
    listening: dict[Place, int] = {}
    ended: dict[Place, tuple[int, int, int, int]] = {}
    began: dict[Place, int] = {}
    opened: set[Place] = set()
    repeated: dict[Place, int] = {}
    refused: Counter[Place] = Counter()
    skipped: dict[Place, int] = {}
    claims: list[tuple[int, str]] = []
    begun_at: int | None = None
    answered: list[tuple[Place, bool]] = []
    said: dict[str, int] = {}
    unclaimed: set[Place] = set()
    for commit, each in enumerate(execution.ranges, 1):
        for seq, body in enumerate(each.bodies, each.seq):
            times[seq] = body[2]
            place = (str(body[1]), body[3].get("item", ""))
            said.setdefault(body[0], seq)
            if begun_at is None and (body[0].startswith("node.") or body[0] == "segment.claimed"):
                begun_at = body[2]
            if body[0] == "node.opened":
                opened.add(place)
            elif body[0] == "segment.claimed":
                claims.append((seq, place[1]))
            elif body[0] == "node.skipped":
                skipped[place] = seq
            elif body[0] == "node.kept" and body[3]["status"] == "skipped":
                skipped[place] = 0
            elif body[0] == "node.responded":
                answered.append((place, body[3]["counts"]))
            elif body[0] == "node.retrying":
                repeated[place] = body[2] + round(body[3]["delay"] * 1000)
                refused[place] += body[3]["error"]["code"] in ("limit.rejected", "limit.queue_full")
            if body[0] in ("node.succeeded", "node.failed"):
                ended[place] = (seq, commit, body[2], body[3].get("ms", 0))
                if each.epoch == 0:
                    unclaimed.add(place)
            elif body[0] in ("node.waiting", "node.opened"):
                listening.setdefault(place, seq)
                began.setdefault(place, body[2])
    ends = {
        place: Ended(entry.status, entry.output, entry.error, entry.tries, *ended.get(place, (0, 0, 0, 0)))
        for place, entry in execution.states.items()
        if entry.status in _OUTCOMES
    }
    ids = ((each.output, each.seq) for each in ends.values() if isinstance(each.output, dict))
    return Record(
        execution=execution.id,
        status=execution.status,
        output=execution.output,
        error=execution.error,
        created_at=execution.created_at,
        finished_at=execution.finished_at,
        begun_at=begun_at,
        slack=evidence.slack,
        base=None if execution.base is None else record_of(evidence.by_id[execution.base], evidence),
        kept=execution.kept,
        depth=execution.depth,
        over=said.get(f"execution.{execution.status}", 0),
        asked=said.get("execution.cancel_requested", 0),
        forced="execution.cancel_forced" in said,
        ends=ends,
        chunked=frozenset(execution.chunked),
        children={
            place: [_child(each) for each in some] for place, some in evidence.called[execution.id].items()
        },
        published=execution.published,
        heard=execution.heard,
        times=times,
        emitted={output["id"]: seq for output, seq in ids if output.get("id") in execution.published},
        listening=listening,
        began=began,
        opened=frozenset(opened),
        repeated=repeated,
        refused=refused,
        votes=execution.votes,
        claims=claims,
        skipped=skipped,
        answer=execution.answer,
        answered=answered,
        # What nobody claims may be performed twice at once, and then a slower one says something last.
        beats={place: each for place, each in execution.beats.items() if place not in unclaimed},
    )


def _child(execution: Execution) -> Child:
    return Child(
        execution.id,
        execution.workflow,
        execution.document.get("definition", {}),
        execution.payload,
        execution.status,
        execution.output,
        execution.error,
    )


# --- Reading ------------------------------------------------------------------------------------------------

_EXECUTIONS = (
    "SELECT e.id, w.name, e.status, e.idempotency_key, e.seq, coalesce(e.input, i.body), coalesce(e.output, o.body), "
    "e.error, e.parent_execution, e.parent_item, e.depth, e.created_at, e.finished_at, e.trigger_event, v.document, "
    "coalesce(e.answer, a.body), v.number, e.base "
    "FROM execution e JOIN workflow w ON w.id = e.workflow_id JOIN workflow_version v ON v.id = e.version_id "
    "LEFT JOIN blob i ON i.hash = e.input_blob LEFT JOIN blob o ON o.hash = e.output_blob "
    "LEFT JOIN blob a ON a.hash = e.answer_blob ORDER BY e.id"
)
_SEGMENTS = (
    "SELECT execution_id, segment, item, status, pending, epoch, deliveries, owner FROM segment "
    "ORDER BY execution_id, segment"
)
_JOURNAL = (
    "SELECT j.execution_id, j.node, j.item, j.status, coalesce(j.output, b.body), j.error, j.tries FROM journal j "
    "LEFT JOIN blob b ON b.hash = j.blob WHERE j.step = '' ORDER BY j.execution_id, j.started_at"
)
_BEATS = "SELECT execution_id, node, item, output FROM journal WHERE step = '@heartbeat'"
_EVENTS = "SELECT execution_id, seq, count, epoch, at, body FROM event ORDER BY execution_id, seq"
_PUBLISHED = (
    "SELECT l.id, l.type, l.correlation, coalesce(l.data, b.body), l.at, l.source FROM event_log l "
    "LEFT JOIN blob b ON b.hash = l.blob ORDER BY l.id"
)
_HEARD = "SELECT execution_id, event_id FROM signal WHERE event_id IS NOT NULL"
_VOTES = (
    "SELECT a.execution_id, a.node, a.item, v.principal, v.decision FROM approval a "
    "JOIN approval_vote v ON v.approval_id = a.id ORDER BY v.at"
)
_ALL = (_EXECUTIONS, _SEGMENTS, _JOURNAL, _EVENTS, _PUBLISHED, _HEARD, _VOTES, _BEATS)


def read(database_url: str) -> list[Execution]:
    """Read every execution of a database that stands still."""
    if database_url.startswith("sqlite:///"):
        path = Path(database_url.removeprefix("sqlite:///"))
        raw = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return _assemble(*(raw.execute(each).fetchall() for each in _ALL))
        finally:
            raw.close()
    import psycopg

    with psycopg.connect(database_url) as connection:
        return _assemble(*(connection.execute(each).fetchall() for each in _ALL))


def _assemble(
    executions: Sequence[Any],
    segments: Sequence[Any],
    journal: Sequence[Any],
    events: Sequence[Any],
    published: Sequence[Any],
    heard: Sequence[Any],
    votes: Sequence[Any],
    beats: Sequence[Any],
) -> list[Execution]:
    log = {
        name: Published(type_, correlation, _value(data), at, source)
        for name, type_, correlation, data, at, source in published
    }
    found = {each[0]: _execution(*each, published=log) for each in executions}
    for execution, *fields in segments:
        found[execution].segments.append(Segment(*fields))
    for execution, node, item, status, output, error, tries in journal:
        if status == "pack":
            entries = [Entry(name, "succeeded", value, None, 1, item) for name, value in json.loads(output)]
        elif status == "chunk":
            entries = list(_chunk(node, item, json.loads(output), _value(error) or {}))
            found[execution].chunked.add(node.removesuffix("@end"))
        else:
            entries = [Entry(node, status, _value(output), _value(error), tries, item)]
        found[execution].journal.extend(entries)
    for execution, seq, count, epoch, at, body in events:
        found[execution].ranges.append(Range(seq, count, epoch, at, json.loads(body)))
    for execution, event in heard:
        found[execution].heard.append(event)
    for execution, node, item, principal, decision in votes:
        found[execution].votes[node, item].append(Vote(principal, decision))
    for execution, node, item, details in beats:
        found[execution].beats[node, item] = _value(details)
    return list(found.values())


def _execution(
    name: str,
    workflow: str,
    status: str,
    key: str | None,
    seq: int,
    payload: str | None,
    output: str | None,
    error: str | None,
    parent: str | None,
    item: str | None,
    depth: int,
    created_at: int,
    finished_at: int | None,
    trigger: str,
    document: str,
    answer: str | None,
    version: int,
    base: str | None,
    *,
    published: Mapping[str, Published],
) -> Execution:
    caller = None
    if parent is not None:
        caller = (parent, _value(trigger)["parent"]["node"], item or "")
    arrival = _value(trigger)
    slot = (arrival["schedule"], arrival["scheduled_at"]) if "scheduled_at" in arrival else None
    return Execution(
        name, workflow, status, key, seq, _value(payload), _value(output), _value(error),
        caller=caller, depth=depth, created_at=created_at, finished_at=finished_at or 0,
        document=_value(document), published=published, answer=_value(answer), version=version, slot=slot, base=base,
    )  # fmt: skip


def _chunk(node: str, item: str, values: Sequence[Any], errors: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield what each item of a chunk came to."""
    parent, _, first = item.rpartition(".")
    for index, value in enumerate(values, int(first)):
        error = errors.get(str(index))
        place = f"{parent}.{index}" if parent else str(index)
        yield Entry(node, "succeeded" if error is None else "failed", value, error, 1, place)


def _value(text: str | None) -> Any:
    return None if text is None else json.loads(text)
