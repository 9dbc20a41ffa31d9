"""Publishing an event, with all it brings about: waits that end, workflows that start, schedules that wait on."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from engine import operations as op
from engine.admission import OUTDONE, Accepting
from engine.cancels import cancel
from engine.catalog import Versions
from engine.settings import DEFAULT_PROJECT
from engine.triggers.events import Event, follows, listeners
from engine.triggers.scheduler import sendable

Sent = tuple[str, tuple[str, int, str]]
"""A queue, and the reference that is to be sent to it."""


class Publishing(Accepting, Protocol):
    """What publishing has to know of its process."""

    @property
    def ledger(self) -> Any:
        """Its ledger."""

    @property
    def reader(self) -> Any:
        """Its reader."""


async def publish(
    at: Publishing,
    versions: Versions,
    event: Event,
    data: tuple[op.Payload, op.Blob | None],
    *,
    key: str | None,
    principal: str = "",
    project: str = DEFAULT_PROJECT,
) -> tuple[op.Published, list[Sent]]:
    """Publish an event, and return what is to be sent because of it. A `key` that its source has used publishes nothing."""
    now = at.clock.now()
    waiting = await at.reader.read(lambda connection: listeners(connection, versions, event.type, project))
    arrivals, postponed = follows(at, event, waiting, now)
    payload, blob = data
    published: op.Published = await at.ledger.submit(
        op.Publish(
            id=event.id,
            project=project,
            type=event.type,
            correlation=event.subject,
            now=now,
            expires_at=now + at.settings.limits.event_ms,
            data=payload,
            blobs=(blob,) if blob else (),
            source=event.source,
            key=key,
            principal=principal,
            arrivals=arrivals,
            postponed=postponed,
        )
    )
    started, outdone = sendable([arrivals], [published.arrived or None])
    await asyncio.gather(*(cancel(at, each, OUTDONE) for each in sorted(set(outdone))))
    woken = [(queue, (name, segment, item)) for name, (segment, item, queue) in published.ready]
    return published, [*woken, *started]
