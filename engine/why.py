"""Why an execution does not go on: what each of its open segments waits for, and who or what holds it, in an operator's words.

Reading only. Every question is asked once for the whole execution, and about at most `MOST` segments.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from celeriac import Json
from engine.fans import Fan
from engine.listing import Body
from engine.operations import STOPPING
from engine.plan import Plan
from engine.queries import attention_body, expand, is_final, plan_of
from engine.queries import execution as shown
from engine.settings import DEFAULT_PROJECT
from engine.states import SegmentStatus as S
from engine.store.database import Connection

MOST: Final = 100
"""Open segments that are looked at; of the others only how many there are."""
HOLDERS: Final = 5
"""Holders of a key that are named."""
PATIENCE: Final = 5_000
"""Milliseconds after which a segment that is ready should have been taken up."""

_OPEN: Final = (
    "SELECT segment, item, status, queue, head, tries, ready_at, due, owner, reason, fan, child FROM segment "
    "WHERE execution_id = ? AND status IN ('ready', 'running', 'waiting', 'backing_off', 'uncertain', 'quarantined') "
    "ORDER BY CASE WHEN status IN ('uncertain', 'quarantined') THEN 0 ELSE 1 END, segment, length(item), item LIMIT ?"
)
_COUNTED: Final = (
    "SELECT count(*) FROM segment WHERE execution_id = ? AND status IN "
    "('ready', 'running', 'waiting', 'backing_off', 'uncertain', 'quarantined')"
)
_HOLDS: Final = (
    "SELECT h.segment, h.item, h.key, h.most, h.granted, CASE WHEN h.granted = 0 THEN (SELECT count(*) FROM hold a "
    "WHERE a.project_id = h.project_id AND a.key = h.key AND a.granted = 0 AND (a.rank < h.rank OR (a.rank = h.rank "
    "AND a.place < h.place))) END FROM hold h WHERE h.execution_id = ?"
)
_HOLDERS: Final = (
    "SELECT h.key, h.execution_id, w.name FROM hold h JOIN execution e ON e.id = h.execution_id "
    "JOIN workflow w ON w.id = e.workflow_id WHERE h.project_id = ? AND h.granted = 1 AND h.key IN "
    "(SELECT o.key FROM hold o WHERE o.execution_id = ? AND o.granted = 0) ORDER BY h.key, h.execution_id LIMIT 1000"
)
_BRANCHES: Final = "SELECT segment, item, name, kind, event, correlation FROM subscription WHERE execution_id = ? ORDER BY name"
_APPROVALS: Final = (
    "SELECT segment, item, id, title, approvers, quorum, due FROM approval "
    "WHERE execution_id = ? AND status = 'open'"
)
_LATEST: Final = "SELECT seq, body FROM event WHERE execution_id = ? ORDER BY seq DESC LIMIT ?"
_CHILDREN: Final = (
    "SELECT e.id, e.status, w.name FROM execution e JOIN workflow w ON w.id = e.workflow_id "
    "WHERE e.parent_execution = ? AND e.finished_at IS NULL"
)

Place = tuple[int, str]
"""A segment and its item."""


@dataclass(frozen=True, slots=True)
class _Segment:
    number: int
    item: str
    status: str
    queue: str
    head: int
    tries: int
    ready_at: int | None
    due: int | None
    owner: str | None
    reason: str | None
    fan: str | None
    child: str | None

    @property
    def place(self) -> Place:
        """Which one it is."""
        return self.number, self.item


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What is known about an execution's open segments, each kind of it asked once."""

    name: str
    title: str
    project: str
    plan: Plan
    now: int
    holds: dict[Place, tuple[Any, ...]]
    holders: dict[str, dict[str, str]]
    branches: dict[Place, list[tuple[Any, ...]]]
    approvals: dict[Place, tuple[Any, ...]]
    errors: dict[tuple[str, str], Body]
    children: dict[str, tuple[str, str]]


def why(connection: Connection, name: str, now: int, project: str = DEFAULT_PROJECT) -> Body:
    """Return `{id, status, summary, waits, more}`: one entry for each thing that an execution waits for. Raises `NotFound`.

    Each has a `kind`, a `message`, and where there is one a `hint`: the command that helps.
    """
    body = shown(connection, name, project=project)
    if is_final(body):
        return {**_head(body), "summary": f"It has ended: {body['status']}.", "waits": [], "more": 0}
    version: Any = body["version"]
    workflow: Any = body["workflow"]
    plan = plan_of(connection, version["id"])
    around = _Surroundings(
        name,
        workflow["name"],
        project,
        plan,
        now,
        {(row[0], row[1]): row[2:] for row in connection.run(_HOLDS, (name,))},
        _holders(connection, name, project),
        _branches(connection, name),
        {(row[0], row[1]): row[2:] for row in connection.run(_APPROVALS, (name,))},
        _errors(connection, name),
        {row[0]: (row[1], row[2]) for row in connection.run(_CHILDREN, (name,))},
    )
    segments = [_Segment(*row) for row in connection.run(_OPEN, (name, MOST))]
    ((count,),) = connection.run(_COUNTED, (name,))
    waits = [*_whole(body, around), *(_of_segment(each, around) for each in segments)]
    if not waits:
        waits.append(
            _wait(
                "moving",
                "Nothing of it is open at this moment: a commit is under way, or the poller repairs it within seconds.",
            )
        )
    listed: list[Json] = [*waits]
    return {**_head(body), "summary": _summary(waits), "waits": listed, "more": max(0, count - len(segments))}


