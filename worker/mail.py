"""Looks into the mailboxes whose messages start executions. Any worker may; a look is claimed, so that one of them does."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from engine.catalog import Versions
from engine.context import NodeContext
from engine.failpoints import failpoint
from engine.failure import error_of
from engine.triggers import mail, scheduler
from engine.triggers.scheduler import Due

if TYPE_CHECKING:
    from engine import operations as op
    from engine.outside.surroundings import Outside
    from engine.runtime import Runtime

_log = logging.getLogger(__name__)

AT_ONCE = 4
PAUSE = 1.0
"""Seconds between two looks at which mailboxes are due."""
LOOK, CLAIM = 4, 5
"""How long a look may take, and how long it keeps others away, in leases: who dies in it is followed after that."""


class Postman:
    """Brings in what has come, until it is ended."""

    def __init__(self, runtime: Runtime, outside: Outside) -> None:
        self.prepare(runtime, outside)
        self._task = asyncio.create_task(self._walk())

    def prepare(self, runtime: Runtime, outside: Outside) -> None:
        """Get ready for rounds, and begin none."""
        self._at = runtime
        self._outside = outside
        self._lease = runtime.settings.timing.lease
        self._versions = Versions()
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def end(self) -> None:
        """Stop; a look that is under way is another worker's when its claim is over."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _walk(self) -> None:
        while True:
            try:
                await self.round()
            except Exception:  # noqa: BLE001  whatever it is, mail keeps coming
                _log.exception("Nobody could look into the mailboxes; it is tried again.")
            await asyncio.sleep(PAUSE)

    async def round(self) -> None:
        """Look into every mailbox that is due."""
        now = self._at.clock.now()
        due = await self._at.reader.read(lambda connection: mail.due(connection, self._versions, now))
        await asyncio.gather(*map(self._look, due))

    async def _look(self, each: Due) -> None:
        async with self._slots:
            wanted, mine = mail.claim(each, self._at.clock.now(), self._lease * CLAIM)
            if await self._at.ledger.submit(wanted) is None or not mine.active.enabled:
                return
            try:
                found = await self._read(mine)
                failpoint("mail.read")
                asked = mail.arrive(self._at, mine, found, self._at.clock.now())
            except Exception as error:  # noqa: BLE001  whatever hinders a look is written down as its outcome
                known = error_of(error)
                _log.warning("The mailbox of %s was not read: %s %s", each.name, known.code, known.message)
                asked = mail.failed(mine, known.code, known.message, self._at.clock.now())
            answer = await self._at.ledger.submit(asked)
            failpoint("mail.taken")
            self._send(asked, answer)

    async def _read(self, each: Due) -> dict[str, Any]:
        """Have the node that reads mailboxes read this one."""
        node_type = self._at.registry.resolve(mail.READER)
        now = self._at.clock.now()
        config = node_type.config.model_validate(mail.wish(each, now))
        context = NodeContext("", each.name, "", 1, now, each.active.project, self._outside, None, 0)
        async with asyncio.timeout(self._lease * LOOK / 1000):
            found: Any = await node_type.run(config, context)  # type: ignore[misc]  # it waits, as its name says
        return dict(found)

    def _send(self, asked: op.Arrive, answer: Any) -> None:
        ready, _ = scheduler.sendable([asked.arrivals], [answer])
        self._at.dispatcher.send_all(ready)
