"""Group commit: one writer a process, and whatever waits goes into one transaction.

A single operation pays one commit; a thousand at once pay one commit together, so the cost of durability falls as the
load rises. `Ledger.step` does one batch and is all there is to simulate; `LedgerThread` is the rim that feeds it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from engine import transitions
from engine.clock import Clock
from engine.errors import CeleriacError, Unavailable
from engine.failpoints import failpoint
from engine.operations import Operation
from engine.store.database import Connection, Database, Verdict
from engine.store.statements import MARK, TOUCH_MARK

log = logging.getLogger(__name__)

Change = Callable[[Connection], Any]
"""A function of the connection, for rows that are no execution's (catalogue, access, retention)."""


@dataclass(frozen=True, slots=True)
class Noted:
    """Work of which something is noted in its own transaction, once its answer is known."""

    work: Operation | Change
    note: Callable[[Connection, Any], None]


Work = Operation | Change | Noted
"""An operation of the pen, or a change of other rows."""

MAX_BATCH = 400
_PATIENCE = {"lost": 8, "repeat": 8, "unavailable": 4}
"""How often a batch is tried at most. A server comes back; a full disk seldom does while somebody waits for an answer."""
_WAITING_SECONDS = 20.0
"""How long locks are waited for altogether: each attempt may take as long as the database waits for one."""


