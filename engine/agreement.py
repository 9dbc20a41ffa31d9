"""Whether people have agreed to exactly one thing: read from the approvals of an execution, and from the voices in them.

A voice is bound to the hash of what was shown, and what was shown is compared as canonical JSON. Silence is no voice: an
approval that time has decided agrees to nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from celeriac import Json
from engine.approvals import Vote, verdict
from engine.store.database import Connection

_DECIDED: Final = (
    "SELECT a.id, a.item, coalesce(a.body, b.body), a.shown_hash, a.rule, a.quorum FROM approval a "
    "LEFT JOIN blob b ON b.hash = a.blob WHERE a.execution_id = ? AND a.decided_at IS NOT NULL ORDER BY a.decided_at, a.id"
)
_VOICES: Final = (
    "SELECT principal, decision, at FROM approval_vote WHERE approval_id = ? AND shown_hash = ? "
    "ORDER BY at, principal"
)


@dataclass(frozen=True, slots=True)
class Decided:
    """An approval that has ended: at which item, what it showed (the text, and the hash of it), and the voices for that hash."""

    item: str
    text: str
    shown_hash: str
    rule: str
    quorum: int
    votes: tuple[Vote, ...]


def agreed(approvals: Iterable[Decided], item: str, value: Json) -> bool:
    """Whether the last of these that people decided, of those that showed this value where `item` is or around it, approved.

    An approval shows a value when that is what it has to `show`, or one member of it.
    """
    wanted = digest(value)
    last = None
    for each in approvals:
        if each.item not in ("", item) and not item.startswith(f"{each.item}."):
            continue
        if hashlib.sha256(each.text.encode()).hexdigest() != each.shown_hash:
            continue  # somebody has changed the row
        shown = json.loads(each.text)["show"]
        members = shown.values() if isinstance(shown, dict) else ()
        if wanted in map(digest, (shown, *members)):
            last = verdict(each.rule, each.quorum, each.votes) or last
    return last == "approved"


def decided(connection: Connection, execution: str) -> list[Decided]:
    """Return the approvals of an execution that have ended, in the order in which they did."""
    return [
        Decided(
            item,
            text,
            shown_hash,
            rule,
            quorum,
            tuple(
                Vote(principal, decision, "", None, at)
                for principal, decision, at in connection.run(_VOICES, (name, shown_hash))
            ),
        )
        for name, item, text, shown_hash, rule, quorum in connection.run(_DECIDED, (execution,))
    ]


def digest(value: Json) -> str:
    """Return the hash of a value in canonical form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
