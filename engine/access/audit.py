"""The audit: who did what to what, from where, when, and with what outcome; a chain that shows where somebody altered it.

A row is written in the transaction of the change it tells of. Its hash covers its fields and the hash before it, under a key
that the database does not have. What cannot be seen from inside is that the end of the chain is missing; so whoever verifies
it is told the last hash, to be held against the one of the next time.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from celeriac import Json
from engine.queries import Body, Page
from engine.store.database import Connection

Outcome = Literal["done", "refused", "failed"]
"""It was done; it was not permitted; or the state of things, or a wrong password, did not allow it."""

FIRST: Final = "0" * 64
"""What stands in the place of a hash before the first row."""

_LOCK: Final = 0x43454C41
_AT_ONCE: Final = 1_000
_FIELDS: Final = "seq, at, actor, name, action, subject, project_id, address, request, outcome, details"


@dataclass(frozen=True, slots=True)
class Entry:
    """One deed. `actor` is the principal's id and `name` whom it acts for; `subject` is the id or name of what it is about."""

    actor: str
    name: str
    action: str
    subject: str
    project: str = ""
    address: str = ""
    request: str = ""
    outcome: Outcome = "done"
    details: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look at the whole chain came to: how many rows, where it is broken first, and the last good hash."""

    count: int
    broken: int | None
    head: str


def write(connection: Connection, key: bytes, entry: Entry, now: int) -> None:
    """Add a row, in the transaction that is open. Others who would add one wait until that has ended."""
    if connection.dialect == "postgresql":
        connection.run("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
    rows = connection.run("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
    seq, before = rows[0] if rows else (0, FIRST)
    fields = (
        seq + 1,
        now,
        entry.actor,
        entry.name,
        entry.action,
        entry.subject,
        entry.project,
        entry.address,
        entry.request,
        entry.outcome,
        json.dumps(entry.details, separators=(",", ":"), sort_keys=True),
    )
    connection.run(
        f"INSERT INTO audit ({_FIELDS}, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*fields, _hash(key, before, fields)),
    )


def writing(key: bytes, entry: Entry, now: int) -> Callable[[Connection], None]:
    """Return the change that adds a row and does nothing else."""
    return lambda connection: write(connection, key, entry, now)


def listing(
    connection: Connection,
    limit: int,
    *,
    project: str | None,
    actor: str | None = None,
    action: str | None = None,
    before: int | None = None,
) -> Page:
    """Return rows, the latest first: of one project, or of everything when it is None. Positions are sequence numbers."""
    where: list[str] = []
    values: list[Any] = []
    for column, value in (("project_id", project), ("action", action)):
        if value is not None:
            where.append(f"{column} = ?")
            values.append(value)
    if actor is not None:
        where.append("(actor = ? OR name = ?)")
        values.extend((actor, actor))
    if before is not None:
        where.append("seq < ?")
        values.append(before)
    condition = f"WHERE {' AND '.join(where)}" if where else ""
    rows = connection.run(
        f"SELECT {_FIELDS}, hash FROM audit {condition} ORDER BY seq DESC LIMIT ?", (*values, limit + 1)
    )
    found = [_body(row) for row in rows[:limit]]
    return Page(found, (rows[limit - 1][0], "") if len(rows) > limit else None)


def verify(connection: Connection, *keys: bytes) -> Verdict:
    """Go through the whole chain. A missing, added or altered row breaks it at its place.

    `keys` are the one that is used now, and those that were before.
    """
    count, before = 0, FIRST
    while True:
        rows = connection.run(
            f"SELECT {_FIELDS}, hash FROM audit WHERE seq > ? ORDER BY seq LIMIT ?", (count, _AT_ONCE)
        )
        for *fields, digest in rows:
            good = any(hmac.compare_digest(digest, _hash(key, before, fields)) for key in keys)
            if fields[0] != count + 1 or not good:
                return Verdict(count, count + 1, before)
            count, before = count + 1, digest
        if len(rows) < _AT_ONCE:
            return Verdict(count, None, before)


def has(connection: Connection, seq: int, digest: str) -> bool:
    """Whether a row that was the last one at some time is there with the hash it had. Row 0 stands for an empty chain."""
    if not seq:
        return digest == FIRST
    rows = connection.run("SELECT hash FROM audit WHERE seq = ?", (seq,))
    return bool(rows) and hmac.compare_digest(rows[0][0], digest)


def _hash(key: bytes, before: str, fields: Sequence[Any]) -> str:
    text = json.dumps([before, *fields], separators=(",", ":"), ensure_ascii=False)
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256").hex()


def _body(row: Sequence[Any]) -> Body:
    seq, at, actor, name, action, subject, project, address, request, outcome, details, digest = row
    return {
        "seq": seq,
        "at": at,
        "actor": actor,
        "name": name,
        "action": action,
        "subject": subject,
        "project": project or None,
        "address": address,
        "request_id": request,
        "outcome": outcome,
        "details": json.loads(details),
        "hash": digest,
    }
