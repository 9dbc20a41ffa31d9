"""The way out of a process: its guarded HTTP client, and the connections of its projects, opened for one call each."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from celeriac import Fail, Json, Link, Token, TryAgain, Uncertain
from engine.clock import Clock
from engine.failure import error_of
from engine.ledger import LedgerThread
from engine.outside import connection_rows
from engine.outside.addresses import Policy
from engine.outside.connections import (
    Kinds,
    Opened,
    SealedConnection,
    open_connection,
    unknown,
    with_values,
    wrong_kind,
)
from engine.outside.credentials import Credential
from engine.outside.egress import Egress, OpenLink
from engine.outside.scrub import scrub
from engine.outside.sealing import SealingKeys
from engine.outside.server_programs import Programs
from engine.reader import Reader
from engine.settings import Settings
from engine.store.database import Connection

if TYPE_CHECKING:
    import httpx2

USE_NOTED_EVERY = 60_000
"""Milliseconds in which a process notes the use of a connection once."""

_EARLY = 60.0
"""Seconds before its end in which a token is not used any more."""

_AT_MOST = 3600.0
"""Seconds for which a token is used that does not say how long it lives."""


LOCAL: Final = "local"
"""The connection to the models of this machine, which nobody has to store."""


class Models(Protocol):
    """The models of this machine."""

    def link(self) -> Link:
        """Return an opened connection to them."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A token that the service has given, and until when it is used (monotonic seconds)."""

    token: Token
    until: float


class Outside:
    """What nodes of this process reach the world through."""

    def __init__(
        self,
        settings: Settings,
        reader: Reader,
        ledger: LedgerThread,
        clock: Clock,
        kinds: Kinds,
        keys: SealingKeys,
        models: Models | None = None,
    ) -> None:
        self._models = models
        self._egress = Egress(
            Policy.parse(settings.egress_allow),
            files=settings.files,
            programs=Programs.parse(settings.mcp_programs),
        )
        self._reader = reader
        self._ledger = ledger
        self._clock = clock
        self._kinds = kinds
        self._keys = keys
        self._tokens: dict[bytes, _Kept] = {}
        self._noted: dict[str, int] = {}
        self._logging_in: dict[str, asyncio.Lock] = {}

    def client(self) -> httpx2.AsyncClient:
        """Return a guarded client with no credential, and with cookies of its own: a call leaves nothing to the next."""
        return self._egress.client()

    async def connect(
        self, project: str, name: str, kinds: tuple[str, ...] = ()
    ) -> tuple[Link, Collection[str]]:
        """Open a connection for one call; return it and the texts that must not appear in what the call gives back."""
        if name == LOCAL and self._models is not None:
            return self._models.link(), ()
        sealed = await self._find(project, name, kinds)
        if kinds and sealed.kind not in kinds:
            raise wrong_kind(name, sealed.kind, kinds)
        now = self._clock.now()
        if now - self._noted.get(sealed.id, 0) >= USE_NOTED_EVERY:
            self._noted[sealed.id] = now
            await self._ledger.submit(connection_rows.used(sealed.id, now))
        link = await self._open(sealed)
        return link, link.secrets

    async def test(self, project: str, name: str) -> dict[str, Json]:
        """Test a connection and note what came of it. Return `{ok, message, code?, ms}`."""
        sealed = await self._find(project, name)
        began = self._clock.now()
        secrets: Collection[str] = ()
        failure: dict[str, Json] | None = None
        message = ""
        try:
            link = await self._open(sealed)
            secrets = link.secrets
            message = await self._kinds[sealed.kind].test(link.fields, link)
        except (Fail, TryAgain, Uncertain) as error:
            failure = {"code": error.code, "message": error.message}
        except Exception as error:  # noqa: BLE001  whatever a connection type does not foresee is its test's failure
            known = error_of(error)
            failure = {"code": known.code, "message": known.message}
        failure = scrub(failure, secrets)  # type: ignore[assignment]  # an object stays one
        now = self._clock.now()
        await self._ledger.submit(connection_rows.tested(sealed.id, failure, now))
        found: dict[str, Json] = {"ok": failure is None, "ms": now - began}
        return {**found, **(failure or {"message": scrub(message, secrets)})}

    async def end(self) -> None:
        """Close every network connection."""
        await self._egress.aclose()

    async def _find(self, project: str, name: str, kinds: Sequence[str] = ()) -> SealedConnection:
        def look(connection: Connection) -> SealedConnection:
            found = connection_rows.find(connection, name, project)
            if found is None:
                known = (each.name for each in connection_rows.listing(connection, project))
                raise unknown(name, known, kinds)
            return found

        return await self._reader.read(look)

    async def _open(self, sealed: SealedConnection) -> OpenLink:
        opened = open_connection(sealed, self._kinds, self._keys)
        credential = opened.credential()
        if opened.type.log_in is not None:
            credential = await self._logged_in(sealed, opened)
        return self._egress.link(credential, sealed.kind, opened.fields)

    async def _logged_in(self, sealed: SealedConnection, opened: Opened) -> Credential:
        """Return the credential that the service has given, or gives now. Who comes meanwhile waits for the same one."""
        async with self._logging_in.setdefault(sealed.id, asyncio.Lock()):
            kept = self._tokens.get(sealed.sealed)
            if kept is None or kept.until <= self._clock.monotonic():
                kept, sealed = await self._log_in_with_latest(sealed, opened)

        async def renew() -> Credential:
            if self._tokens.get(sealed.sealed) is kept:  # and nobody else has had it renewed
                del self._tokens[sealed.sealed]
            latest = await self._find(sealed.project_id, sealed.name)
            return await self._logged_in(latest, open_connection(latest, self._kinds, self._keys))

        return replace(opened.credential(kept.token.carried), renew=renew)

    async def _log_in_with_latest(
        self, sealed: SealedConnection, opened: Opened
    ) -> tuple[_Kept, SealedConnection]:
        """Log in. If that is refused, and another process has exchanged what may be used once, log in with what it stored."""
        try:
            return await self._log_in(sealed, opened)
        except Fail:
            latest = await self._find(sealed.project_id, sealed.name)
            if latest.sealed == sealed.sealed:
                raise
            return await self._log_in(latest, open_connection(latest, self._kinds, self._keys))

    async def _log_in(self, sealed: SealedConnection, opened: Opened) -> tuple[_Kept, SealedConnection]:
        assert opened.type.log_in is not None  # noqa: S101  asked of such types only
        credential = opened.credential()
        try:
            token = await opened.type.log_in(opened.fields, self._egress.client())
        except (Fail, TryAgain) as error:
            error.message = str(scrub(error.message, credential.secrets))
            raise
        lives = _AT_MOST if token.seconds is None else token.seconds
        kept = _Kept(token, self._clock.monotonic() + max(0.0, lives - _EARLY))
        if token.changed:
            sealed = await self._keep(sealed, token.changed)
        self._tokens = {
            key: each for key, each in self._tokens.items() if each.until > self._clock.monotonic()
        }
        self._tokens[sealed.sealed] = kept
        return kept, sealed

    async def _keep(self, sealed: SealedConnection, changed: Mapping[str, str]) -> SealedConnection:
        """Store what the service has exchanged, unless somebody has stored something else since."""
        renewed = with_values(sealed, changed, self._keys, os.urandom)
        await self._ledger.submit(connection_rows.reseal(sealed, renewed.sealed))
        return renewed
