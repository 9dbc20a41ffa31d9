"""The audit: who did what to what, from where, when, and with what outcome; a chain that shows where somebody altered it.

A row is written in the transaction of the change it tells of. Its hash covers its fields and the hash before it, under a key
that the database does not have. What cannot be seen from inside is that the end of the chain is missing; so whoever verifies
it is told the last hash, to be held against the one of the next time.

Old rows may be let go of, from the beginning and without a hole. The row that says so stands in the chain itself, and carries the
hash of the last one that is gone: from there the rest is verified as before, and nobody without the key can let go of any.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from celeriac import Json
from engine.listing import Body, Page
from engine.store.database import Connection

Outcome = Literal["done", "refused", "failed"]
"""It was done; it was not permitted; or the state of things, or a wrong password, did not allow it."""

FIRST: Final = "0" * 64
"""What stands in the place of a hash before the first row."""

PURGE: Final = "audit:purge"
"""The deed of letting go of old rows."""
PURGED_AT_ONCE: Final = 10_000
"""Rows that one transaction lets go of."""

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
    """What a look at the whole chain came to: the number of the last good row and its hash, where it is broken first, and up to
    which row it was purged.
    """

    count: int
    broken: int | None
    head: str
    purged: int = 0


def write(connection: Connection, key: bytes, entry: Entry, now: int) -> None:
    """Add a row, in the transaction that is open. Others who would add one wait until that has ended."""
    _queue(connection)
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


def _queue(connection: Connection) -> None:
    """Wait until no other transaction changes the chain. SQLite has one writer anyway."""
    if connection.dialect == "postgresql":
        connection.run("SELECT pg_advisory_xact_lock(?)", (_LOCK,))


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
    gone, before = _purged(connection)
    count = gone
    while True:
        rows = connection.run(
            f"SELECT {_FIELDS}, hash FROM audit WHERE seq > ? ORDER BY seq LIMIT ?",
            (count if count > gone else 0, _AT_ONCE),
        )
        for *fields, digest in rows:
            good = any(hmac.compare_digest(digest, _hash(key, before, fields)) for key in keys)
            if fields[0] != count + 1 or not good:
                return Verdict(count, count + 1, before, gone)
            count, before = count + 1, digest
        if len(rows) < _AT_ONCE:
            return Verdict(count, None, before, gone)


def has(connection: Connection, seq: int, digest: str) -> bool | None:
    """Whether a row that was the last one at some time is there with the hash it had; None when it was purged since.

    Row 0 stands for an empty chain.
    """
    gone, last = _purged(connection)
    if seq == gone:
        return hmac.compare_digest(digest, last)
    if seq < gone:
        return None
    rows = connection.run("SELECT hash FROM audit WHERE seq = ?", (seq,))
    return bool(rows) and hmac.compare_digest(rows[0][0], digest)


def purge(key: bytes, entry: Entry, cutoff: int, now: int) -> Callable[[Connection], int]:
    """Return the change that deletes up to `PURGED_AT_ONCE` rows from before `cutoff` (milliseconds), and answers how many.

    `entry` says who does it; it is noted with what the rest of the chain is verified from. The last row always stays.
    """

    def change(connection: Connection) -> int:
        _queue(connection)
        ((first, last),) = connection.run("SELECT min(seq), max(seq) FROM audit")
        if first is None:
            return 0
        ((kept,),) = connection.run("SELECT min(seq) FROM audit WHERE at >= ?", (cutoff,))
        end: int = last if kept is None else kept
        through: int = min(end, first + PURGED_AT_ONCE) - 1
        if through < first:
            return 0
        ((digest,),) = connection.run("SELECT hash FROM audit WHERE seq = ?", (through,))
        details: dict[str, Json] = {"through": through, "hash": digest}
        write(connection, key, replace(entry, action=PURGE, details=details), now)
        connection.run("DELETE FROM audit WHERE seq <= ?", (through,))
        count: int = through - first + 1
        return count

    return change


def _purged(connection: Connection) -> tuple[int, str]:
    """Return the number and the hash of the last row that was let go of, as the chain says itself; 0 if none was."""
    rows = connection.run("SELECT details FROM audit WHERE action = ? ORDER BY seq DESC LIMIT 1", (PURGE,))
    details: dict[str, Any] = json.loads(rows[0][0]) if rows else {"through": 0, "hash": FIRST}
    return int(details["through"]), str(details["hash"])


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
