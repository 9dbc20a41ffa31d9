"""The time of a process of a simulated world: the engine's own clock, over a machine and a database that are held in hand."""

from __future__ import annotations

from engine.clock import SystemClock
from engine.ids import encode
from engine.store.database import Connection
from tests.workbench import HandClock


class ProcessClock(SystemClock):
    """What one process takes for the time: the database's at its last look, and what has passed since."""

    def __init__(self, hand: HandClock) -> None:
        self._hand = hand
        super().__init__(hand.now())

    def monotonic(self) -> float:
        return self._hand.monotonic()

    def entropy(self, count: int) -> bytes:
        return self._hand.entropy(count)

    def mint(self, prefix: str) -> str:
        return encode(prefix, self.now(), self.entropy(10))

    def _counted(self) -> int:
        return self._hand.passed * 1_000_000


class Telling:
    """A conversation with a database whose clock is held in hand too."""

    def __init__(self, connection: Connection, hand: HandClock) -> None:
        self.dialect = connection.dialect
        self.run, self.batch, self.insert = connection.run, connection.batch, connection.insert
        self.begin, self.commit, self.rollback = connection.begin, connection.commit, connection.rollback
        self.close = connection.close
        self.now = hand.now