def _head(body: Body) -> Body:
    return {"id": body["id"], "workflow": body["workflow"], "status": body["status"]}


def _summary(waits: Sequence[Body]) -> str:
    first = str(waits[0]["message"])
    return first if len(waits) == 1 else f"{first} And {len(waits) - 1} more."


def _wait(kind: str, message: str, **more: Json) -> Body:
    return {
        "kind": kind,
        **{key: value for key, value in more.items() if value is not None},
        "message": message,
    }


def _holders(connection: Connection, name: str, project: str) -> dict[str, dict[str, str]]:
    """Return who holds the keys that an execution waits for: by key, executions with their workflows."""
    found: dict[str, dict[str, str]] = {}
    for key, execution, title in connection.run(_HOLDERS, (project, name)):
        found.setdefault(key, {})[execution] = title
    return found


def _errors(connection: Connection, name: str) -> dict[tuple[str, str], Body]:
    """Return the errors of the latest attempts that are made again, by node and item."""
    found: dict[tuple[str, str], Body] = {}
    for seq, packed in connection.run(_LATEST, (name, MOST)):
        for each in reversed([*expand(seq, packed)]):
            error = each.get("error")
            if each["type"] == "node.retrying" and isinstance(error, dict):
                found.setdefault((str(each["node"]), str(each.get("item", ""))), error)
    return found


def _branches(connection: Connection, name: str) -> dict[Place, list[tuple[Any, ...]]]:
    found: dict[Place, list[tuple[Any, ...]]] = {}
    for segment, item, *branch in connection.run(_BRANCHES, (name,)):
        found.setdefault((segment, item), []).append(tuple(branch))
    return found


def _whole(body: Body, around: _Surroundings) -> Iterator[Body]:
    """Yield what holds the execution as a whole."""
    if body.get("paused_at") is not None:
        yield _wait(
            "paused",
            f"It is held since {_at(body['paused_at'])}: what runs goes on to the end of its segment, nothing new begins.",
            since=body["paused_at"],
            hint=f"celeriac executions resume {around.name}",
        )
    if body.get("ends_as") is not None:
        until = f", until {_at(body['deadline'])} at the latest" if body.get("deadline") else ""
        yield _wait(
            "ending",
            f"It is to end as {body['ends_as']}, and does what its scopes do in their end{until}.",
            until=body.get("deadline"),
            hint=f"Without that: celeriac executions cancel {around.name} --force",
        )
    own = around.holds.get((-1, ""))
    if own is not None and not own[2]:
        yield _for_key(own, around)


def _of_segment(segment: _Segment, around: _Surroundings) -> Body:
    """Return what one segment waits for."""
    inner = around.plan.segments[segment.number].nodes
    node = inner[min(segment.head, len(inner) - 1)].id
    found = _what(segment, node, around)
    where: Body = {"node": node, "segment": segment.number}
    if segment.item:
        where["item"] = segment.item
    kind = found.pop("kind")
    return {"kind": kind, **where, **found}


def _what(segment: _Segment, node: str, around: _Surroundings) -> Body:
    match segment.status:
        case S.READY:
            return _ready(segment, node, around)
        case S.RUNNING:
            late = segment.due is not None and segment.due < around.now
            rest = " Its lease has run out: it is repaired within seconds." if late else ""
            return _wait(
                "running", f"{node} runs on {segment.owner}.{rest}", owner=segment.owner, until=segment.due
            )
        case S.BACKING_OFF:
            return _backing_off(segment, node, around)
        case S.UNCERTAIN | S.QUARANTINED:
            told = attention_body(
                around.name,
                segment.number,
                segment.item,
                segment.status,
                node,
                segment.reason,
                segment.ready_at,
                around.title,
            )
            message = f"{node} is {segment.status}, and waits for a person's word: {told['message']}"
            return _wait("attention", message, code=told["code"], hint=told["hint"])
    return _waiting(segment, node, around)


