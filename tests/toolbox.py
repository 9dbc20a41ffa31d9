"""A real server of tools, by the protocol's own SDK, in a thread of its own on loopback."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

TOKEN = "s3cr3t-0f-the-t00ls"  # gitleaks: it opens nothing


class Toolbox:
    """The server: `add` adds, `file` writes down, `fail` fails. It wants its token."""

    def __init__(self, *, plain: bool = False) -> None:
        import uvicorn
        from mcp.server.mcpserver import MCPServer

        self.filed: list[str] = []
        made: Any = MCPServer("toolbox")

        def add(a: int, b: int) -> int:
            """Add two numbers."""
            return a + b

        def file(text: str) -> str:
            """File a text."""
            self.filed.append(text)
            return f"Filed as number {len(self.filed)}."

        def search(query: str) -> list[str]:
            """Search what has been filed."""
            return [each for each in self.filed if query in each]

        def fail() -> str:
            """Fail."""
            message = "There is no paper."
            raise ValueError(message)

        for each in (add, file, search, fail):
            made.add_tool(each)
        app = _guarded(made.streamable_http_app(json_response=plain))
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/mcp"
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on", ws="none"))
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="toolbox", daemon=True
        )
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)

    def close(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(10)
        self._socket.close()


def _guarded(app: Any) -> ASGIApp:
    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] == "http"
            and dict(scope["headers"]).get(b"authorization") != f"Bearer {TOKEN}".encode()
        ):
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await app(scope, receive, send)

    return guarded


@contextmanager
def toolbox(*, plain: bool = False) -> Iterator[Toolbox]:
    """A server for the block; a `plain` one answers with JSON, another with a stream."""
    made = Toolbox(plain=plain)
    try:
        yield made
    finally:
        made.close()
