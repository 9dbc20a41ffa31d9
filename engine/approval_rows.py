"""Approvals as people see them: what is open, what was asked, who said what. Reading only; the pen writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from celeriac import Json
from engine.approvals import Vote, may_decide
from engine.errors import NotFound
from engine.listing import Body, Page
from engine.settings import DEFAULT_PROJECT
from engine.store.database import Connection
from engine.store.signals import VOTES

_COLUMNS = (
    "SELECT a.id, a.execution_id, w.name, a.node, a.item, a.title, a.status, a.approvers, a.quorum, a.rule, a.four_eyes, "
    "a.reminded, a.escalated, a.shown_hash, a.due, a.created_at, a.decided_at, a.body, a.blob, e.principal "
    "FROM approval a JOIN execution e ON e.id = a.execution_id JOIN workflow w ON w.id = e.workflow_id "
)


_UNHEARD = (
    "a.status = 'open' AND NOT EXISTS "
    "(SELECT 1 FROM approval_vote v WHERE v.approval_id = a.id AND v.principal = ?)"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody whose voice is looked for: by which name it would count, and what else that one is known by."""

    principal: str
    roles: frozenset[str]

    def may(self, row: Sequence[Any]) -> bool:
        """Whether this one may decide on the approval of a row."""
        approvers, four_eyes, starter = json.loads(row[7]), bool(row[10]), str(row[19])
        refused = may_decide(approvers, self.principal, self.roles, four_eyes=four_eyes, starter=starter)
        return refused is None


@dataclass(frozen=True, slots=True)
class Found:
    """An approval: how it is shown, and what a decision has to be held against."""

    execution: str
    form: Json
    body: Body


def listing(
    connection: Connection,
    limit: int,
    *,
    status: str | None = None,
    before: tuple[int, str] | None = None,
    asked: Asked | None = None,
    project: str = DEFAULT_PROJECT,
) -> Page:
    """Return approvals, the latest first, those born before a position; of somebody who is `asked`, the open ones that wait
    for that one's voice. A page of these may have fewer rows than the next page behind it needs.
    """
    where, values = ["a.project_id = ?"], [project]
    if status is not None:
        where.append("a.status = ?")
        values.append(status)
    if before is not None:
        where.append("a.id < ?")
        values.append(before[1])
    if asked is not None:
        where.append(_UNHEARD)
        values.append(asked.principal)
    found = connection.run(
        f"{_COLUMNS} WHERE {' AND '.join(where)} ORDER BY a.id DESC LIMIT ?", (*values, limit + 1)
    )
    rows = [_body(row) for row in found[:limit] if asked is None or asked.may(row)]
    last = found[limit - 1] if len(found) > limit else None
    return Page(rows, None if last is None else (last[15], last[0]))


def find(connection: Connection, name: str, project: str = DEFAULT_PROJECT) -> Found:
    """Return one approval with what is shown and the votes so far. Raises `NotFound`."""
    rows = connection.run(f"{_COLUMNS} WHERE a.id = ? AND a.project_id = ?", (name, project))
    if not rows:
        message = f"There is no approval {name!r}."
        raise NotFound(message, hint="celeriac approvals list shows what is open.")
    row = rows[0]
    text, blob = row[17:19]
    if blob is not None:
        (text,) = connection.run("SELECT body FROM blob WHERE hash = ?", (blob,))[0]
    asked = json.loads(text)
    votes = [
        Vote(principal, decision, comment, None if form is None else json.loads(form), at).to_json()
        for _, principal, decision, comment, form, at in connection.batch(VOTES, [(name,)])
    ]
    more = {key: asked[key] for key in ("description", "show", "form") if asked[key]}
    return Found(row[1], asked["form"], {**_body(row), **more, "votes": votes})  # type: ignore[dict-item]  # a list of JSON


def _body(row: Sequence[Any]) -> Body:
    body: Body = {
        "id": row[0],
        "execution": row[1],
        "workflow": row[2],
        "node": row[3],
        "title": row[5],
        "status": row[6],
        "approvers": json.loads(row[7]),
        "quorum": row[8],
        "rule": row[9],
        "four_eyes": bool(row[10]),
        "reminded": row[11],
        "escalated": bool(row[12]),
        "shown_hash": row[13],
        "created_at": row[15],
    }
    more = {"item": row[4] or None, "due": row[14], "decided_at": row[16]}
    return body | {key: value for key, value in more.items() if value is not None}
