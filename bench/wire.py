"""Bare clients of HTTP and WebSocket: they share two processors with what they measure, and so do little."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlsplit

from bench.api_driver import WrongAnswer

_TEXT, _CLOSE = 0x1, 0x8


class Wire:
    """One connection that stays open, and what each request over it shows."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: Mapping[str, str]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._shown = "".join(f"{name}: {value}\r\n" for name, value in headers.items())

    @classmethod
    async def connect(cls, url: str, **headers: str) -> Self:
        """Connect to a server; `headers` go with every request."""
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=2**20)
        return cls(reader, writer, {"Host": parts.netloc, **headers})

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
        """Send a request and return the body of its answer. Raises `WrongAnswer` with a refusal."""
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{self._shown}{more}{length}\r\n".encode() + body)
        status, lines = await self._head()
        answer = await self._reader.readexactly(int(lines.get("content-length", "0")))
        if not status.startswith("HTTP/1.1 2"):
            message = f"{status}: {answer.decode()}"
            raise WrongAnswer(message)
        return answer

    async def upgrade(self, path: str) -> None:
        """Become a WebSocket (RFC 6455)."""
        key = base64.b64encode(os.urandom(16)).decode()
        asked = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        self._writer.write(f"GET {path} HTTP/1.1\r\n{self._shown}{asked}\r\n".encode())
        status, _ = await self._head()
        if " 101 " not in status:
            raise WrongAnswer(status)

    def say(self, frame: Mapping[str, Any]) -> None:
        """Send a frame of up to 125 bytes. Its mask is nothing: only who reads it is protected by one."""
        content = json.dumps(frame).encode()
        self._writer.write(bytes((0x80 | _TEXT, 0x80 | len(content), 0, 0, 0, 0)) + content)

    async def hear(self) -> bytes:
        """Return the content of the next frame. Raises `WrongAnswer` when the server hangs up."""
        first, second = await self._reader.readexactly(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
        content = await self._reader.readexactly(size)
        if first & 0xF == _CLOSE:
            message = f"closed: {content[2:].decode()}"
            raise WrongAnswer(message)
        return content

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def _head(self) -> tuple[str, dict[str, str]]:
        status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        return status, {name.casefold(): value for name, _, value in (each.partition(": ") for each in lines)}
