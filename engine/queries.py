"""What people ask of executions and their history. Reading only; the pen writes.

Each function is a query of one connection, for `Reader.read`. Everything comes back as JSON, times in milliseconds since
the epoch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from celeriac import Json
from engine import playbooks
from engine.budgets import of_execution
from engine.callbacks import Address
from engine.catalog import Active, Versions
from engine.definition import TRIGGER
from engine.errors import Conflict, NotFound
from engine.listing import Body, Page, Position
from engine.plan import Plan
from engine.remedies import remedy
from engine.settings import DEFAULT_PROJECT
from engine.states import EXECUTION_FINAL, ExecutionStatus
from engine.store.database import Connection
from engine.store.sql import Row
from engine.timeline import Journaled, NodeRun, SegmentState, timeline
from engine.workflow_queries import workflow_id

_EXECUTION = (
    "SELECT e.id, e.workflow_id, w.name, e.version_id, v.number, e.status, e.output, e.output_blob, e.error, "
    "e.created_at, e.started_at, e.finished_at, e.cancel_at, e.cancel_reason, e.pause_at, e.deadline, e.base, "
    "e.ends_as, e.trigger_event, e.principal, e.answered_at FROM execution e JOIN workflow_version v ON v.id = e.version_id "
    "JOIN workflow w ON w.id = e.workflow_id "
)


MOST_TOLD: Final = 1_000
"""Events of one run of a node that are shown with it; the rest is in the history."""

_ATTENTION: Final = (
    "SELECT s.execution_id, s.segment, s.item, s.status, s.head, s.reason, s.ready_at, e.version_id, w.name "
    "FROM segment s JOIN execution e ON e.id = s.execution_id JOIN workflow w ON w.id = e.workflow_id "
)


def executions(
    connection: Connection,
    limit: int,
    *,
    reference: str | None = None,
    status: ExecutionStatus | None = None,
    before: Position | None = None,
    project: str = DEFAULT_PROJECT,
) -> Page:
    """Return executions, the latest first, those born before a position. Raises `NotFound` for an unknown workflow."""
    where, values = ["e.project_id = ?"], [project]
    order = "e.id DESC"
    if reference is not None:
        where.append("e.workflow_id = ?")
        values.append(workflow_id(connection, reference, project))
        order = "e.created_at DESC, e.id DESC"
    if status is not None:
        where.append("e.status = ?")
        values.append(str(status))
    if before is not None:
        where.append("(e.created_at, e.id) < (?, ?)" if reference is not None else "e.id < ?")
        values.extend(before if reference is not None else before[1:])  # type: ignore[arg-type]
    found = connection.run(
        f"{_EXECUTION} WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?", (*values, limit + 1)
    )
    rows = [_execution_body(row) for row in found[:limit]]
    last = found[limit - 1] if len(found) > limit else None
    return Page(rows, None if last is None else (last[9], last[0]))


def execution(
    connection: Connection, name: str, *, with_input: bool = False, project: str = DEFAULT_PROJECT
) -> Body:
    """Return one execution with its result, and with what it has answered. Raises `NotFound`."""
    row = _execution_row(connection, name, project)
    body = _execution_body(row)
    if "answered_at" in body:
        text, blob = connection.run("SELECT answer, answer_blob FROM execution WHERE id = ?", (name,))[0]
        body["answer"] = _payload(connection, text, blob)
    if row[5] == ExecutionStatus.SUCCEEDED:
        body["output"] = _payload(connection, row[6], row[7])
    used = of_execution(connection, name)
    if used is not None:
        body["usage"] = used
    if with_input:
        text, blob = connection.run("SELECT input, input_blob FROM execution WHERE id = ?", (name,))[0]
        body["input"] = _payload(connection, text, blob)
    return body


def events(
    connection: Connection, name: str, after: int, limit: int, project: str = DEFAULT_PROJECT
) -> tuple[list[Body], bool]:
    """Return single events behind a sequence number, and whether no more will come. Raises `NotFound`.

    The status is read before the events: an execution that had ended by then has all of its events written.
    """
    row = _execution_row(connection, name, project)
    found = connection.run(
        "SELECT seq, body FROM event WHERE execution_id = ? AND seq >= coalesce((SELECT max(seq) FROM event "
        "WHERE execution_id = ? AND seq <= ?), 0) ORDER BY seq LIMIT ?",
        (name, name, after + 1, limit + 1),
    )
    listed = [each for seq, body in found for each in expand(seq, body) if int(each["seq"]) > after]  # type: ignore[arg-type]
    final = row[5] in EXECUTION_FINAL and len(found) <= limit and len(listed) <= limit
    return listed[:limit], final


def expand(seq: int, body: str) -> Iterator[Body]:
    """Yield the single events of a packed row."""
    for number, (type_, subject, at, more) in enumerate(json.loads(body), seq):
        area = type_.partition(".")[0]
        event: Body = {"seq": number, "type": type_, "at": at}
        if area in ("node", "step"):
            event["node"] = subject
        elif area == "segment":
            event["segment"] = subject
        yield {**event, **more}


def nodes(connection: Connection, name: str, project: str = DEFAULT_PROJECT) -> list[NodeRun]:
    """Return what became of each node of an execution. Raises `NotFound`."""
    row = _execution_row(connection, name, project)
    segments = [
        SegmentState(*fields)
        for fields in connection.run(
            "SELECT segment, item, status, head, exits, due, hi FROM segment WHERE execution_id = ? "
            "ORDER BY segment, length(item), item",
            (name,),
        )
    ]
    journal = [
        Journaled(node, item, status, _json(error), tries, started_at, ended_at)
        for node, item, status, error, tries, started_at, ended_at in connection.run(
            "SELECT node, item, status, error, tries, started_at, ended_at FROM journal "
            "WHERE execution_id = ? AND step = '' AND status <> 'pack'",
            (name,),
        )
    ]
    happened = [
        each
        for seq, body in connection.run(
            "SELECT seq, body FROM event WHERE execution_id = ? ORDER BY seq", (name,)
        )
        for each in expand(seq, body)
    ]
    plan = plan_of(connection, row[3])
    return timeline(plan, segments, journal, happened, ended=row[5] in EXECUTION_FINAL)


def node(
    connection: Connection, name: str, node_id: str, item: str = "", project: str = DEFAULT_PROJECT
) -> Body:
    """Return what became of one run of a node: how it was written, what it read and came to, and what it has told.

    `reads` are the outputs of the nodes that its config reads; `config` is as its author wrote it. Raises `NotFound`.
    """
    plan = plan_of(connection, version_of(connection, name, project))
    found = next(
        (each for each in nodes(connection, name, project) if each.name == node_id and each.item == item),
        None,
    )
    written = plan.nodes.get(node_id)
    if found is None or written is None:
        message = f"The execution {name} has no run of {node_id!r}{f' for item {item}' if item else ''}."
        raise NotFound(message, hint=f"celeriac executions show {name} tells which there are.")
    known = outputs(connection, name, project)
    reads: dict[str, Json] = {
        each: known.get((each, item), known.get((each, ""))) for each in written.needs if each != TRIGGER
    }
    told: list[Json] = []
    for seq, packed in connection.run(
        "SELECT seq, body FROM event WHERE execution_id = ? ORDER BY seq", (name,)
    ):
        told += [
            each
            for each in expand(seq, packed)
            if each.get("node") == node_id and each.get("item", "") == item
        ]
    body: Body = {
        **found.to_json(),
        "type": written.type,
        "config": dict(written.config),
        "reads": reads,
        "events": told[:MOST_TOLD],
        "more_events": max(0, len(told) - MOST_TOLD),
    }
    if (node_id, item) in known:
        body["output"] = known[node_id, item]
    return body


def steps(connection: Connection, name: str, project: str = DEFAULT_PROJECT) -> Body:
    """Return what became of the steps of a playbook's execution. Raises `NotFound`, also when it is none."""
    row = _execution_row(connection, name, project)
    (text,) = connection.run("SELECT document FROM workflow_version WHERE id = ?", (row[3],))[0]
    document = json.loads(text)
    if not playbooks.is_one(document):
        message = f"The execution {name!r} is of a workflow that is not written as steps."
        raise NotFound(message, hint="celeriac executions show tells what became of its nodes.")
    known = outputs(connection, name, project)
    runs = [
        {**each.to_json(), "output": known.get((each.name, each.item))}
        for each in nodes(connection, name, project)
    ]
    return {"status": row[5], **playbooks.report(document, runs)}


