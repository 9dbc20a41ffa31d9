"""The protocol of Redis and Valkey (RESP 2), as far as one command at a time needs it.

https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

DEEPEST = 8
MOST_BYTES = 50_000_000
"""What one answer may have."""


class Refused(Exception):
    """The server answered with an error. Its first word is the protocol's name for what it is."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.word = text.partition(" ")[0]


class Broken(Exception):
    """The connection ended, or what came is not the protocol."""


Reply = None | int | bytes | str | list["Reply"]
"""A status is text, a value is bytes."""


def encoded(command: Sequence[str | int | float]) -> bytes:
    """Return a command on the wire: each part with its length in front, so that nothing in it can end it."""
    parts = [each if isinstance(each, str) else repr(each) for each in command]
    data = [each.encode("utf-8", "surrogatepass") for each in parts]
    return b"".join([b"*%d\r\n" % len(data), *(b"$%d\r\n%b\r\n" % (len(each), each) for each in data)])


class Conversation:
    """Commands and replies in turn, each within a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
        self._reader = reader
        self._writer = writer
        self._seconds = seconds

    async def ask(self, *command: str | float) -> Reply:
        """Return the reply to a command. Raises `Refused`, or `Broken` when there is none."""
        try:
            async with asyncio.timeout(self._seconds):
                self._writer.write(encoded(command))
                await self._writer.drain()
                left = [MOST_BYTES]
                return await self._read(left, 0)
        except TimeoutError as error:
            raise Broken(f"There was no answer within {self._seconds:g} s.") from error
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise Broken(f"The conversation broke: {str(error) or type(error).__name__}.") from error

    def close(self) -> None:
        """Hang up."""
        self._writer.transport.abort()

    async def _read(self, left: list[int], depth: int) -> Reply:
        line = (await self._reader.readuntil(b"\r\n"))[:-2]
        kind, text = line[:1], line[1:]
        if kind == b"+":
            return text.decode("utf-8", "replace")
        if kind == b"-":
            raise Refused(text.decode("utf-8", "replace"))
        if kind == b":":
            return int(text)
        if kind not in (b"$", b"*") or depth > DEEPEST:
            raise ValueError("it is not the protocol")
        size = int(text)
        if size < 0:
            return None
        left[0] -= size + 1
        if left[0] < 0:
            raise ValueError(f"the answer is larger than {MOST_BYTES:,} bytes")
        if kind == b"$":
            return (await self._reader.readexactly(size + 2))[:-2]
        return [await self._read(left, depth + 1) for _ in range(size)]
