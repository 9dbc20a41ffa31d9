"""What the routes share: the engine's parts in this process, who may, and the means to wait for an execution."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

from api.hub import Hub
from api.limiter import Limiter
from api.replies import Replies
from engine.access.directory import Directory
from engine.access.passwords import Passwords
from engine.catalog import Versions
from engine.runtime import Runtime
from engine.settings import Settings
from engine.signed import Signer
from engine.watch import Watcher

if TYPE_CHECKING:
    from engine.callbacks import Callbacks
    from engine.outside.sealing import SealingKeys
    from engine.outside.surroundings import Outside


REFUSALS = 60
"""Refusals a minute of one principal, or from one address, that the audit tells of."""


@dataclass(slots=True)
class State:
    """One API process. `replies` is None in a process that asks and goes. `token` is the keeper's."""

    settings: Settings
    runtime: Runtime
    watcher: Watcher
    replies: Replies | None
    hub: Hub
    token: bytes = field(repr=False)
    directory: Directory
    principals: Limiter
    strangers: Limiter
    logins: Limiter
    refusals: Limiter = field(default_factory=lambda: Limiter(REFUSALS))
    passwords: Passwords = field(default_factory=Passwords)
    versions: Versions = field(default_factory=Versions)
    sockets: int = 0
    """WebSocket connections that are open."""
    stopping: bool = False
    _keys: dict[str, bytes] = field(default_factory=dict, repr=False)
    _sealing: SealingKeys | None = field(default=None, repr=False)
    _outside: Outside | None = field(default=None, repr=False)
    _callbacks: Callbacks | None = field(default=None, repr=False)
    _links: Signer | None = field(default=None, repr=False)

    @property
    def reply_to(self) -> str | None:
        """Where the end of an execution is to be told that someone here waits for."""
        return None if self.replies is None else self.replies.name

    @property
    def sealing(self) -> SealingKeys:
        """The keys that connections are sealed with. Raises `Misconfigured` when there is none or it is unusable."""
        if self._sealing is None:
            from engine.outside.sealing import SealingKeys

            self._sealing = SealingKeys.of(*self._secrets())
        return self._sealing

    @property
    def outside(self) -> Outside:
        """The way out, for tests of connections. Raises `Misconfigured` as `sealing` does."""
        if self._outside is None:
            from engine.outside.surroundings import Outside

            at = self.runtime
            self._outside = Outside(
                self.settings, at.reader, at.ledger, at.clock, at.registry.connections, self.sealing
            )
        return self._outside

    async def end(self) -> None:
        """Close what was opened to the outside."""
        if self._outside is not None:
            await self._outside.end()

    @property
    def callbacks(self) -> Callbacks:
        """What reads addresses that were given away. Raises `Misconfigured` as `sealing` does."""
        if self._callbacks is None:
            from engine.callbacks import Callbacks

            self._callbacks = Callbacks.of(self._secrets(), self.settings)
        return self._callbacks

    @property
    def links(self) -> Signer:
        """What makes and reads links to approvals. Raises `Misconfigured` as `sealing` does."""
        if self._links is None:
            from engine.outside.secret_key import derive

            key, *previous = (derive(each, "approval links") for each in self._secrets())
            self._links = Signer(key, previous)
        return self._links

    def may_note(self, whose: str) -> bool:
        """Whether one more refusal of a principal, or from an address, goes into the audit: nobody fills the disk with them."""
        standing = self.refusals.take(whose)
        return standing is None or not standing.wait

    @property
    def secure(self) -> bool:
        """Whether browsers reach the API over TLS."""
        return self.settings.public_base.startswith("https://")

    def key(self, purpose: str) -> bytes:
        """Return the key of one purpose, which follows from the secret key. Raises `Misconfigured` as `sealing` does."""
        found = self._keys.get(purpose)
        if found is None:
            from engine.outside.secret_key import derive

            found = self._keys[purpose] = derive(self._secrets()[0], purpose)
        return found

    def _secrets(self) -> tuple[bytes, ...]:
        from engine.outside import secret_key

        settings = self.settings
        return secret_key.load(
            settings.secret_key, settings.data, make=settings.sqlite, random_bytes=os.urandom
        )


def of(request: HTTPConnection) -> State:
    """Return the state of the application that serves a request."""
    state: State = request.app.state.celeriac
    return state
