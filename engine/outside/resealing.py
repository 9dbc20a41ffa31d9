"""Exchanging the key that connections are sealed with: each row by itself, so that it may be broken off and repeated."""

from __future__ import annotations

from collections.abc import Callable

from engine.ledger import LedgerThread
from engine.outside import connection_rows
from engine.outside.connections import SealedConnection, place_of
from engine.outside.sealing import SealBroken, SealedWithOtherKey, SealingKeys, rewrapped, sealed_under
from engine.reader import Reader
from engine.store.database import Connection

EVERY = "SELECT DISTINCT project_id FROM connection"


async def reseal(
    reader: Reader, ledger: LedgerThread, keys: SealingKeys, random_bytes: Callable[[int], bytes]
) -> dict[str, object]:
    """Wrap every data key under the current key. Return how many were `resealed`, and the names of those that stay `closed`."""
    count, closed = 0, []
    for each in await reader.read(_everything):
        if sealed_under(each.sealed, keys.current):
            continue
        try:
            sealed = rewrapped(each.sealed, place_of(each), keys, random_bytes)
        except (SealBroken, SealedWithOtherKey):
            closed.append(each.name)
            continue
        count += await ledger.submit(connection_rows.reseal(each, sealed))
    return {"resealed": count, "closed": closed}


def _everything(connection: Connection) -> list[SealedConnection]:
    projects = [str(row[0]) for row in connection.run(EVERY, ())]
    return [each for project in projects for each in connection_rows.listing(connection, project)]
