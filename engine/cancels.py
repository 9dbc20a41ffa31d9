"""Cancelling from outside the pen: an execution, and with it all that it has called, at any depth."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from engine import operations as op
from engine.errors import Unavailable
from engine.store.sql import Batched, Row, columns

if TYPE_CHECKING:
    from engine.clock import Clock
    from engine.reader import Reader

log = logging.getLogger(__name__)

_FORSAKEN: Final = "s.status = 'cancelled' AND s.child IS NOT NULL"
"""The condition of the partial index, word for word."""
_CALLS: Final = "SELECT s.execution_id, s.segment, s.item, s.child FROM"
FORSAKEN: Final = f"{_CALLS} segment s WHERE {_FORSAKEN} ORDER BY s.child LIMIT 500"
"""Segments that have called and were then stopped, with what they called."""
_FORSAKEN_BY: Final = Batched(
    f"{_CALLS} {{rows}} JOIN segment s ON s.execution_id = r.id WHERE {_FORSAKEN}", columns("id")
)


class Ledger(Protocol):
    """Where requests are handed in."""

    def submit(self, work: Any) -> asyncio.Future[Any]:
        """Hand in one request."""


class Process(Protocol):
    """What cancelling needs of its process."""

    @property
    def ledger(self) -> Ledger:
        """The pen."""

    @property
    def reader(self) -> Reader:
        """Reading beside it."""

    @property
    def clock(self) -> Clock:
        """Its clock."""


async def cancel(at: Process, execution: str, reason: str = "", *, force: bool = False) -> str:
    """Ask an execution to stop, and all that it waits for. Returns its status afterwards. Raises `Unavailable`."""
    status: str = await at.ledger.submit(op.Cancel(execution, at.clock.now(), reason, force=force))
    await cascade(at, execution)
    return status


async def cascade(at: Process, execution: str) -> None:
    """Stop what is called by what was stopped, and so on down. A poller does the same for whoever dies over it."""
    names = [execution]
    try:
        while names:
            asked = [(each,) for each in names]
            rows = await at.reader.read(lambda connection, asked=asked: connection.batch(_FORSAKEN_BY, asked))  # type: ignore[misc]
            await asyncio.gather(*(at.ledger.submit(each) for each in forsakes(rows, at.clock.now())))
            names = [child for _, _, _, child in rows]
    except Unavailable as error:
        log.warning("What %s has called is left for a poller to stop: %s", execution, str(error))


def forsakes(rows: Iterable[Row], now: int) -> list[op.Forsake]:
    """Return what stops executions that nobody waits for any more."""
    reason = "What called it has been stopped."
    return [
        op.Forsake(execution, segment, item, child, now, reason) for execution, segment, item, child in rows
    ]
