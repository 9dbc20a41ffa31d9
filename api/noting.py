"""Changes that the audit tells of: each is noted in its own transaction, with who did it and from where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import Request

from api import address, principal
from api.state import of
from celeriac import Json
from engine.access import audit
from engine.ledger import Change, Noted
from engine.operations import Operation
from engine.store.database import Connection

Told = Callable[[Any], tuple[audit.Outcome, dict[str, Json]]]
"""From the answer of the work to how it went, and what else is worth knowing."""


def entry(
    request: Request,
    action: str,
    subject: str,
    *,
    project: str = "",
    outcome: audit.Outcome = "done",
    details: dict[str, Json] | None = None,
) -> audit.Entry:
    """Return what the audit is told of a request's deed. Without a principal, nobody is known to have asked."""
    state = of(request)
    known = request.scope["state"]
    person = known.get("principal")
    return audit.Entry(
        "" if person is None else person.id,
        "" if person is None else person.name,
        action,
        subject,
        project,
        address.of(request, state.settings.proxies),
        known["request_id"],
        outcome,
        details or {},
    )


async def change(
    request: Request,
    work: Operation | Change,
    action: str,
    subject: str,
    told: Told | None = None,
    *,
    project: str | None = None,
    **details: Json,
) -> Any:
    """Do work and note it, all in one transaction; return its answer. What is refused is not done, and not noted."""
    state = of(request)
    where = principal.project(request) if project is None else project
    now, key = state.runtime.clock.now(), state.key("audit")

    def note(connection: Connection, answer: Any) -> None:
        outcome, more = ("done", {}) if told is None else told(answer)
        told_of = entry(request, action, subject, project=where, outcome=outcome, details={**details, **more})
        audit.write(connection, key, told_of, now)

    return await state.runtime.ledger.submit(Noted(work, note))
