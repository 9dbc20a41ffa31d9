"""What this process holds, and the heartbeat that keeps it. Runs in a thread of its own: a node cannot stop it.

A claim is renewed only while the attempt it serves is within its own time, and only as long as the event loop moves. A
process that cannot renew stops before its lease ends: it starts no further effect after two thirds of the lease.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum

from engine.clock import Clock
from engine.errors import Unavailable
from engine.ledger import LedgerThread
from engine.operations import Renew, Renewed
from engine.reader import Reader
from engine.settings import Timing
from engine.store.sql import Batched, columns

log = logging.getLogger(__name__)

_SHARE = 0.66
_STOPPING = Batched(
    "SELECT r.id, r.segment, r.item, CASE WHEN s.epoch > r.epoch THEN 'lost' ELSE 'cancelled' END "
    "FROM {rows} JOIN execution e ON e.id = r.id JOIN segment s "
    "ON s.execution_id = r.id AND s.segment = r.segment AND s.item = r.item "
    "WHERE e.finished_at IS NOT NULL OR s.stop = 1 OR s.epoch > r.epoch",
    columns("id segment item epoch", segment="bigint", epoch="bigint"),
)
EXIT_STALLED = 70


class Stop(StrEnum):
    """Why a held segment is to stop."""

    LOST = "lost"
    CANCELLED = "cancelled"


@dataclass(slots=True, eq=False)
class Hold:
    """One claim of this process. `safe_until` and `attempt_until` are monotonic seconds.

    `task` performs it, and is cancelled when it has to stop; during the commit there is none, since then it is decided.
    """

    execution: str
    segment: int
    item: str
    epoch: int
    safe_until: float
    task: asyncio.Task[object] | None = None
    attempt_until: float | None = None
    stop: Stop | None = None
    ended: bool = False


@dataclass(slots=True)
class _Loop:
    loop: asyncio.AbstractEventLoop
    seen: float
    asked: bool = field(default=False)


class Leases:
    """The claims of one process."""

    def __init__(self, ledger: LedgerThread, reader: Reader, clock: Clock, timing: Timing) -> None:
        self._ledger = ledger
        self._reader = reader
        self._clock = clock
        self._timing = timing
        self._holds: dict[tuple[str, int, str], Hold] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._loop: _Loop | None = None
        self._thread: threading.Thread | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the heartbeat, watching `loop`."""
        self._loop = _Loop(loop, self._clock.monotonic())
        self._thread = threading.Thread(target=self._beat_for_ever, name="heartbeat", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop the heartbeat."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def horizon(self) -> float:
        """Return until when (monotonic) a claim asked for now may start effects."""
        return self._clock.monotonic() + self._timing.lease / 1000 * _SHARE

    def hold(self, hold: Hold) -> Hold:
        """Take charge of a claim. An earlier one of the same segment, which this process has slept through, is lost."""
        address = (hold.execution, hold.segment, hold.item)
        with self._lock:
            earlier = self._holds.get(address)
            self._holds[address] = hold
        if earlier is not None:
            self._stop(earlier, Stop.LOST)
        return hold

    def drop(self, hold: Hold) -> None:
        """The claim is over. A later one of the same segment stays."""
        hold.ended = True
        address = (hold.execution, hold.segment, hold.item)
        with self._lock:
            if self._holds.get(address) is hold:
                del self._holds[address]

    def held(self) -> list[Hold]:
        """Return the claims of this process."""
        with self._lock:
            return list(self._holds.values())

    def safe(self, hold: Hold) -> bool:
        """Whether an effect may still be started under this claim."""
        return hold.stop is None and self._clock.monotonic() < hold.safe_until

    def _beat_for_ever(self) -> None:
        period = min(1.0, self._timing.heartbeat / 1000 / 2)
        renewed = self._clock.monotonic()
        while not self._ended.wait(period):
            self._watch_loop()
            try:
                if self._clock.monotonic() - renewed >= self._timing.heartbeat / 1000:
                    renewed = self._clock.monotonic()
                    self.renew()
                else:
                    self._look_for_cancels()
            except Unavailable as error:
                log.warning("The heartbeat could not be written: %s", str(error))
            except Exception:
                log.exception("A heartbeat failed; the next one may not.")

    def renew(self) -> None:
        """Prolong every claim whose attempt is within its time; stop the ones that are lost or to be cancelled."""
        asked = self._clock.monotonic()
        of_execution: dict[str, list[Hold]] = defaultdict(list)
        for hold in self.held():
            if hold.attempt_until is None or asked < hold.attempt_until:
                of_execution[hold.execution].append(hold)
        now = self._clock.now()
        renewals = [
            Renew(
                execution,
                tuple((hold.segment, hold.item, hold.epoch) for hold in holds),
                now,
                now + self._timing.lease,
            )
            for execution, holds in of_execution.items()
        ]
        answers: list[Renewed] = self._ledger.ask_all(renewals)
        for holds, answer in zip(of_execution.values(), answers, strict=True):
            for hold in holds:
                if (hold.segment, hold.item) not in answer.held:
                    self._stop(hold, Stop.LOST)
                elif answer.cancelling or (hold.segment, hold.item) in answer.stopping:
                    self._stop(hold, Stop.CANCELLED)
                else:
                    hold.safe_until = asked + self._timing.lease / 1000 * _SHARE

    def _look_for_cancels(self) -> None:
        holds = self.held()
        if not holds:
            return
        held = sorted({(hold.execution, hold.segment, hold.item, hold.epoch) for hold in holds})
        found = self._reader.ask(lambda connection: connection.batch(_STOPPING, held))
        stopping = {fields[:3]: Stop(fields[3]) for fields in found}
        for hold in holds:
            why = stopping.get((hold.execution, hold.segment, hold.item))
            if why is not None:
                self._stop(hold, why)

    def _stop(self, hold: Hold, why: Stop) -> None:
        """Tell a holder to stop, in its own loop: the claim may have ended while the ledger was asked about it."""
        if self._loop is not None:
            self._loop.loop.call_soon_threadsafe(self._stop_here, hold, why)

    def _stop_here(self, hold: Hold, why: Stop) -> None:
        if hold.stop is not None or hold.ended:
            return
        hold.stop = why
        if hold.task is not None:
            hold.task.cancel()

    def _watch_loop(self) -> None:
        """End the process when its event loop stands still: its leases will lapse, and it must not wake after that."""
        watched = self._loop
        if watched is None:
            return
        if not watched.asked:
            watched.asked = True
            watched.seen = self._clock.monotonic()
            watched.loop.call_soon_threadsafe(self._seen)
        elif self._clock.monotonic() - watched.seen > self._timing.loop_lag / 1000:
            log.critical(
                "The event loop has stood still for %.1f s, so this process ends and others take over. A node that "
                "computes for long belongs in a child process: declare it with process=True.",
                self._clock.monotonic() - watched.seen,
            )
            os._exit(EXIT_STALLED)

    def _seen(self) -> None:
        if self._loop is not None:
            self._loop.asked = False
