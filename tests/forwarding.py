"""A TCP port on loopback that leads to another server, and can be cut while something is under way."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Forwarding:
    """The port. With `cut_at` the connection breaks when these bytes are on their way to the server, before or after.

    `changes` are bytes on their way back and what comes in their place, `changed` times so far. `seen` went to the server.
    """

    port: int = 0
    cut_at: bytes | None = None
    after: bool = False
    mute: bool = False
    changes: dict[bytes, bytes] = field(default_factory=dict)
    changed: int = 0
    seen: bytearray = field(default_factory=bytearray)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut(self) -> None:
        """Break every connection."""
        for each in self.writers:
            each.transport.abort()


@contextlib.asynccontextmanager
async def forwarding(host: str, port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Forwarding]:
    """A port for the block; a host that is a path is a Unix socket. With `tls` it is encrypted up to here."""
    made = Forwarding()
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, out: bool) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(65536):
                if made.mute:
                    continue
                hit = out and made.cut_at is not None and made.cut_at in data
                if out:
                    made.seen += data
                if hit and not made.after:
                    made.cut()
                    return
                for old, new in () if out else made.changes.items():
                    made.changed += data.count(old)
                    data = data.replace(old, new)
                made.mute = hit  # the server has it, and what it says comes to nobody
                writer.write(data)
                await writer.drain()
                if hit:
                    asyncio.get_running_loop().call_later(0.05, made.cut)
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.writers.add(writer)
        opening = (
            asyncio.open_unix_connection(host)
            if host.startswith("/")
            else asyncio.open_connection(host, port)
        )
        there, back = await opening
        made.writers.add(back)
        both = (pump(reader, back, out=True), pump(there, writer, out=False))
        await asyncio.gather(*both, return_exceptions=True)

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(connected(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await server.wait_closed()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        made.cut()
        await asyncio.sleep(0)  # a cut connection is closed in the next turn
