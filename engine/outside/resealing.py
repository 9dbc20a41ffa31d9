"""Exchanging the key that secrets are sealed with: each text by itself, so that it may be broken off and repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from celeriac import Json
from engine.hooks.courier import place_of as place_of_hook
from engine.ledger import LedgerThread
from engine.outside.connections import place_of_connection
from engine.outside.sealing import (
    Place,
    SealBroken,
    SealedWithOtherKey,
    SealingKeys,
    rewrapped,
    sealed_under,
)
from engine.reader import Reader
from engine.store.database import Connection
from engine.triggers.endpoints import place_of as place_of_endpoint


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A sealed text, and the statement that exchanges it, if nobody else has since."""

    name: str
    id: str
    place: Place
    text: bytes
    exchange: str


async def reseal(
    reader: Reader, ledger: LedgerThread, keys: SealingKeys, random_bytes: Callable[[int], bytes]
) -> dict[str, Json]:
    """Wrap every data key under the current key. Return how many were `resealed`, and the names of those that stay `closed`."""
    count = 0
    closed: list[Json] = []
    for each in await reader.read(lambda connection: list(_everything(connection))):
        if sealed_under(each.text, keys.current):
            continue
        try:
            text = rewrapped(each.text, each.place, keys, random_bytes)
        except (SealBroken, SealedWithOtherKey):
            closed.append(each.name)
            continue
        count += await ledger.submit(_exchange(each, text))
    return {"resealed": count, "closed": closed}


def _exchange(sealed: _Sealed, text: bytes) -> Callable[[Connection], int]:
    def change(connection: Connection) -> int:
        return len(connection.run(sealed.exchange, (text, sealed.id, sealed.text)))

    return change


def _everything(connection: Connection) -> Iterator[_Sealed]:
    exchange = "UPDATE connection SET sealed = ? WHERE id = ? AND sealed = ? RETURNING id"
    for id_, project, name, text in connection.run("SELECT id, project_id, name, sealed FROM connection", ()):
        yield _Sealed(name, id_, place_of_connection(project, id_), bytes(text), exchange)
    for id_, project, secret, old in connection.run(
        "SELECT id, project_id, secret, old_secret FROM hook", ()
    ):
        exchange = "UPDATE hook SET secret = ? WHERE id = ? AND secret = ? RETURNING id"
        yield _Sealed(id_, id_, place_of_hook(project, id_), bytes(secret), exchange)
        if old is not None:
            exchange = "UPDATE hook SET old_secret = ? WHERE id = ? AND old_secret = ? RETURNING id"
            yield _Sealed(id_, id_, place_of_hook(project, id_), bytes(old), exchange)
    exchange = "UPDATE endpoint SET sealed = ? WHERE id = ? AND sealed = ? RETURNING id"
    for id_, project, sealed in connection.run(
        "SELECT id, project_id, sealed FROM endpoint WHERE sealed IS NOT NULL", ()
    ):
        yield _Sealed(id_, id_, place_of_endpoint(project, id_), bytes(sealed), exchange)
