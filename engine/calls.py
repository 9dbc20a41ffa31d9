"""Calls of other workflows: which version is meant, what it is started with, and what came of it. The pen starts and wakes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from celeriac import Call, Fail, Json
from engine import operations as op
from engine.admission import Request
from engine.catalog import Active, Versions
from engine.errors import NotFound
from engine.failure import TIMED_OUT
from engine.nested import MARK
from engine.settings import Limits
from engine.snapshots import Facts
from engine.states import EXECUTION_FINAL, ExecutionStatus
from engine.store.database import Connection
from engine.store.sql import Row

SELF: Final = "self"
"""The workflow that the call stands in."""

UNTOLD: Final = (
    "SELECT e.parent_execution, e.parent_segment, e.parent_item, e.id FROM execution e "
    "WHERE e.told = 0 AND e.finished_at IS NOT NULL AND e.finished_at <= ? ORDER BY e.finished_at LIMIT 500"
)
"""Executions that have ended, and whose callers may not know."""

Place = tuple[str, int, str]
"""(execution, segment, item) of a segment that calls."""

_ANSWER: Final = (
    "SELECT e.status, e.created_at, e.cancel_reason, e.error, coalesce(e.output, b.body) FROM execution e "
    "LEFT JOIN blob b ON b.hash = e.output_blob WHERE e.id = ?"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a called execution has come to. `began` is when it was started."""

    execution: str
    status: ExecutionStatus
    began: int
    reason: str
    error: Json
    output: Json

    @property
    def ended(self) -> bool:
        """Whether this is the last that is to be heard of it."""
        return self.status in EXECUTION_FINAL

    def value(self) -> Json:
        """Return its result. Raises `Fail` when it has none."""
        if self.status is ExecutionStatus.SUCCEEDED:
            return self.output
        if not self.ended or self.reason == TIMED_OUT:
            message = f"The called execution {self.execution} took longer than the node's own time limit."
            raise Fail(TIMED_OUT, message, {"execution": self.execution})
        said: dict[str, Json] = {"execution": self.execution, "status": str(self.status)}
        message = f"The called execution {self.execution} {_ENDS[self.status]}."
        if isinstance(self.error, dict):
            said["error"] = self.error
            message = f"{message[:-1]}: {self.error.get('message')}"
        raise Fail("workflow.failed_child", message, said)


_ENDS: Final = {
    ExecutionStatus.FAILED: "failed",
    ExecutionStatus.CANCELLED: "was cancelled",
    ExecutionStatus.TIMED_OUT: "did not end in time",
}


def request(
    connection: Connection,
    versions: Versions,
    facts: Facts,
    call: Call,
    place: Place,
    node: str,
    tries: int,
    limits: Limits,
    step: str = "",
) -> Request:
    """Return the start that a call at a place asks for: one for each try of a node, or one for a step of it, whatever the try.

    Raises `Fail` for what cannot be called.
    """
    if facts.depth >= limits.call_depth:
        message = f"There are {limits.call_depth} calls around this one already, and no more are allowed."
        raise Fail("workflow.too_deep", message, {"limit": limits.call_depth})
    found = _meant(connection, versions, facts, call)
    if not found.enabled:
        message = f"The workflow {found.name} is disabled, and is not called."
        raise Fail("workflow.disabled", message, {"workflow": found.name})
    execution, _, item = place
    key = f"call:{execution}:{node}:{item}:{f'@{step}' if step else tries}"
    return Request(
        found,
        call.input,
        kind="call",
        idempotency_key=key if call.wait or call.key is None else call.key,
        parent=place,
        caller=node,
        principal=facts.principal,
        priority=facts.priority,
        depth=facts.depth + 1,
        awaited=call.wait,
    )


def _meant(connection: Connection, versions: Versions, facts: Facts, call: Call) -> Active:
    """Return the version a call means. An execution stays in its own version, and so does one that calls itself."""
    try:
        if call.workflow == SELF and call.version is None:
            return versions.pinned(connection, facts.version)
        name = {SELF: facts.workflow}.get(call.workflow, call.workflow)
        if name.startswith(MARK):
            name = facts.version + name
        return versions.active(connection, name, facts.project, call.version)
    except NotFound as error:
        raise Fail("workflow.unknown", error.message, {"workflow": call.workflow}) from None


def called(connection: Connection, execution: str, segment: int, item: str) -> str | None:
    """Return what a segment has called last."""
    rows = connection.run(
        "SELECT child FROM segment WHERE execution_id = ? AND segment = ? AND item = ?",
        (execution, segment, item),
    )
    return None if not rows or rows[0][0] is None else str(rows[0][0])


def answer(connection: Connection, execution: str) -> Answer:
    """Return what an execution has come to. Raises `Fail` when it has been deleted."""
    rows = connection.run(_ANSWER, (execution,))
    if not rows:
        message = f"The called execution {execution} is not there any more."
        raise Fail("workflow.failed_child", message, {"execution": execution})
    status, began, reason, error, output = rows[0]
    return Answer(execution, ExecutionStatus(status), began, reason or "", _json(error), _json(output))


def returns(rows: Iterable[Row], now: int) -> list[op.Return]:
    """Return what tells callers of these ends."""
    return [op.Return(execution, segment, item, child, now) for execution, segment, item, child in rows]


def _json(text: Any) -> Json:
    found: Json = None if text is None else json.loads(text)
    return found