def outputs(connection: Connection, name: str, project: str = DEFAULT_PROJECT) -> dict[tuple[str, str], Json]:
    """Return what the nodes of an execution came to, by node and item. Raises `NotFound`."""
    _execution_row(connection, name, project)
    found: dict[tuple[str, str], Json] = {}
    for node, item, status, text, blob in connection.run(
        "SELECT node, item, status, output, blob FROM journal WHERE execution_id = ? AND step = '' "
        "AND status IN ('succeeded', 'continued', 'waiting', 'pack')",
        (name,),
    ):
        value: Any = _payload(connection, text, blob)
        if status == "pack":
            found.update(((inner, item), each) for inner, each in value)
        else:
            found[(node, item)] = value
    return found


def attention(
    connection: Connection,
    limit: int,
    behind: tuple[str, int, str] | None = None,
    project: str = DEFAULT_PROJECT,
) -> Page:
    """Return the segments that wait for a person's word, those of the oldest executions first; those behind a place."""
    place = "" if behind is None else "AND (s.execution_id, s.segment, s.item) > (?, ?, ?) "
    found = connection.run(
        _ATTENTION
        + f"WHERE s.status IN ('uncertain', 'quarantined') AND e.project_id = ? AND e.finished_at IS NULL {place}"
        "ORDER BY s.execution_id, s.segment, s.item LIMIT ?",
        (project, *(behind or ()), limit + 1),
    )
    plans: dict[str, Plan] = {}
    rows = []
    for name, number, item, status, head, reason, since, version, title in found[:limit]:
        plan = plans.get(version) or plans.setdefault(version, plan_of(connection, version))
        node = plan.segments[number].nodes[head].id
        rows.append(attention_body(name, number, item, status, node, reason, since, title))
    return Page(rows, [*found[limit - 1][:3]] if len(found) > limit else None)


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A segment that waits for a person's word: what is needed to carry that out."""

    status: str
    candidates: tuple[str, ...]
    """The nodes a word may be about: the one in doubt, or all of a quarantined segment that have not ended."""
    paused: bool


