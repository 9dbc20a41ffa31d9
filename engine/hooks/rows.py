"""Hooks and what they are to be told, as rows. Changes are functions of a connection, for the ledger; queries are for a reader.

A delivery is made in the transaction that moves its hook's place in the feed, so that every event is told, and under one
id however often it is sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from celeriac import Json
from engine import feed
from engine.errors import Conflict, NotFound, TooLarge
from engine.feed import Entry, Place
from engine.hooks import message
from engine.listing import Page
from engine.settings import DEFAULT_PROJECT
from engine.store.database import Connection

Body = dict[str, Json]

PENDING, DELIVERED, FAILED = "pending", "delivered", "failed"
DEFAULT_TYPES = ("execution.succeeded", "execution.failed", "execution.cancelled", "execution.timed_out")
LEASE = 60_000
"""Milliseconds after which an attempt that nobody has told the end of is made again."""
_FIELDS = (
    "id, project_id, url, types, workflow_id, description, enabled, reason, secret, old_secret, old_until, place, "
    "failing_since, created_at, updated_at"
)
_DELIVERY = "id, hook_id, type, execution_id, workflow_id, seq, event, status, attempt, due, attempts, created_at, finished_at"


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook. Its secrets are sealed."""

    id: str
    project: str
    url: str
    types: tuple[str, ...]
    workflow: str | None
    description: str
    enabled: bool
    reason: str | None
    secret: bytes
    old_secret: bytes | None
    old_until: int | None
    place: Place
    failing_since: int | None
    created_at: int
    updated_at: int

    def wants(self, type_: str, workflow: str) -> bool:
        """Whether it is to be told of an event."""
        return self.workflow in (None, workflow) and any(fnmatchcase(type_, each) for each in self.types)

    def to_json(self) -> Body:
        """Return what people see: everything but the secrets."""
        return {
            "id": self.id,
            "url": self.url,
            "types": list(self.types),
            "workflow_id": self.workflow,
            "description": self.description,
            "enabled": self.enabled,
            "reason": self.reason,
            "failing_since": self.failing_since,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event that a hook is to be told, and the attempts so far."""

    id: str
    hook: str
    type: str
    execution: str | None
    workflow: str | None
    seq: int
    event: Body
    status: str
    attempt: int
    due: int | None
    attempts: list[Json]
    created_at: int
    finished_at: int | None

    def to_json(self) -> Body:
        """Return what people see."""
        return {
            "id": self.id,
            "type": self.type,
            "execution_id": self.execution,
            "seq": self.seq,
            "status": self.status,
            "attempts": self.attempts,
            "next_attempt_at": self.due if self.status == PENDING else None,
            "created_at": self.created_at,
            "finished_at": self.finished_at,
        }


# --- Reading ------------------------------------------------------------------------------------------------


def hooks(connection: Connection, project: str = DEFAULT_PROJECT) -> list[Hook]:
    """Return the hooks of a project, in the order of their birth."""
    rows = connection.run(f"SELECT {_FIELDS} FROM hook WHERE project_id = ? ORDER BY id", (project,))
    return [_hook(row) for row in rows]


def hook(connection: Connection, name: str, project: str = DEFAULT_PROJECT) -> Hook:
    """Return one hook. Raises `NotFound`."""
    rows = connection.run(f"SELECT {_FIELDS} FROM hook WHERE id = ? AND project_id = ?", (name, project))
    if not rows:
        message_ = f"There is no subscription {name[:64]!r}."
        raise NotFound(message_, hint="GET /api/v1/subscriptions lists what there is.")
    return _hook(rows[0])


def active(connection: Connection) -> list[Hook]:
    """Return every hook that is to be told of what happens."""
    return [_hook(row) for row in connection.run(f"SELECT {_FIELDS} FROM hook WHERE enabled = 1 ORDER BY id")]


def deliveries(connection: Connection, name: str, limit: int, before: str | None) -> Page:
    """Return what a hook was told or is to be told, the latest first."""
    found = connection.run(
        f"SELECT {_DELIVERY} FROM hook_delivery WHERE hook_id = ? AND id < ? ORDER BY id DESC LIMIT ?",
        (name, before or "~", limit + 1),
    )
    listed = [_delivery(row) for row in found[:limit]]
    return Page([each.to_json() for each in listed], listed[-1].id if len(found) > limit else None)


def result(connection: Connection, execution: str) -> tuple[str | None, str | None]:
    """Return how an execution ended, and the JSON text of what it came to, unless that is too large or gone."""
    rows = connection.run(
        "SELECT e.status, coalesce(e.output, CASE WHEN b.size <= ? THEN b.body END) FROM execution e "
        "LEFT JOIN blob b ON b.hash = e.output_blob WHERE e.id = ?",
        (message.RESULT_BYTES, execution),
    )
    return (rows[0][0], rows[0][1]) if rows else (None, None)


# --- Changing -----------------------------------------------------------------------------------------------


def add(made: Hook, most: int) -> Callable[[Connection], Hook]:
    """Return the change that stores a hook, which hears of everything from now on. It raises `TooLarge`."""

    def change(connection: Connection) -> Hook:
        ((count,),) = connection.run("SELECT count(*) FROM hook WHERE project_id = ?", (made.project,))
        if count >= most:
            message_ = f"There are {count} subscriptions; at most {most} are allowed."
            raise TooLarge(message_, hint="Remove one that is no longer needed.", limit=most)
        connection.run(
            f"INSERT INTO hook ({_FIELDS}) VALUES ({', '.join('?' * 15)})",
            (
                made.id,
                made.project,
                made.url,
                json.dumps(made.types),
                made.workflow,
                made.description,
                int(made.enabled),
                made.reason,
                made.secret,
                made.old_secret,
                made.old_until,
                str(feed.end(connection)),
                made.failing_since,
                made.created_at,
                made.updated_at,
            ),
        )
        return made

    return change


def alter(name: str, project: str, changes: Mapping[str, Any], now: int) -> Callable[[Connection], Hook]:
    """Return the change of some columns. Enabled again, a hook hears of what happens from then on. It raises `NotFound`."""

    def change(connection: Connection) -> Hook:
        known = hook(connection, name, project)
        columns = {**changes, "updated_at": now}
        if changes.get("enabled") == 1 and not known.enabled:
            columns |= {"reason": None, "failing_since": None, "place": str(feed.end(connection))}
        marks = ", ".join(f"{each} = ?" for each in columns)
        connection.run(f"UPDATE hook SET {marks} WHERE id = ?", (*columns.values(), name))
        return hook(connection, name, project)

    return change


def remove(name: str, project: str = DEFAULT_PROJECT) -> Callable[[Connection], None]:
    """Return the change that removes a hook with all it was to be told. It raises `NotFound`."""

    def change(connection: Connection) -> None:
        hook(connection, name, project)
        connection.run("DELETE FROM hook_delivery WHERE hook_id = ?", (name,))
        connection.run("DELETE FROM hook WHERE id = ?", (name,))

    return change


def gather(
    about: Hook, entries: Sequence[Entry], until: Place, ids: Callable[[], str], now: int
) -> Callable[[Connection], int]:
    """Return the change that makes deliveries of what a hook wants and moves its place. Of several that try, one does it."""

    def change(connection: Connection) -> int:
        won = connection.run(
            "UPDATE hook SET place = ? WHERE id = ? AND place = ? AND enabled = 1 RETURNING id",
            (str(until), about.id, str(about.place)),
        )
        if not won:
            return 0
        count = 0
        for entry in entries:
            for event in entry.events:
                if about.wants(str(event["type"]), entry.workflow):
                    _insert(connection, about, ids(), event, entry.execution, entry.workflow, now)
                    count += 1
        return count

    return change


def test(about: Hook, id_: str, now: int) -> Callable[[Connection], Delivery]:
    """Return the change that has a hook told nothing but that it is heard."""

    def change(connection: Connection) -> Delivery:
        event: Body = {"type": message.TEST, "at": now, "seq": 0, "subscription_id": about.id}
        _insert(connection, about, id_, event, None, None, now)
        return _one(connection, about.id, id_)

    return change


def again(about: Hook, id_: str, now: int) -> Callable[[Connection], Delivery]:
    """Return the change that makes a finished delivery once more. It raises `NotFound`, or `Conflict` while it is on its way."""

    def change(connection: Connection) -> Delivery:
        known = _one(connection, about.id, id_)
        if known.status == PENDING:
            message_ = f"The delivery {id_} is still on its way."
            raise Conflict(message_, hint="It is repeated by itself until it is heard or given up.")
        connection.run(
            "UPDATE hook_delivery SET status = ?, attempt = 0, due = ?, finished_at = NULL WHERE id = ?",
            (PENDING, now, id_),
        )
        return _one(connection, about.id, id_)

    return change


def take(now: int, most: int) -> Callable[[Connection], list[tuple[Hook, Delivery]]]:
    """Return the change that takes due deliveries for one attempt each: nobody else makes it before its time is over."""

    def change(connection: Connection) -> list[tuple[Hook, Delivery]]:
        lock = " FOR UPDATE OF d SKIP LOCKED" if connection.dialect == "postgresql" else ""
        found = connection.run(
            "SELECT d.id FROM hook_delivery d JOIN hook h ON h.id = d.hook_id "
            f"WHERE d.due IS NOT NULL AND d.due <= ? AND h.enabled = 1 ORDER BY d.due LIMIT ?{lock}",
            (now, most),
        )
        taken = []
        for (id_,) in found:
            rows = connection.run(
                f"UPDATE hook_delivery SET attempt = attempt + 1, due = ? WHERE id = ? RETURNING {_DELIVERY}",
                (now + LEASE, id_),
            )
            delivery = _delivery(rows[0])
            (row,) = connection.run(f"SELECT {_FIELDS} FROM hook WHERE id = ?", (delivery.hook,))
            taken.append((_hook(row), delivery))
        return taken

    return change


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one attempt came to. `again_at` is when the next one is made, if any; `gone` that nobody wants to hear more."""

    delivery: Delivery
    heard: bool
    at: int
    now: int
    status: int | None
    error: str | None
    again_at: int | None = None
    gone: bool = False

    def to_json(self) -> Body:
        """Return what the log keeps of it."""
        body: Body = {"at": self.at, "ms": self.now - self.at}
        return {**body, "status": self.status} if self.error is None else {**body, "error": self.error}


def note(attempt: Attempt) -> Callable[[Connection], None]:
    """Return the change that writes an attempt down, unless its time was over. Who hears nothing any more is disabled."""

    def change(connection: Connection) -> None:
        about, over = attempt.delivery, attempt.heard or attempt.again_at is None
        status = DELIVERED if attempt.heard else FAILED if over else PENDING
        log = json.dumps([*about.attempts, attempt.to_json()])
        kept = connection.run(
            "UPDATE hook_delivery SET status = ?, due = ?, attempts = ?, finished_at = ? "
            "WHERE id = ? AND attempt = ? AND status = ? RETURNING id",
            (
                status,
                None if over else attempt.again_at,
                log,
                attempt.now if over else None,
                about.id,
                about.attempt,
                PENDING,
            ),
        )
        if not kept:
            return
        if attempt.heard:
            connection.run("UPDATE hook SET failing_since = NULL WHERE id = ?", (about.hook,))
            return
        connection.run(
            "UPDATE hook SET failing_since = coalesce(failing_since, ?) WHERE id = ?",
            (attempt.at, about.hook),
        )
        if attempt.gone or (over and about.type != message.TEST):
            reason = (
                "The receiver answered 410 Gone."
                if attempt.gone
                else "An event was not heard in all its attempts, and none since the first of them."
            )
            connection.run(
                "UPDATE hook SET enabled = 0, reason = ?, updated_at = ? WHERE id = ? AND (? = 1 OR failing_since <= ?)",
                (reason, attempt.now, about.hook, int(attempt.gone), _first(about, attempt)),
            )

    return change


def _first(about: Delivery, attempt: Attempt) -> int:
    first = about.attempts[0] if about.attempts else None
    return int(str(first["at"])) if isinstance(first, dict) else attempt.at


def _insert(
    connection: Connection,
    about: Hook,
    id_: str,
    event: Body,
    execution: str | None,
    workflow: str | None,
    now: int,
) -> None:
    connection.run(
        "INSERT INTO hook_delivery (id, project_id, hook_id, type, execution_id, workflow_id, seq, event, status, "
        "attempt, due, attempts, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, '[]', ?)",
        (
            id_,
            about.project,
            about.id,
            event["type"],
            execution,
            workflow,
            event["seq"],
            json.dumps(event),
            PENDING,
            now,
            now,
        ),
    )


def _one(connection: Connection, hook_id: str, id_: str) -> Delivery:
    rows = connection.run(
        f"SELECT {_DELIVERY} FROM hook_delivery WHERE id = ? AND hook_id = ?", (id_, hook_id)
    )
    if not rows:
        message_ = f"The subscription {hook_id} has no delivery {id_[:64]!r}."
        raise NotFound(message_, hint="Deliveries are kept as long as the executions they tell of.")
    return _delivery(rows[0])


def _hook(row: Sequence[Any]) -> Hook:
    (id_, project, url, types, workflow, description, enabled, reason, secret, old, until, place, *rest) = row
    return Hook(
        id_,
        project,
        url,
        tuple(json.loads(types)),
        workflow,
        description,
        bool(enabled),
        reason,
        bytes(secret),
        None if old is None else bytes(old),
        until,
        feed.place(place),
        *rest,
    )


def _delivery(row: Sequence[Any]) -> Delivery:
    id_, about, type_, execution, workflow, seq, event, status, attempt, due, attempts, *rest = row
    return Delivery(
        id_,
        about,
        type_,
        execution,
        workflow,
        seq,
        json.loads(event),
        status,
        attempt,
        due,
        json.loads(attempts),
        *rest,
    )
