"""The body of an answer under watch: bounded in bytes and in expansion while it streams. Pure: pieces in,
pieces out.

We decompress ourselves, since the bounds have to be looked at between two pieces of output: a few kilobytes
of transfer may hold gigabytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from celeriac import Fail
from engine.outside.addresses import Limits

CODINGS = ("gzip", "deflate")
"""What we ask for; an answer in another coding is refused."""

_PIECE = 64 * 1024
_FREE = 1024 * 1024
"""Output that may come from any transfer: short, repetitive JSON shrinks more than the bound on expansion
allows.
"""


class BrokenBody(Exception):
    """The compressed data is damaged, or ends before its end."""


class Body:
    """Feeds on the transfer and yields the content. Raises `Fail` past a bound and `BrokenBody` for damaged
    data.
    """

    def __init__(self, host: str, limits: Limits, coding: str | None = None) -> None:
        self._host = host
        self._limits = limits
        self._inflater = None if coding is None else _Inflater(gzip=coding == "gzip")
        self._transfer = 0
        self._content = 0

    @property
    def unpacks(self) -> bool:
        """Whether the content differs from the transfer."""
        return self._inflater is not None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the content that `data` brings."""
        self._transfer += len(data)
        self._bound(self._transfer)
        if self._inflater is None:
            yield data
            return
        try:
            for piece in self._inflater.feed(data):
                self._content += len(piece)
                self._bound(self._content)
                if self._content > max(_FREE, self._limits.expansion * self._transfer):
                    raise Fail(
                        "egress.expansion",
                        f"The answer of {self._host} unpacks to more than {self._limits.expansion} times its "
                        "transfer. Ask for less, or for plain content (Accept-Encoding: identity).",
                    )
                yield piece
        except zlib.error as error:
            raise BrokenBody(f"The answer's compressed body is damaged: {error}") from error

    def finish(self) -> None:
        """Say that the transfer is over. Raises `BrokenBody` when the compressed data was cut off."""
        if self._inflater is not None and not self._inflater.complete:
            raise BrokenBody("The answer's compressed body is cut off.")

    def _bound(self, size: int) -> None:
        if size > self._limits.body_bytes:
            raise too_large(self._host, self._limits)


def too_large(host: str, limits: Limits) -> Fail:
    """Return the refusal of a body over the limit, also for a server that announces one."""
    return Fail(
        "egress.body_too_large",
        f"The answer of {host} is larger than {limits.body_bytes} bytes. Ask for less, or page by page.",
    )


class _Inflater:
    """Decompresses gzip (of several members too) and deflate (with and without the zlib header) in small
    pieces.
    """

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._head = b""
        self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16) if gzip else None
        self._fed = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._fed = self._fed or bool(data)
        if self._stream is None:
            data = self._head = self._head + data
            if len(data) < 2:
                return
            wrapped = data[0] & 0x0F == 8 and int.from_bytes(data[:2]) % 31 == 0
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
        while data:
            if self._stream.eof:
                if not (self._gzip and data[0] == 0x1F):
                    return  # padding after the end
                self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
            while piece := self._stream.decompress(data, _PIECE):
                yield piece
                data = self._stream.unconsumed_tail
            data = self._stream.unused_data

    @property
    def complete(self) -> bool:
        return not self._fed or (self._stream is not None and self._stream.eof)
