"""The feed: the events of all executions in the order in which they became visible, and places in it to go on from.

Within one execution events are numbered without gaps. Across executions there is no such number: transactions that begin
in one order commit in another. On PostgreSQL the feed is ordered by the id of the writing transaction, and ends below the
oldest one that is still open, so that nothing can appear in front of a place that somebody has reached. SQLite has one
writer, and its row numbers are that order.

Source: PostgreSQL manual, 9.27 (`pg_current_snapshot`, `pg_snapshot_xmin`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from engine.errors import Invalid
from engine.listing import Body
from engine.queries import expand
from engine.store.database import Connection

_PLACE = re.compile(r"(\d{1,19})\.(\d{1,19})\.(\d{1,9})")

_COLUMNS = "v.id, v.seq, v.body, v.execution_id, v.project_id, e.workflow_id"
_ROWS = "FROM event v JOIN execution e ON e.id = v.execution_id"
_VISIBLE = "v.xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_AFTER = {
    "sqlite": f"SELECT 0, {_COLUMNS} {_ROWS} WHERE 0 >= ? AND v.id >= ? {{more}} ORDER BY v.id LIMIT ?",
    "postgresql": f"SELECT v.xid, {_COLUMNS} {_ROWS} WHERE (v.xid, v.id) >= (?, ?) AND {_VISIBLE} {{more}} "
    "ORDER BY v.xid, v.id LIMIT ?",
}
_END = {
    "sqlite": "SELECT 0, v.id, v.count FROM event v ORDER BY v.id DESC LIMIT 1",
    "postgresql": f"SELECT v.xid, v.id, v.count FROM event v WHERE {_VISIBLE} ORDER BY v.xid DESC, v.id DESC LIMIT 1",
}


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A place behind `passed` events of a row of the feed."""

    transaction: int = 0
    row: int = 0
    passed: int = 0

    def __str__(self) -> str:
        """Return the text that `place` reads."""
        return f"{self.transaction}.{self.row}.{self.passed}"


BEGINNING = Place()
_TEXT = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, eq=False)
class Entry:
    """A row of the feed: events of one execution that were committed together, without those that are passed already."""

    transaction: int
    row: int
    execution: str
    workflow: str
    project: str
    events: Sequence[Body]
    passed: int = 0

    @cached_property
    def end(self) -> Place:
        """The place behind the last of the events."""
        return self.behind(len(self.events) - 1)

    @cached_property
    def text(self) -> str:
        """The events in JSON, with commas between: made once, for however many followers."""
        return texts(self.events)

    def behind(self, index: int) -> Place:
        """Return the place behind one of the events."""
        return Place(self.transaction, self.row, self.passed + index + 1)


def texts(events: Iterable[Body]) -> str:
    """Return events in JSON, with commas between."""
    return ",".join(map(_TEXT, events))


def place(text: str) -> Place:
    """Read a place. Raises `Invalid`."""
    found = _PLACE.fullmatch(text)
    if found is None or any(int(each) >= 2**63 for each in found.groups()):
        message = f"{text[:64]!r} is no place in the feed."
        raise Invalid(message, hint="Give the id of an event that the feed has told, or leave it out.")
    return Place(*map(int, found.groups()))


def end(connection: Connection) -> Place:
    """Return the place behind everything that is there."""
    rows = connection.run(_END[connection.dialect])
    return Place(*rows[0]) if rows else BEGINNING


def read(connection: Connection, after: Place, limit: int, project: str | None = None) -> list[Entry]:
    """Return at most `limit` rows that hold events behind a place, of one project or of all."""
    more, values = ("", ()) if project is None else ("AND v.project_id = ?", (project,))
    text = _AFTER[connection.dialect].format(more=more)
    found = []
    # The row of the place itself is among them, with what of it is not passed, if anything.
    for transaction, row, seq, body, execution, owner, workflow in connection.run(
        text, (after.transaction, after.row, *values, limit + 1)
    ):
        passed = after.passed if (transaction, row) == (after.transaction, after.row) else 0
        names: Body = {"execution_id": execution, "workflow_id": workflow}
        events = [names | each for each in expand(seq, body)][passed:]
        if events:
            found.append(Entry(transaction, row, execution, workflow, owner, events, passed))
    return found[:limit]