def doubtful(
    connection: Connection, name: str, number: int, item: str, project: str = DEFAULT_PROJECT
) -> Doubtful:
    """Return a segment that waits for a person's word. Raises `NotFound`, or `Conflict` when it does not wait for one."""
    row = _execution_row(connection, name, project)
    found = connection.run(
        "SELECT status, head FROM segment WHERE execution_id = ? AND segment = ? AND item = ?",
        (name, number, item),
    )
    if not found:
        message = f"The execution {name} has no segment {number}{f' for item {item}' if item else ''}."
        raise NotFound(message, hint="celeriac attention list shows what waits for a person.")
    status, head = found[0]
    if status not in ("uncertain", "quarantined") or row[5] in EXECUTION_FINAL:
        message = f"The segment {number} of {name} is {status}, and waits for nobody's word."
        raise Conflict(message, hint="celeriac attention list shows what waits for a person.")
    segment = plan_of(connection, row[3]).segments[number]
    if status == "uncertain":
        return Doubtful(status, (segment.nodes[head].id,), row[14] is not None)
    over = {
        fields[0]
        for fields in connection.run(
            "SELECT node FROM journal WHERE execution_id = ? AND item = ? AND step = '' AND status IN "
            "('succeeded', 'failed', 'continued')",
            (name, item),
        )
    }
    candidates = tuple(node.id for node in segment.nodes[head:] if node.id not in {*over, TRIGGER})
    return Doubtful(status, candidates, row[14] is not None)


def again(connection: Connection, name: str, project: str = DEFAULT_PROJECT) -> tuple[Active, Json]:
    """Return what starts an ended execution's version on its input once more. Raises `NotFound` or `Conflict`."""
    row = _execution_row(connection, name, project)
    if row[5] not in EXECUTION_FINAL:
        message = f"The execution {name} is {row[5]}; only one that has ended is repeated."
        raise Conflict(message, hint=f"Stop it first: celeriac executions cancel {name}")
    payload, blob = connection.run("SELECT input, input_blob FROM execution WHERE id = ?", (name,))[0]
    return Versions().pinned(connection, row[3]), _payload(connection, payload, blob)