def _ready(segment: _Segment, node: str, around: _Surroundings) -> Body:
    since = segment.ready_at
    late = since is not None and around.now - since > PATIENCE
    message = f"{node} waits for a worker of the queue {segment.queue}, since {_at(since)}."
    hint = None
    if late:
        message += " None has taken it up: none listens to this queue, or all are busy."
        hint = f"celeriac doctor looks; celeriac worker --queues {segment.queue} starts one"
    return _wait("worker", message, queue=segment.queue, since=since, hint=hint)


def _backing_off(segment: _Segment, node: str, around: _Surroundings) -> Body:
    error = around.errors.get((node, segment.item), {})
    told = f": {error['code']}, {error['message']}" if error else ""
    message = f"{node} is tried again at {_at(segment.due)}, after {segment.tries} attempts{told}"
    return _wait("retry", message, until=segment.due, tries=segment.tries, error=error or None)


def _waiting(segment: _Segment, node: str, around: _Surroundings) -> Body:
    if segment.reason == "limit":
        held = around.holds.get(segment.place)
        if held is not None and not held[2]:
            return _for_key(held, around, node)
        if segment.due is not None:
            message = f"{node} waits for its turn under its rate, at {_at(segment.due)}."
            return _wait("rate", message, until=segment.due)
        return _wait("limit", f"{node} has been let in under its limit, and is told within seconds.")
    if segment.reason == STOPPING:
        return _wait("stopping", f"{node} waits until what is inside of it, and was told to stop, has ended.")
    if segment.child is not None:
        status, title = around.children.get(segment.child, ("ended", "a workflow"))
        message = f"{node} has called {title}: {segment.child} is {status}."
        hint = f"celeriac why {segment.child}"
        return _wait("call", message, execution=segment.child, until=segment.due, hint=hint)
    if segment.place in around.approvals:
        return _for_people(segment, node, around)
    if segment.place in around.branches:
        return _for_signal(segment, node, around)
    if segment.fan is not None:
        fan = Fan.from_text(segment.fan)
        message = (
            f"{node} waits for what is inside of it: {fan.ended:,} of {fan.count:,} are over, {fan.pending:,} under way, "
            f"{fan.failed:,} failed."
        )
        counted: Body = {"count": fan.count, "ended": fan.ended, "pending": fan.pending, "failed": fan.failed}
        return _wait("items", message, until=fan.deadline, items=counted)
    if segment.due is not None:
        return _wait("timer", f"{node} waits until {_at(segment.due)}.", until=segment.due)
    return _wait("wait", f"{node} waits.")


def _for_people(segment: _Segment, node: str, around: _Surroundings) -> Body:
    approval, title, approvers, quorum, due = around.approvals[segment.place]
    asked = json.loads(approvers)
    whom = ", ".join(map(str, asked)) if asked else "whoever may decide"
    until = f", until {_at(due)}" if due else ""
    number = "one word" if quorum == 1 else f"{quorum} words"
    return _wait(
        "approval",
        f"{node} waits for {number} of {whom}{until}: {title}",
        approval=approval,
        until=due,
        hint=f"celeriac approvals show {approval}",
    )


def _for_signal(segment: _Segment, node: str, around: _Surroundings) -> Body:
    said: list[str] = []
    branches: list[Json] = []
    until: int | None = None
    for name, kind, event, correlation in around.branches[segment.place]:
        branch: dict[str, Json] = {"kind": kind, "name": name}
        if kind == "time":
            until = segment.due
            said.append(f"the time {_at(segment.due)}")
        elif kind == "event":
            branch |= {"event": event, "correlation": correlation}
            said.append(f"the event {event}" + (f" of {correlation}" if correlation else ""))
        else:
            said.append(f"a {kind} {name}" if name and name != kind else f"a {kind}")
        branches.append(branch)
    words = " or ".join(said)
    kind = "timer" if len(branches) == 1 and until is not None else "signal"
    return _wait(kind, f"{node} waits for {words}.", until=until, branches=branches)


def _for_key(held: Sequence[Any], around: _Surroundings, node: str | None = None) -> Body:
    """Return how it stands with a key that is waited for."""
    key, most, _, ahead = held
    holders = [*around.holders.get(key, {}).items()]
    names: list[Json] = [{"execution": each, "workflow": title} for each, title in holders[:HOLDERS]]
    by = ", ".join(f"{each} ({title})" for each, title in holders[:HOLDERS]) or "nobody at this moment"
    if len(holders) > HOLDERS:
        by += f" and {len(holders) - HOLDERS} more"
    who = node or "It"
    before = "is the next" if not ahead else f"has {ahead:,} before it"
    return _wait(
        "limit",
        f"{who} waits for the key {key!r}, under which {most} may be at work at a time; it is held by {by}. It {before}.",
        key=key,
        most=most,
        ahead=ahead,
        held_by=names,
        hint=f"celeriac why {holders[0][0]}" if holders else None,
    )


def _at(moment: Any) -> str:
    """Return a time as people read it, in UTC; a word for none."""
    if not isinstance(moment, int):
        return "a while ago"
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
