"""What the routes share: the engine's parts in this process, and the means to wait for an execution."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastapi import Request

from api.hub import Hub
from api.replies import Replies
from engine.catalog import Versions
from engine.runtime import Runtime
from engine.settings import Settings
from engine.watch import Watcher

if TYPE_CHECKING:
    from engine.callbacks import Callbacks
    from engine.outside.sealing import SealingKey


@dataclass(slots=True)
class State:
    """One API process. `replies` is None in a process that asks and goes."""

    settings: Settings
    runtime: Runtime
    watcher: Watcher
    replies: Replies | None
    hub: Hub
    versions: Versions = field(default_factory=Versions)
    sockets: int = 0
    """WebSocket connections that are open."""
    stopping: bool = False
    _sealing: SealingKey | None = field(default=None, repr=False)
    _callbacks: Callbacks | None = field(default=None, repr=False)

    @property
    def reply_to(self) -> str | None:
        """Where the end of an execution is to be told that someone here waits for."""
        return None if self.replies is None else self.replies.name

    @property
    def sealing(self) -> SealingKey:
        """The key that connections are sealed with. Raises `Misconfigured` when there is none or it is unusable."""
        if self._sealing is None:
            from engine.outside.sealing import SealingKey

            self._sealing = SealingKey.of(self._secret())
        return self._sealing

    @property
    def callbacks(self) -> Callbacks:
        """What reads addresses that were given away. Raises `Misconfigured` as `sealing` does."""
        if self._callbacks is None:
            from engine.callbacks import Callbacks

            self._callbacks = Callbacks.of(self._secret(), self.settings)
        return self._callbacks

    def _secret(self) -> bytes:
        from engine.outside import secret_key

        settings = self.settings
        return secret_key.load(
            settings.secret_key, settings.data, make=settings.sqlite, random_bytes=os.urandom
        )


def of(request: Request) -> State:
    """Return the state of the application that serves a request."""
    state: State = request.app.state.celeriac
    return state
