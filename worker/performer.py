"""What a worker process adds to the engine's parts: an executor, its leases, its children, its way out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine import runtime
from engine.callbacks import Callbacks
from engine.execute import Executor
from engine.leases import Leases
from engine.outside import secret_key
from engine.outside.sealing import SealingKeys
from engine.outside.surroundings import Outside
from engine.performance import Services
from engine.snapshots import Reference
from engine.speech import Speaking
from worker.application import settings
from worker.children import Children
from worker.local_models import LocalModels
from worker.mail import Postman

if TYPE_CHECKING:
    from celery import Celery


class Performer:
    """Performs segments in the running event loop."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    async def begin(self) -> None:
        """Start everything."""
        queues = list(self._app.amqp.queues)
        self._runtime = runtime.assemble(settings, queues=queues, app=self._app)
        at = self._runtime
        self._leases = Leases(at.ledger, at.reader, at.clock, settings.timing)
        self._leases.begin(asyncio.get_running_loop())
        self._children = Children(settings)
        secrets = secret_key.load(
            settings.secret_key, settings.data, make=settings.sqlite, random_bytes=at.clock.entropy
        )
        self._models = LocalModels(settings.models)
        self._outside = Outside(
            settings,
            at.reader,
            at.ledger,
            at.clock,
            at.registry.connections,
            SealingKeys.of(*secrets),
            self._models,
        )
        self._executor = Executor(
            Services(
                at.ledger,
                at.reader,
                at.programs,
                self._leases,
                at.clock,
                settings,
                at.dispatcher,
                self._children,
                self._outside,
                at.owner,
                secret_key.derive(secrets[0], "draws"),
                Callbacks.of(secrets, settings),
                Speaking(SealingKeys.of(*secrets), at.dispatcher.say, at.clock, settings.limits),
            )
        )

        self._postman = Postman(at, self._outside)

    async def perform(self, references: Sequence[Reference]) -> None:
        """Perform the segments of one message."""
        await self._executor.perform(references)

    async def end(self, patience: float) -> None:
        """Finish what runs within `patience` seconds, hand back the rest, and stop."""
        await self._postman.end()
        await self._executor.drain(patience)
        await self._children.end()
        await self._models.end()
        await self._outside.end()
        self._leases.end()
        await asyncio.to_thread(self._runtime.close)
