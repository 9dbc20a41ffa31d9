"""uvicorn around the application: one process, one event loop, stopped by whoever runs it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from api.guard import Guard
from api.main import create_app
from engine.errors import Unavailable
from engine.settings import Settings

_GRACE = 2
_FRAME = 64 * 1024
"""The most bytes of a WebSocket's frame that are read."""


class Server(uvicorn.Server):
    """A server that leaves signals to its owner, and ends streams before it waits for connections to close."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        super().__init__(
            uvicorn.Config(
                guard,
                http="httptools",
                ws="websockets-sansio",
                ws_max_size=_FRAME,
                ws_per_message_deflate=False,  # 1,000 compressors would need 300 MB
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `should_exit` is set. Raises `Unavailable` when the application does not start; the log says why."""
        try:
            await super().serve(sockets)
        except SystemExit:
            message = "The API did not start."
            raise Unavailable(message, hint="The lines above say why.") from None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: streams first, then connections, then the engine's parts."""
        self._guard.begin_stopping()
        await super().shutdown(sockets)


def make(settings: Settings) -> Server:
    """Return a server for the settings; `serve` runs it until `should_exit` is set."""
    return Server(create_app(settings))