def wait_of(connection: Connection, address: Address) -> int | None:
    """Return the segment that rests at the wait an address names, or None when there is no such execution or node.

    In any project: the address is signed.
    """
    rows = connection.run("SELECT version_id FROM execution WHERE id = ?", (address.execution,))
    return plan_of(connection, rows[0][0]).segment_of.get(address.node) if rows else None


def is_there(connection: Connection, name: str, project: str = DEFAULT_PROJECT) -> ExecutionStatus:
    """Return an execution's status. Raises `NotFound`."""
    return ExecutionStatus(_execution_row(connection, name, project)[5])


def is_final(body: Body) -> bool:
    """Whether an execution as it is shown has ended."""
    return body["status"] in EXECUTION_FINAL


def version_of(connection: Connection, name: str, project: str = DEFAULT_PROJECT) -> str:
    """Return the id of an execution's version. Raises `NotFound`."""
    return str(_execution_row(connection, name, project)[3])


def _execution_row(connection: Connection, name: str, project: str) -> Row:
    rows = connection.run(_EXECUTION + "WHERE e.id = ? AND e.project_id = ?", (name, project))
    if not rows:
        message = f"There is no execution {name!r}."
        raise NotFound(message, hint="celeriac executions list shows what there is.")
    return rows[0]


def _execution_body(row: Sequence[Any]) -> Body:
    """Return what a list shows of an execution: everything but what may be large."""
    (id_, workflow_id, name, version, number, status, _, _, error, created_at, started_at, finished_at) = row[
        :12
    ]
    cancel_at, cancel_reason, pause_at, deadline, base, ends_as, trigger, principal, answered_at = row[12:]
    body: Body = {
        "id": id_,
        "workflow": {"id": workflow_id, "name": name},
        "version": {"id": version, "number": number},
        "status": status,
        "trigger": json.loads(trigger),
        "created_at": created_at,
        "started_at": started_at,
        "finished_at": finished_at,
        "duration_ms": None if finished_at is None else finished_at - created_at,
    }
    if error is not None:
        body["error"] = _with_hint(json.loads(error))
    optional = {
        "cancel_requested_at": cancel_at,
        "cancel_reason": cancel_reason or None,
        "ends_as": ends_as if finished_at is None else None,
        "paused_at": pause_at,
        "deadline": deadline,
        "base": base,
        "principal": principal or None,
        "answered_at": answered_at,
    }
    return body | {key: value for key, value in optional.items() if value is not None}


def _with_hint(error: Body) -> Body:
    hint = remedy(str(error.get("code")))
    return error if hint is None else {**error, "hint": hint}


def attention_body(
    name: str,
    number: int,
    item: str,
    status: str,
    node: str,
    reason: str | None,
    since: int | None,
    title: str,
) -> Body:
    """Return what is told of a segment that waits for a person's word."""
    where = f"{name} {number}" + (f" --item {item}" if item else "")
    if status == "uncertain":
        known = json.loads(reason or "{}")
        node = known.get("node", node)
        message = known.get("message", "Nobody knows whether the call took effect.")
        code = known.get("code", "effect.uncertain")
        hint = (
            f"Find out whether {node} took effect. If it did: celeriac attention resolve {where} done; if not: "
            f"celeriac attention resolve {where} retry; to give up: celeriac attention resolve {where} fail"
        )
    else:
        message = reason or "The process that ran it died too often."
        code = "segment.quarantined"
        hint = (
            f"Correct what ends the process (memory, a fault of {node}'s node type), then: celeriac attention "
            f"resolve {where} retry; to give up: celeriac attention resolve {where} fail"
        )
    body: Body = {
        "execution": name,
        "workflow": title,
        "segment": number,
        "node": node,
        "status": status,
        "since": since,
        "code": code,
        "message": message,
        "hint": hint,
    }
    return {**body, "item": item} if item else body


def plan_of(connection: Connection, version: str) -> Plan:
    """Return the plan of a version that is known to be there."""
    (text,) = connection.run("SELECT plan FROM workflow_version WHERE id = ?", (version,))[0]
    return Plan.from_json(json.loads(text))


def _payload(connection: Connection, text: str | None, blob: str | None) -> Json:
    if blob is not None:
        (text,) = connection.run("SELECT body FROM blob WHERE hash = ?", (blob,))[0]
    return _json(text)


def _json(text: str | None) -> Json:
    return None if text is None else json.loads(text)
