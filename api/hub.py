"""The hub: one reader of the feed in this process, for all who follow events live.

A follower first catches up from where it says it is, by reading for itself, and then gets what the hub reads. Nobody is
waited for: a follower that does not take what is there for it is cut off, and comes back with the last place it saw. Of
pieces, which nobody has to see, it gets the latest.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from engine import feed
from engine.errors import Unavailable
from engine.feed import Entry, Place
from engine.reader import Reader
from engine.speech import Piece

log = logging.getLogger(__name__)

_SHORTEST, _LONGEST = 0.01, 0.2
"""Seconds between two looks, while much happens and while nothing does."""
_ROWS = 500


class About(Protocol):
    """What events and pieces say of whose they are."""

    @property
    def project(self) -> str:
        """The project."""

    @property
    def workflow(self) -> str:
        """The workflow."""

    @property
    def execution(self) -> str:
        """The execution."""


Wanted = Callable[[About], bool]


class TooSlow(Exception):
    """The follower has left more untaken than is kept for it."""


@dataclass(eq=False)
class Follower:
    """Who follows, and what waits to be taken. `since` is the place from which on the hub tells everything.

    `said` are the latest pieces, for one that `hears` them at all.
    """

    wanted: Wanted
    since: Place
    keeps: int
    hears: bool
    said: deque[Piece]
    waiting: deque[Entry] = field(default_factory=deque)
    some: asyncio.Event = field(default_factory=asyncio.Event)
    count: int = 0
    cut: bool = False

    def offer(self, entry: Entry) -> None:
        """Put an entry before it, or cut it off."""
        if self.cut or not self.wanted(entry):
            return
        self.count += len(entry.events)
        if self.count > self.keeps:
            self.cut = True
            self.waiting.clear()
        else:
            self.waiting.append(entry)
        self.some.set()

    def say(self, piece: Piece) -> None:
        """Put a piece before it, in the place of an old one if it has to be."""
        self.said.append(piece)
        self.some.set()

    def heard(self) -> list[Piece]:
        """Take the pieces that wait."""
        found = list(self.said)
        self.said.clear()
        return found

    async def taken(self, patience: float | None) -> list[Entry]:
        """Take everything that waits, after at most `patience` seconds; then it may be nothing. Raises `TooSlow`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self.some.wait()
        self.some.clear()
        if self.cut:
            raise TooSlow
        found = list(self.waiting)
        self.waiting.clear()
        self.count = 0
        return found


class Hub:
    """The followers of one event loop. `keeps` is how many events wait for one of them at most, `pieces` how many pieces."""

    def __init__(self, reader: Reader, keeps: int, pieces: int = 0) -> None:
        self._reader = reader
        self._keeps = keeps
        self._pieces = pieces
        self._followers: dict[Follower, None] = {}
        self._place: Place | None = None
        self._reading: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._lock = asyncio.Lock()

    @property
    def followed(self) -> bool:
        """Whether anyone follows."""
        return bool(self._followers)

    def wants(self, about: About) -> bool:
        """Whether anyone hears pieces of this."""
        return any(each.hears and each.wanted(about) for each in self._followers)

    def say(self, piece: Piece) -> None:
        """Put a piece before all who hear it."""
        for each in self._followers:
            if each.hears and each.wanted(piece):
                each.say(piece)

    async def join(self, wanted: Wanted, *, hears: bool = False) -> Follower:
        """Begin to tell someone what happens from now on. Raises `Unavailable`."""
        async with self._lock:
            if self._place is None:
                self._place = await self._reader.read(feed.end)
            follower = Follower(wanted, self._place, self._keeps, hears, deque(maxlen=self._pieces))
            self._followers[follower] = None
            if self._reading is None:
                self._reading = asyncio.create_task(self._read(self._place))
                self._reading.add_done_callback(self._ended)
            return follower

    def leave(self, follower: Follower) -> None:
        """Tell someone no more; when nobody is left, stop reading."""
        self._followers.pop(follower, None)
        if not self._followers and self._reading is not None:
            self._reading.cancel()
            self._reading = self._place = None

    def wake(self) -> None:
        """Look at once: something is known to have happened."""
        self._hurry.set()

    async def missed(self, follower: Follower, after: Place) -> AsyncIterator[list[Entry]]:
        """Yield what lies between a place and what the hub tells, in parts. Raises `Unavailable`."""
        while after < follower.since:
            found = await self._reader.read(
                lambda connection, after=after: feed.read(connection, after, _ROWS)  # type: ignore[misc]
            )
            told = [each for each in found if each.end <= follower.since]
            if told:
                yield [each for each in told if follower.wanted(each)]
            if len(told) < _ROWS:
                return
            after = told[-1].end

    async def close(self) -> None:
        """Stop reading."""
        reading = self._reading
        self._followers.clear()
        if reading is not None:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading

    def _ended(self, reading: asyncio.Task[None]) -> None:
        """Let nobody wait for a reader that has failed."""
        if not reading.cancelled() and reading.exception() is not None:
            log.error("The feed can no longer be read.", exc_info=reading.exception())
            self._reading = self._place = None
            for each in self._followers:
                each.cut = True
                each.some.set()

    async def _read(self, place: Place) -> None:
        pause = _SHORTEST
        while True:
            try:
                found = await self._reader.read(
                    lambda connection, place=place: feed.read(connection, place, _ROWS)  # type: ignore[misc]
                )
            except Unavailable:
                found = []
            for entry in found:
                for follower in self._followers:
                    follower.offer(entry)
            if found:
                self._place = place = found[-1].end
            pause = _SHORTEST if found else min(pause * 1.5, _LONGEST)
            if len(found) < _ROWS:
                self._hurry.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._hurry.wait()
