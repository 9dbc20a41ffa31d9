"""The courier: finds out what hooks are to be told, and tells them. Any number may run; each attempt is made by one of them.

It begins nothing of its own: what it finds is rows, and what it does is written down after each attempt. Killed between a
request and its row, it leaves an attempt that is made again after its lease, under the same id.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import httpx2

from celeriac import Fail
from engine import feed
from engine.clock import Clock
from engine.errors import CeleriacError, Unavailable
from engine.hooks import message, rows, schedule
from engine.hooks.rows import Attempt, Delivery, Hook
from engine.ledger import LedgerThread
from engine.outside.egress import Egress
from engine.outside.sealing import Place, SealBroken, SealedWithOtherKey, SealingKeys, open_sealed
from engine.reader import Reader

log = logging.getLogger(__name__)

_ROWS = 500
_AT_ONCE = 32
_SECONDS = 15.0
"""How long a receiver may take for its answer."""
_SHORT, _LONG = 0.1, 1.0


class Parts(Protocol):
    """What of a process a courier needs."""

    @property
    def ledger(self) -> LedgerThread:
        """Its ledger."""

    @property
    def reader(self) -> Reader:
        """Its reader."""

    @property
    def clock(self) -> Clock:
        """Its clock."""


class Courier:
    """Carries what hooks are to be told. `key` gives the key that their secrets are sealed with; `base` is the API's address."""

    def __init__(self, parts: Parts, egress: Egress, key: Callable[[], SealingKeys], base: str) -> None:
        self._parts = parts
        self._egress = egress
        self._key = key
        self._base = base.rstrip("/")
        self._running: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start, in the running event loop."""
        self._running = asyncio.create_task(self._run())

    async def end(self) -> None:
        """Stop; a request that is on its way is made again later."""
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running
        await self._egress.aclose()

    async def round(self) -> bool:
        """Do once what there is to do. Returns whether there may be more at once. Raises `Unavailable`."""
        gathered = await self._gather()
        at = self._parts
        taken: list[tuple[Hook, Delivery]] = await at.ledger.submit(rows.take(at.clock.now(), _AT_ONCE))
        await asyncio.gather(*(self._carry(*each) for each in taken))
        return gathered or len(taken) == _AT_ONCE

    async def _run(self) -> None:
        pause = _SHORT
        while True:
            try:
                busy = await self._is_needed() and await self.round()
                pause = _SHORT if busy else min(pause * 2, _LONG)
            except Unavailable as error:
                log.debug("Hooks wait for the database: %s", error)
                pause = _LONG
            except Exception:
                log.exception("A round of the courier failed; the next one may not.")
                pause = _LONG
            await asyncio.sleep(pause)

    async def _is_needed(self) -> bool:
        return bool(await self._parts.reader.read(rows.active))

    async def _gather(self) -> bool:
        """Turn what has happened into deliveries. Returns whether a hook has more to catch up with."""
        at, more = self._parts, False
        for hook in await at.reader.read(rows.active):
            end = await at.reader.read(feed.end)
            entries = await at.reader.read(
                lambda connection, hook=hook: feed.read(connection, hook.place, _ROWS, hook.project)  # type: ignore[misc]
            )
            until = (
                entries[-1].end
                if len(entries) == _ROWS
                else max(end, *(each.end for each in entries), hook.place)
            )
            if until == hook.place:
                continue
            now = at.clock.now()
            await at.ledger.submit(rows.gather(hook, entries, until, lambda: at.clock.mint("msg"), now))
            more = more or len(entries) == _ROWS
        return more

    async def _carry(self, hook: Hook, delivery: Delivery) -> None:
        """Make one attempt, and write down what it came to."""
        at = self._parts
        began = at.clock.now()
        status: int | None = None
        error: str | None = None
        wish: float | None = None
        try:
            body = await self._body(delivery)
            headers = message.sign(delivery.id, began // 1000, body, self._secrets(hook, began))
            headers |= {"Content-Type": "application/json", "Idempotency-Key": delivery.id}
            answer = await self._egress.client().post(
                hook.url, content=body.encode(), headers=headers, timeout=_SECONDS, follow_redirects=False
            )
            status, wish = answer.status_code, schedule.wish_of(answer.headers)
        except (Fail, CeleriacError) as refused:
            error = f"{refused.code}: {refused.message}"
        except httpx2.HTTPError as lost:
            error = str(lost) or type(lost).__name__
        heard = status is not None and schedule.is_heard(status)
        now = at.clock.now()
        gone = status == schedule.GONE
        following = schedule.following(delivery.attempt, now, wish, at.clock.entropy(1))
        await at.ledger.submit(
            rows.note(
                Attempt(
                    delivery,
                    heard,
                    began,
                    now,
                    status,
                    error,
                    None if heard or gone else following,
                    gone=gone,
                )
            )
        )

    async def _body(self, delivery: Delivery) -> str:
        status, result = None, None
        execution = delivery.execution
        if execution is not None and delivery.type in message.ENDS:
            status, result = await self._parts.reader.read(
                lambda connection: rows.result(connection, execution)
            )
        url = f"{self._base}/api/v1/executions/{execution}"
        return message.compose(delivery.event, status=status, result=result, url=url)

    def _secrets(self, hook: Hook, now: int) -> list[str]:
        found = [open_secret(hook, hook.secret, self._key())]
        if hook.old_secret is not None and hook.old_until is not None and now < hook.old_until:
            found.append(open_secret(hook, hook.old_secret, self._key()))
        return found


def place_of(project: str, hook: str) -> Place:
    """Return where the secret of a hook belongs."""
    return Place(project, hook, "hook")


def open_secret(hook: Hook, sealed: bytes, key: SealingKeys) -> str:
    """Return a secret of a hook. Raises `Fail` (`hook.secret_unreadable`)."""
    try:
        return open_sealed(sealed, place_of(hook.project, hook.id), key).decode()
    except (SealedWithOtherKey, SealBroken) as error:
        text = "The secret was sealed under another key; rotate it."
        raise Fail("hook.secret_unreadable", text) from error