class Ledger:
    """The one writer. Not thread safe: one thread steps it."""

    def __init__(
        self,
        database: Database,
        rules: transitions.Rules,
        writer: str,
        clock: Clock,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._rules = rules
        self._writer = writer
        self._clock = clock
        self._pause = pause
        self._connection: Connection | None = None
        self._number = 0

    def step(self, work: Sequence[Work]) -> list[Any]:
        """Do a batch in one transaction. Returns an answer, or the exception that befell it, for each.

        When the batch fails it is halved until the guilty stand alone, so that one bad operation costs the others
        nothing but a repetition.
        """
        try:
            return self._commit(work)
        except Exception as error:  # any: a bad operation must not end the writer  # noqa: BLE001  a bad operation must not end the writer
            is_down = isinstance(error, Unavailable)
            if len(work) == 1 or is_down:
                # A refusal is an answer, and nothing for an operator to read: who asked is told.
                refused = isinstance(error, CeleriacError) and not is_down
                log.log(
                    logging.DEBUG if refused else logging.WARNING,
                    "A batch of %d failed: %s",
                    len(work),
                    error,
                )
                return [error] * len(work)
            middle = len(work) // 2
            return [*self.step(work[:middle]), *self.step(work[middle:])]

    def close(self) -> None:
        """End the conversation with the database."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _commit(self, work: Sequence[Work]) -> list[Any]:
        self._number += 1
        doubtful: list[Any] | None = None
        began = self._clock.monotonic()
        attempt = 0
        while True:
            asked, answers = False, []
            try:
                connection = self._connected()
                connection.begin()
                if doubtful is not None and self._is_committed(connection):
                    connection.rollback()
                    return doubtful
                answers = self._apply(connection, work)
                connection.run(MARK, (self._writer, self._number, self._clock.now()))
                failpoint("commit.before")
                asked = True
                connection.commit()
                failpoint("commit.after")
            except Exception as error:  # any: what it means is for the database to say
                verdict = self._database.judge(error)
                if verdict == "lost":
                    self._forget()
                else:
                    self._undo()
                if verdict == "own":
                    raise
                attempt += 1
                spent = self._clock.monotonic() - began
                if verdict != "repeat":
                    doubtful = answers if asked else doubtful
                    self._pause(min(0.05 * 2 ** (attempt - 1), 2.0))
                if attempt >= _PATIENCE[verdict] or (verdict == "repeat" and spent > _WAITING_SECONDS):
                    self._forget()
                    raise _unavailable(error, verdict, known=doubtful is None) from error
            except BaseException:
                self._undo()
                raise
            else:
                return answers

    def _apply(self, connection: Connection, work: Sequence[Work]) -> list[Any]:
        answers: list[Any] = [None] * len(work)
        bare = [each.work if isinstance(each, Noted) else each for each in work]
        operations = [(index, each) for index, each in enumerate(bare) if not callable(each)]
        done = transitions.apply(connection, [each for _, each in operations], self._rules)
        for (index, _), answer in zip(operations, done, strict=True):
            answers[index] = answer
        for index, each in enumerate(bare):
            if callable(each):
                answers[index] = each(connection)
        for asked, answer in zip(work, answers, strict=True):
            if isinstance(asked, Noted):
                asked.note(connection, answer)
        return answers

    def _is_committed(self, connection: Connection) -> bool:
        """Answer a lost acknowledgement by what this writer last committed.

        Asked inside the transaction that would repeat it, and as a write: it waits for a commit that is still on its way.
        """
        ((number,),) = connection.run(TOUCH_MARK, (self._writer, self._clock.now()))
        return bool(number == self._number)

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._database.connect()
        return self._connection

    def _undo(self) -> None:
        if self._connection is not None:
            self._connection.rollback()

    def _forget(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.rollback()
            connection.close()


class LedgerThread:
    """Feeds a ledger from any number of coroutines and threads, and hands each its answer."""

    def __init__(self, ledger: Ledger, *, name: str = "ledger") -> None:
        self._ledger = ledger
        self._waiting: deque[_Asked] = deque()
        self._handed: dict[asyncio.AbstractEventLoop, list[_Asked]] = {}
        self._some = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> asyncio.Future[Any]:
        """Hand in work from a coroutine; the future brings its answer after the commit.

        What an event loop asks for in one of its rounds goes to the thread together: one wake-up, and one commit.
        """
        self._see_that_it_runs()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        handed = self._handed.get(loop)
        if handed is None:
            handed = self._handed[loop] = []
            loop.call_soon(self._hand_over, loop)
        handed.append((work, future))
        return future

    def ask(self, work: Work, patience: float = 30.0) -> Any:
        """Hand in work from a thread and wait for the answer. Raises `Unavailable` after `patience` seconds."""
        return self.ask_all([work], patience)[0]

    def ask_all(self, work: Sequence[Work], patience: float = 30.0) -> list[Any]:
        """Hand in several at once, so that they share commits, and wait for all answers. Raises the first failure."""
        boxes = [_Box() for _ in work]
        self._put(list(zip(work, boxes, strict=True)))
        return [box.wait(patience) for box in boxes]

    def ask_each(self, work: Sequence[Work], patience: float = 30.0) -> list[Any]:
        """The same, but what befell one piece of work stands in its place among the answers, and is not raised."""
        boxes = [_Box() for _ in work]
        self._put(list(zip(work, boxes, strict=True)))
        return [box.look(patience) for box in boxes]

    def close(self) -> None:
        """Commit what waits, then stop."""
        with self._some:
            self._closing = True
            self._some.notify()
        self._thread.join(timeout=30)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        asked = self._handed.pop(loop)
        try:
            self._put(asked)
        except Unavailable as error:
            self._deliver(asked, [error] * len(asked))

    def _put(self, asked: Sequence[_Asked]) -> None:
        with self._some:
            self._see_that_it_runs()
            self._waiting.extend(asked)
            self._some.notify()

    def _see_that_it_runs(self) -> None:
        if self._closing:
            message = "This process is stopping."
            raise Unavailable(message)

    def _run(self) -> None:
        while True:
            with self._some:
                while not self._waiting and not self._closing:
                    self._some.wait()
                if not self._waiting:
                    break
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]
            answers = self._ledger.step([work for work, _ in batch])
            self._deliver(batch, answers)
        self._ledger.close()

    @staticmethod
    def _deliver(batch: Sequence[_Asked], answers: Sequence[Any]) -> None:
        """Wake each event loop once, however many of its coroutines have an answer."""
        loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
        for (_, waiter), answer in zip(batch, answers, strict=True):
            if isinstance(waiter, _Box):
                waiter.put(answer)
            else:
                loops.setdefault(waiter.get_loop(), []).append((waiter, answer))
        for loop, pairs in loops.items():
            try:
                loop.call_soon_threadsafe(_resolve, pairs)
            except RuntimeError:
                log.debug("An event loop ended before its answers came.")


class _Box:
    """An answer that a thread waits for."""

    def __init__(self) -> None:
        self._there = threading.Event()
        self._answer: Any = None

    def put(self, answer: Any) -> None:
        self._answer = answer
        self._there.set()

    def wait(self, patience: float) -> Any:
        answer = self.look(patience)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def look(self, patience: float) -> Any:
        if not self._there.wait(patience):
            message = "The ledger has not answered in time; the request may still be carried out."
            raise Unavailable(message)
        return self._answer


_Asked = tuple[Work, asyncio.Future[Any] | _Box]


def _unavailable(error: Exception, verdict: Verdict, *, known: bool) -> Unavailable:
    said = {
        "lost": "The database cannot be reached.",
        "repeat": "The database is kept busy by others.",
        "unavailable": f"The database cannot write: {error}",
    }
    written = "Nothing was written." if known else "Nobody knows whether it was written."
    return Unavailable(
        said[verdict], hint=f"{written} Look at the database server; celeriac doctor tests it."
    )


def _resolve(pairs: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, answer in pairs:
        if future.done():
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
