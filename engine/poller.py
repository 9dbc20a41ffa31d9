"""Repair and time, in every process and any number of times: what is due, overdue, lost, or past its deadline.

It is the guarantee behind every hint. Each finding is asked of the pen under a guard, so that of many pollers one wins and
the others find nothing. `tick` does one round and is all there is to simulate; `PollerThread` is the rim.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from engine import admission, calls, cancels, identity
from engine import operations as op
from engine.broker import DOWN
from engine.catalog import Versions
from engine.clock import Clock
from engine.dispatch import Room
from engine.errors import CeleriacError, Unavailable
from engine.failpoints import failpoint
from engine.settings import Settings, Timing
from engine.snapshots import Reference
from engine.store.database import Connection
from engine.store.holds import IDLE, MISSED
from engine.store.sql import Row
from engine.triggers import scheduler

log = logging.getLogger(__name__)

T = TypeVar("T")

_QUEUES = "SELECT DISTINCT queue FROM segment WHERE status IN ('ready', 'running', 'waiting', 'backing_off')"
_TIMED = "s.status IN ('ready', 'running', 'waiting', 'backing_off')"
"""The condition of the partial index, word for word: SQLite uses the index only for a query that repeats it."""
_OVERDUE = (
    "SELECT s.execution_id, s.segment, s.item, s.due FROM segment s "
    f"WHERE s.queue = ? AND s.status = 'ready' AND {_TIMED} AND s.due <= ? "
    "AND (s.due <= s.ready_at OR s.due <= ?) ORDER BY s.due LIMIT ?"
)
"""What was never sent has the time it became ready for its `due`."""
_FEED = 2048
_BATCH = 500
_RESTING = ("waiting", "backing_off")
_TIMERS = tuple(
    "SELECT s.execution_id, s.segment, s.item FROM segment s JOIN execution e ON e.id = s.execution_id "
    f"WHERE s.queue = ? AND s.status = '{status}' AND {_TIMED} AND s.due <= ? AND e.pause_at IS NULL ORDER BY s.due LIMIT 500"
    for status in _RESTING
)
"""States stand in the text: only then can PostgreSQL see that its partial index holds every row in question."""
_EXPIRED = (
    "SELECT s.execution_id, s.segment, s.item FROM segment s JOIN execution e ON e.id = s.execution_id "
    "WHERE s.status = 'ready' AND s.expires > 0 AND s.expires <= ? AND s.epoch = 0 AND e.pause_at IS NULL LIMIT 500"
)
_LATE = (
    "SELECT s.execution_id, s.segment, s.item, s.epoch FROM segment s "
    f"WHERE s.queue = ? AND s.status = 'running' AND {_TIMED} AND s.due <= ? ORDER BY s.due LIMIT 500"
)
_OWNERS = (
    "SELECT s.owner, s.execution_id, s.segment, s.item, s.epoch FROM segment s "
    f"WHERE s.queue = ? AND s.status = 'running' AND {_TIMED} AND s.due IS NOT NULL"
)
# One that is to end already has taken too long over that.
_DEADLINES = "SELECT e.id FROM execution e WHERE e.deadline <= ? AND e.finished_at IS NULL LIMIT 500"
_NEXT = tuple(
    "SELECT s.due FROM segment s JOIN execution e ON e.id = s.execution_id "
    f"WHERE s.queue = ? AND s.status = '{status}' AND {_TIMED} AND s.due > ? AND e.pause_at IS NULL ORDER BY s.due LIMIT 1"
    for status in _RESTING
)

_SHORT = 0.01
_SYNC_SECONDS = 5.0
_LIMITS_SECONDS = 0.5
_STEP = 1_000
"""A database clock that is found this many milliseconds ahead was set, or this machine slept."""
_QUIET_SECONDS = 60.0
"""How long a complaint must not have come up to be new."""


class Keeps(Clock, Protocol):
    """A clock that follows the database's."""

    def sync(self, now: int, asked: float | None = None) -> None:
        """Take over the time the database tells, who was asked at that time of the monotonic clock."""


class Asks(Protocol):
    """The ledger, from a thread."""

    def ask_each(self, work: Sequence[Any]) -> list[Any]:
        """Hand in work and wait; what befell one piece of it stands among the answers."""


