"""Repair and time, in every process and any number of times: what is due, overdue, lost, or past its deadline.

It is the guarantee behind every hint. Each finding is asked of the pen under a guard, so that of many pollers one wins and
the others find nothing. `tick` does one round and is all there is to simulate; `PollerThread` is the rim.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from engine import identity
from engine import operations as op
from engine.broker import DOWN
from engine.clock import Clock
from engine.dispatch import COALESCED, Room
from engine.errors import CeleriacError
from engine.settings import Settings
from engine.snapshots import Reference
from engine.store.database import Connection
from engine.store.sql import Batched, Row, columns

log = logging.getLogger(__name__)

_QUEUES = "SELECT DISTINCT queue FROM segment WHERE status IN ('ready', 'running', 'waiting', 'backing_off')"
_OVERDUE = Batched(
    "SELECT s.execution_id, s.segment, s.item, s.due, s.queue FROM {rows} JOIN segment s ON s.queue = r.queue "
    "WHERE s.status = 'ready' AND s.due <= r.now ORDER BY s.due LIMIT 2048",
    columns("queue now", now="bigint"),
)
_RESTING = ("waiting", "backing_off")
_TIMERS = tuple(
    "SELECT s.execution_id, s.segment, s.item FROM segment s JOIN execution e ON e.id = s.execution_id "
    f"WHERE s.queue = ? AND s.status = '{status}' AND s.due <= ? AND e.pause_at IS NULL ORDER BY s.due LIMIT 500"
    for status in _RESTING
)
"""States stand in the text: only then can either database see that its partial index holds every row in question."""
_LATE = (
    "SELECT s.execution_id, s.segment, s.item, s.epoch FROM segment s "
    "WHERE s.queue = ? AND s.status = 'running' AND s.due <= ? ORDER BY s.due LIMIT 500"
)
_OWNERS = (
    "SELECT s.owner, s.execution_id, s.segment, s.item, s.epoch FROM segment s "
    "WHERE s.queue = ? AND s.status = 'running' AND s.due IS NOT NULL"
)
_DEADLINES = "SELECT e.id FROM execution e WHERE e.deadline <= ? AND e.finished_at IS NULL AND e.cancel_at IS NULL LIMIT 500"
_NEXT = tuple(f"SELECT min(due) FROM segment WHERE queue = ? AND status = '{status}'" for status in _RESTING)


class Asks(Protocol):
    """The ledger, from a thread."""

    def ask_all(self, work: Sequence[Any]) -> list[Any]:
        """Hand in work and wait for the answers."""


class Gauge(Protocol):
    """The broker, as far as the poller looks at it."""

    def lengths(self, queues: Sequence[str]) -> dict[str, int]:
        """Return how many messages wait."""

    def emptied(self) -> bool:
        """Whether what it held is gone."""

    def close(self) -> None:
        """Forget the connection."""


class Poller:
    """One process's poller."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        ledger: Asks,
        read: Callable[[Callable[[Connection], Any]], Any],
        gauge: Gauge,
        room: Room,
        send: Callable[[Iterable[tuple[str, Reference]]], None],
        queues: Sequence[str] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._ledger = ledger
        self._read = read
        self._gauge = gauge
        self._room = room
        self._send = send
        self._given = queues
        self._queues: list[str] = list(queues or settings.queues)
        self._queues_at = -1.0
        self._owners_at = -1.0

    def tick(self) -> float:
        """Do one round; return the seconds after which the next is worth while."""
        now = self._clock.now()
        self._learn_queues()
        flushed = self._flushed()
        pause = self._settings.timing.poll / 1000
        for queue in self._queues:
            self._take_from_the_late(queue, now)
            self._wake(queue, now)
        self._take_from_the_dead(now)
        self._end_overdue(now)
        if self._feed(now, flushed=flushed):
            pause = min(pause, 0.01)
        soonest = self._soonest()
        if soonest is not None:
            pause = min(pause, max(0.001, (soonest - self._clock.now()) / 1000))
        return pause

    def _learn_queues(self) -> None:
        if self._given is None and self._clock.monotonic() - self._queues_at > 5:
            self._queues_at = self._clock.monotonic()
            found = {row[0] for row in self._read(lambda connection: connection.run(_QUEUES))}
            self._queues = sorted(found | set(self._settings.queues))

    def _flushed(self) -> bool:
        try:
            return self._gauge.emptied()
        except DOWN as error:
            log.debug("The broker cannot be asked: %s", str(error))
            self._gauge.close()
            return False

    def _feed(self, now: int, *, flushed: bool) -> bool:
        """Send ready segments that were never sent or not taken up in time, as far as their queues have room.

        Returns whether some had to stay. After a flush everything is sent again. A message that was sent and is neither
        waiting nor taken up has been lost with whoever took it, which the segment remembers: it may be its fault.
        """
        horizon = now + 365 * 86_400_000 if flushed else now
        query = [(queue, horizon) for queue in self._queues]
        rows = self._read(lambda connection: connection.batch(_OVERDUE, query))
        if not rows:
            return False
        try:
            lengths = self._gauge.lengths(sorted({row[4] for row in rows}))
        except DOWN as error:
            log.debug("The broker cannot be asked: %s", str(error))
            self._gauge.close()
            return False
        left = {queue: self._room.learn(queue, length) for queue, length in lengths.items()}
        lost = {queue for queue, length in lengths.items() if length == 0 and not flushed}
        marks: dict[tuple[str, bool], list[tuple[int, str, int]]] = defaultdict(list)
        held_back = len(rows) >= 64 * COALESCED
        for execution, segment, item, due, queue in rows:
            if left[queue] > 0:
                left[queue] -= 1
                self._room.take(queue)
                marks[execution, queue in lost].append((segment, item, due))
            else:
                held_back = True
        due = now + self._settings.timing.grace
        self._forward([op.Resend(name, tuple(each), due, lost=gone) for (name, gone), each in marks.items()])
        return held_back

    def _wake(self, queue: str, now: int) -> None:
        for query in _TIMERS:
            addresses: dict[str, list[tuple[int, str]]] = defaultdict(list)
            for execution, segment, item in self._rows(query, queue, now):
                addresses[execution].append((segment, item))
            self._forward([op.Wake(execution, tuple(each), now) for execution, each in addresses.items()])

    def _take_from_the_late(self, queue: str, now: int) -> None:
        self._lose(self._rows(_LATE, queue, now), now, "The worker did not renew its claim in time.")

    def _take_from_the_dead(self, now: int) -> None:
        """Look for owners on this host that are not there any more: no need to wait for their leases."""
        if self._clock.monotonic() - self._owners_at < 0.5:
            return
        self._owners_at = self._clock.monotonic()
        rows = [row for queue in self._queues for row in self._rows(_OWNERS, queue)]
        dead = {name for name in {row[0] for row in rows} if name and identity.is_dead(name)}
        self._lose([row[1:] for row in rows if row[0] in dead], now, "The worker's process died.")

    def _lose(self, rows: Iterable[Row], now: int, reason: str) -> None:
        claims: dict[str, list[tuple[int, str, int]]] = defaultdict(list)
        for execution, segment, item, epoch in rows:
            claims[execution].append((segment, item, epoch))
        limit = self._settings.limits.deliveries
        self._forward(
            [op.Lose(execution, tuple(each), now, reason, limit) for execution, each in claims.items()]
        )

    def _end_overdue(self, now: int) -> None:
        self._ledger.ask_all(
            [op.Cancel(execution, now, timed_out=True) for (execution,) in self._rows(_DEADLINES, now)]
        )

    def _forward(self, asked: Sequence[op.Resend | op.Wake | op.Lose]) -> None:
        """Ask the pen, and send what it made ready."""
        for each, ready in zip(asked, self._ledger.ask_all(asked), strict=True):
            self._send((queue, (each.execution, segment, item)) for segment, item, queue in ready)

    def _soonest(self) -> int | None:
        """Return when the next timer of a known queue is due."""
        times = [row[0] for queue in self._queues for query in _NEXT for row in self._rows(query, queue)]
        return min((each for each in times if each is not None), default=None)

    def _rows(self, sql: str, *parameters: object) -> list[Row]:
        found: list[Row] = self._read(lambda connection: connection.run(sql, parameters))
        return found


class PollerThread:
    """Ticks until it is ended."""

    def __init__(self, poller: Poller, canary_seconds: float) -> None:
        self._poller = poller
        self._canary = canary_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the round that is being done."""
        self._ended.set()
        self._thread.join(timeout=15)

    def _run(self) -> None:
        pause = 0.0
        while not self._ended.wait(min(pause, self._canary)):
            try:
                pause = self._poller.tick()
            except CeleriacError as error:
                log.warning("A round of the poller failed: %s", str(error))
                pause = 1.0
            except Exception:
                log.exception("A round of the poller failed.")
                pause = 1.0
