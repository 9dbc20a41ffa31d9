"""After the commit: coalesce what became ready into few messages and send them, from a thread of its own.

Failing to send loses nothing: the rows are ready, and become overdue. One message carries up to 32 references of
segments that cost microseconds, fewer of those that wait, and one of those that compute.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence

from engine.broker import DOWN, Broker
from engine.canvas import segment
from engine.failpoints import failpoint
from engine.operations import Sendable
from engine.snapshots import Reference

log = logging.getLogger(__name__)

COALESCED = 32
UNSAID = 1_000
"""Pieces of what nodes say that wait to be told; with more the oldest are dropped."""
_ALONE = frozenset({"cpu"})
"""Queues whose segments are worth a message each: they take longer than any message costs."""


class Room:
    """An estimate of how many more segments each queue's broker should hold.

    Filled again whenever the queue's length has been looked at; taken from by the pen. What finds no room stays in its row,
    where limits and order hold, and the feeder sends it later. So a backlog of a million is a million rows and a few
    hundred messages.
    """

    def __init__(self, window: int) -> None:
        self._window = window * COALESCED
        self._left: dict[str, int] = defaultdict(lambda: self._window)
        self._lock = threading.Lock()

    def take(self, queue: str) -> bool:
        """Take one place."""
        with self._lock:
            self._left[queue] -= 1
            return self._left[queue] >= 0

    def learn(self, queue: str, messages: int) -> int:
        """Set what is left from the number of messages that wait; return it."""
        with self._lock:
            self._left[queue] = max(0, self._window - messages * COALESCED)
            return self._left[queue]


class Dispatcher:
    """Sends references. `send` may be called from any thread and returns at once."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._waiting: dict[str, list[Reference]] = defaultdict(list)
        self._ended: list[tuple[str, str]] = []
        self._said: deque[str] = deque(maxlen=UNSAID)
        self._some = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._thread.start()

    def send(self, execution: str, ready: Sequence[Sendable]) -> None:
        """Send segments of one execution that became ready."""
        self.send_all((queue, (execution, number, item)) for number, item, queue in ready)

    def send_all(self, references: Iterable[tuple[str, Reference]]) -> None:
        """Send references by queue."""
        with self._some:
            for queue, reference in references:
                self._waiting[queue].append(reference)
            self._some.notify()

    def finished(self, execution: str, reply_to: str | None) -> None:
        """Tell whoever waits for an execution that it has ended, or has answered, if anyone said so."""
        if reply_to is not None:
            with self._some:
                self._ended.append((reply_to, execution))
                self._some.notify()

    def say(self, piece: str) -> None:
        """Tell whoever listens a piece of what a node says."""
        with self._some:
            self._said.append(piece)
            self._some.notify()

    def close(self) -> None:
        """Send what waits, then stop."""
        with self._some:
            self._closing = True
            self._some.notify()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while True:
            with self._some:
                while not self._some_waits() and not self._closing:
                    self._some.wait()
                if not self._some_waits():
                    break
                taken, self._waiting = self._waiting, defaultdict(list)
                ended, self._ended = self._ended, []
                said = list(self._said)
                self._said.clear()
            try:
                if ended:
                    self._tell(ended)
                if taken:
                    self._publish(taken)
                if said:
                    self._say(said)
            except Exception:
                log.exception("Messages could not be sent; their rows will be.")
                self._broker.close()
        self._broker.close()

    def _some_waits(self) -> bool:
        return bool(self._waiting or self._ended or self._said)

    def _say(self, pieces: list[str]) -> None:
        try:
            self._broker.say(pieces)
        except DOWN as error:
            log.debug("%d pieces of what nodes say are lost: %s", len(pieces), str(error))
            self._broker.close()

    def _tell(self, ended: list[tuple[str, str]]) -> None:
        try:
            self._broker.tell(ended)
        except DOWN as error:
            log.debug("Whoever waits for %d executions has to look: %s", len(ended), str(error))
            self._broker.close()

    def _publish(self, taken: dict[str, list[Reference]]) -> None:
        messages = [message for queue, references in taken.items() for message in coalesce(queue, references)]
        failpoint("publish.before")
        try:
            self._broker.publish(messages)
        except DOWN as error:
            log.warning(
                "%d messages may not have been sent; their rows will be: %s", len(messages), str(error)
            )
            self._broker.close()
        failpoint("publish.after")


def coalesce(queue: str, references: list[Reference]) -> list[segment]:
    """Return messages for references: even shares that keep several workers busy, none longer than `COALESCED`."""
    share = 1 if queue in _ALONE else min(COALESCED, max(1, len(references) // 4))
    return [
        segment.of(references[index : index + share], queue) for index in range(0, len(references), share)
    ]