class Gauge(Protocol):
    """The broker, as far as the poller looks at it."""

    def lengths(self, queues: Sequence[str]) -> dict[str, int]:
        """Return how many messages wait."""

    def emptied(self) -> bool:
        """Whether what it held is gone."""

    def close(self) -> None:
        """Forget the connection."""


class Flow:
    """How far a queue has been served, as its length tells: whatever was in it at `served` has been taken by someone.

    A queue is first in, first out. What waited at one look is gone when the queue has since become shorter by as much,
    added up from look to look; what others put in meanwhile only hides some of it. So an innocent message behind a long
    backlog, or behind workers that have stopped, is never taken for a lost one.
    """

    def __init__(self, now: int) -> None:
        self.served = 0
        self.moved = now
        self._length = 0
        self._looked_at = 0
        self._ahead = 0

    def look(self, length: int, now: int) -> None:
        """Take in the queue's length."""
        taken = max(0, self._length - length)
        self._length = length
        self._ahead -= taken
        if taken or not length:
            self.moved = now
        if not length:
            self.served = now
        elif self._ahead <= 0:
            self.served = self._looked_at
        if not length or self._ahead <= 0:
            self._looked_at, self._ahead = now, length


class Poller:
    """One process's poller."""

    def __init__(
        self,
        settings: Settings,
        clock: Keeps,
        ledger: Asks,
        read: Callable[[Callable[[Connection], Any]], Any],
        gauge: Gauge,
        room: Room,
        send: Callable[[Iterable[tuple[str, Reference]]], None],
        queues: Sequence[str] | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self._versions = Versions()
        self._ledger = ledger
        self._read = read
        self._gauge = gauge
        self._room = room
        self._send = send
        self._given = queues
        self._queues: list[str] = list(queues or settings.queues)
        self._queues_at = -1.0
        self._owners_at = -1.0
        self._limits_at = -1.0
        self._synced_at = clock.monotonic()
        self._lenient_until = -1.0
        self._flushed = False
        self._flows: dict[str, Flow] = {}
        self._eager = settings.timing.poll / 1000
        self._complaints: dict[str, float] = {}

    def tick(self) -> float:
        """Do one round; return the seconds after which the next is worth while. Never raises.

        Each part stands for itself, so that what one stumbles over every time does not keep the others from their work;
        only without the database there is nothing to be done at all.
        """
        try:
            return self._round()
        except Unavailable as error:
            self._complain(error)
            return 1.0

    def flushed(self) -> bool:
        """Look at the canary, which is cheap: whether the broker has been emptied and not been filled again since."""
        self._flushed = bool(self._do(self._ask_gauge, self._gauge.emptied)) or self._flushed
        return self._flushed

    def _round(self) -> float:
        self._do(self._keep_time)
        self._do(self._learn_queues)
        self.flushed()
        now = self.clock.now()
        more = False
        for queue in self._queues:
            self._do(self._take_from_the_late, queue, now)
            more = bool(self._do(self._wake, queue, now)) or more
        self._do(self._take_from_the_dead, now)
        self._do(self._expire, now)
        self._do(self._end_overdue, now)
        self._do(self._end_calls, now)
        self._do(self._let_in, now)
        more = bool(self._do(self._fire, now)) or more
        more = bool(self._do(self._feed, now)) or more
        poll = self.settings.timing.poll / 1000
        self._eager = min(poll, _SHORT if more else self._eager * 2)
        pause = self._eager
        soonest = self._do(self._soonest, now)
        if soonest is not None:
            pause = min(pause, max(0.001, (soonest - self.clock.now()) / 1000))
        return pause

    def _do(self, part: Callable[..., T], *arguments: Any) -> T | None:
        try:
            return part(*arguments)
        except Unavailable:
            raise
        except Exception as error:  # any: the other parts have work of their own  # noqa: BLE001  one part must not end the others
            self._complain(error)
            return None

    def _complain(self, error: Exception) -> None:
        """Log what has not come up for a while; what comes up in every round is said once."""
        now = self.clock.monotonic()
        text = f"{type(error).__name__}: {error}"
        self._complaints = {each: at for each, at in self._complaints.items() if now - at < _QUIET_SECONDS}
        if text not in self._complaints:
            known = isinstance(error, (CeleriacError, *DOWN))  # these have said it all
            log.warning("A part of the poller's work failed: %s", text, exc_info=None if known else error)
        self._complaints[text] = now

    def _keep_time(self) -> None:
        """Compare the clock with the database's now and then.

        When that is far ahead, the living have not been told either: before a claim counts as late, its holder gets the time
        of a lease to follow and to renew it.
        """
        monotonic = self.clock.monotonic()
        if monotonic - self._synced_at < _SYNC_SECONDS:
            return
        self._synced_at = monotonic
        told: int = self._read(lambda connection: connection.now())
        if told - self.clock.now() > _STEP:
            self._lenient_until = monotonic + self.settings.timing.lease / 1000
        self.clock.sync(told, monotonic)

    def _learn_queues(self) -> None:
        if self._given is None and self.clock.monotonic() - self._queues_at > 5:
            self._queues_at = self.clock.monotonic()
            found = {row[0] for row in self._read(lambda connection: connection.run(_QUEUES))}
            self._queues = sorted(found | set(self.settings.queues))

    def _ask_gauge(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except Exception:
            self._gauge.close()
            raise

    def _feed(self, now: int) -> bool:
        """Send ready segments that were never sent or not taken up, as far as their queues have room.

        Returns whether some were sent and more are left. After a flush everything is sent again.
        """
        lengths = self._ask_gauge(lambda: self._gauge.lengths(self._queues))
        flushed = self._flushed
        more = False
        for queue, length in lengths.items():
            self._flows.setdefault(queue, Flow(now)).look(length, now)
            left = min(self._room.learn(queue, length), _FEED)
            if left:
                more = bool(self._do(self._feed_one, queue, left, now, flushed)) or more
        self._flushed = False
        return more

    def _feed_one(self, queue: str, left: int, now: int, flushed: bool) -> bool:
        """Send what one queue has room for.

        What was sent and has come due is one of two. Either its message is known to have been taken (see `Flow`; it came
        due before `served`, so it had the grace to get into the queue): then it has been lost with whoever took it, which
        the segment remembers, for it may be its fault. Or the message may still wait its turn: then it is sent again only
        when nothing in the queue has moved for four times the grace, and that is not held against it.
        """
        flow, grace = self._flows[queue], self.settings.timing.grace
        taken = min(now, flow.served)
        sent = max(taken, now - 4 * grace) if now - flow.moved > 4 * grace else taken
        horizon = now + 365 * 86_400_000 if flushed else now
        rows = self._rows(_OVERDUE, queue, horizon, horizon if flushed else sent, left)
        marks: dict[tuple[str, bool], list[tuple[int, str, int]]] = defaultdict(list)
        for execution, segment, item, due in rows:
            self._room.take(queue)
            marks[execution, not flushed and due <= taken].append((segment, item, due))
        due = now + grace
        count = self._forward(
            [op.Resend(name, tuple(each), due, lost=gone) for (name, gone), each in marks.items()]
        )
        return count > 0 and len(rows) == left

    def _wake(self, queue: str, now: int) -> bool:
        """End the rests whose time has come. Returns whether there are more."""
        more = False
        for query in _TIMERS:
            addresses: dict[str, list[tuple[int, str]]] = defaultdict(list)
            rows = self._rows(query, queue, now)
            for execution, segment, item in rows:
                addresses[execution].append((segment, item))
            woken = self._forward(
                [op.Wake(execution, tuple(each), now) for execution, each in addresses.items()]
            )
            more = more or (woken > 0 and len(rows) == _BATCH)
        return more

    def _take_from_the_late(self, queue: str, now: int) -> None:
        if self.clock.monotonic() >= self._lenient_until:
            self._lose(self._rows(_LATE, queue, now), now, "The worker did not renew its claim in time.")

    def _take_from_the_dead(self, now: int) -> None:
        """Look for owners on this host that are not there any more: no need to wait for their leases."""
        if self.clock.monotonic() - self._owners_at < 0.5:
            return
        self._owners_at = self.clock.monotonic()
        rows = [row for queue in self._queues for row in self._rows(_OWNERS, queue)]
        dead = {name for name in {row[0] for row in rows} if name and identity.is_dead(name)}
        self._lose([row[1:] for row in rows if row[0] in dead], now, "The worker's process died.")

    def _expire(self, now: int) -> None:
        """Give up the wait of segments for workers of their queue that nobody took up in time."""
        addresses: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for execution, segment, item in self._rows(_EXPIRED, now):
            addresses[execution].append((segment, item))
        self._forward([op.Expire(execution, tuple(each), now) for execution, each in addresses.items()])

    def _lose(self, rows: Iterable[Row], now: int, reason: str) -> None:
        claims: dict[str, list[tuple[int, str, int]]] = defaultdict(list)
        for execution, segment, item, epoch in rows:
            claims[execution].append((segment, item, epoch))
        limit = self.settings.limits.deliveries
        self._forward(
            [op.Lose(execution, tuple(each), now, reason, limit) for execution, each in claims.items()]
        )

    def _end_overdue(self, now: int) -> None:
        self._ask([op.Cancel(execution, now, timed_out=True) for (execution,) in self._rows(_DEADLINES, now)])

    def _end_calls(self, now: int) -> None:
        """Stop what nobody waits for any more, with all that this calls in turn; tell callers of ends they may not know."""
        for _ in range(self.settings.limits.call_depth + 1):
            forsaken = self._rows(cancels.FORSAKEN)
            if not forsaken:
                break
            self._ask(cancels.forsakes(forsaken, now))
        self._forward(calls.returns(self._rows(calls.UNTOLD, now - self.settings.timing.poll), now))

    def _let_in(self, now: int) -> None:
        """Look for slots of limits that somebody waits for in vain: left or granted where the waiting one was out of reach."""
        if self.clock.monotonic() - self._limits_at < _LIMITS_SECONDS:
            return
        self._limits_at = self.clock.monotonic()
        found = {row[0] for query in (MISSED, IDLE) for row in self._rows(query)}
        self._ask([op.Admit(execution, now) for execution in sorted(found)])

    def _fire(self, now: int) -> bool:
        """Start what schedules stand for whose time has come. Returns whether there are more."""
        rows = self._read(lambda connection: scheduler.due(connection, self._versions, now))
        asked = [self._do(scheduler.arrive, self, each, now) for each in rows]
        answers = self._ask([each for each in asked if each is not None])
        failpoint("fire.after")
        ready, outdone = scheduler.sendable(
            [each.arrivals for each, _ in answers], [answer for _, answer in answers]
        )
        self._send(ready)
        self._ask([op.Cancel(each, now, admission.OUTDONE) for each in sorted(set(outdone))])
        return len(rows) == scheduler.BATCH

    def _forward(self, asked: Sequence[op.Resend | op.Wake | op.Expire | op.Lose | op.Return]) -> int:
        """Ask the pen, and send what it made ready. Returns how many segments that is."""
        ready = [
            (queue, (each.execution, segment, item))
            for each, sendable in self._ask(asked)
            for segment, item, queue in sendable
        ]
        self._send(ready)
        return len(ready)

    def _ask(self, asked: Sequence[T]) -> list[tuple[T, Any]]:
        """Ask the pen. Returns what succeeded with its answers; the others have no part in it and are complained of."""
        answers = list(zip(asked, self._ledger.ask_each(asked), strict=True))
        for _, answer in answers:
            if isinstance(answer, Exception):
                self._complain(answer)
        return [(each, answer) for each, answer in answers if not isinstance(answer, Exception)]

    def _soonest(self, now: int) -> int | None:
        """Return when the next timer of a known queue, or a schedule, is due. What is past or paused waits for no time."""
        times = [row[0] for queue in self._queues for query in _NEXT for row in self._rows(query, queue, now)]
        scheduled = self._read(lambda connection: scheduler.soonest(connection, now))
        return min(times if scheduled is None else [*times, scheduled], default=None)

    def _rows(self, sql: str, *parameters: object) -> list[Row]:
        found: list[Row] = self._read(lambda connection: connection.run(sql, parameters))
        return found


class PollerThread:
    """Does a round whenever the last one asked for it, and looks at the canary in between, until it is ended."""

    def __init__(self, poller: Poller, timing: Timing) -> None:
        self._poller = poller
        self._canary = timing.canary / 1000
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the round that is being done."""
        self._ended.set()
        self._thread.join(timeout=15)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ended.wait(max(0.0, min(due - time.monotonic(), self._canary))):
            if time.monotonic() >= due or self._poller.flushed():
                due = self._poller.tick() + time.monotonic()
