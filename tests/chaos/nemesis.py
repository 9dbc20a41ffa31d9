"""What goes wrong: kills, stalls, flushes, repeated and reordered messages, at times and places that a seed draws."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from functools import partial
from os import kill
from typing import Final

import psycopg

from tests.chaos.checker import Fault
from tests.chaos.load import Load
from tests.chaos.stack import Stack
from tests.servers import Server

MEAN: Final = 2.0
"""Seconds between two faults, on average; the times are exponentially distributed."""


FLUSHED_EVERY: Final = 20.0
"""Seconds after which the broker loses all it holds, in any case."""
OUTAGE: Final = 10.0
"""Seconds that the broker is away for, so that the API has to accept without it; a kill is a second or two."""
WAYS: Final = (
    "kill",
    "kill-child",
    "kill-broker",
    "outage",
    "roll",
    "flush",
    "stall",
    "reorder",
    "late",
    "double",
    "freeze-broker",
    "freeze-database",
    "cut-database",
    "kill-database",
)
"""What may be done to an installation."""


class Nemesis:
    """One thread that breaks things until `end`: in all its ways, or only in those whose names (`WAYS`) are in `only`."""

    def __init__(
        self,
        stack: Stack,
        load: Load,
        seed: int,
        lease: float,
        only: Collection[str] = WAYS,
        outage: float = OUTAGE,
    ) -> None:
        self._only = frozenset(only)
        self._outage = outage
        self._stack = stack
        self._load = load
        self._rng = random.Random(f"nemesis {seed}")
        self._lease = lease
        self._rolling: list[str] = []
        self._thaw_at = 0.0
        self._flush_due = time.monotonic() + FLUSHED_EVERY
        self._calm: list[tuple[float, str]] = []
        self.faults: list[Fault] = []
        self.counts: Counter[str] = Counter()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nemesis", daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join(30)

    def _run(self) -> None:
        """Draw a fault every two seconds or so; deliver doubles all the time, for they are what a broker may always do."""
        kinds = self._kinds()
        due = time.monotonic() + self._rng.expovariate(1 / MEAN)
        while not self._ended.wait(0.1):
            self._wake()
            self._thaw()
            self._roll_on()
            if "flush" in self._only:
                self._flush_regularly()
            if "double" in self._only:
                self._double()
            if kinds and time.monotonic() >= due:
                due += self._rng.expovariate(1 / MEAN)
                fault = self._rng.choices(list(kinds), list(kinds.values()))[0]
                with self._stack.lock:
                    told = fault()
                if told is not None:
                    self._note(told)
        self._stack.thaw()

    def _kinds(self) -> dict[Callable[[], str | None], int]:
        """The faults that are drawn, and how often each is of them."""
        ways: dict[str, tuple[Callable[[], str | None], int]] = {
            "kill": (self._kill, 6),
            "kill-child": (self._kill_child, 1),
            "kill-broker": (self._kill_broker, 2),
            "outage": (self._silence_broker, 1),
            "roll": (self._roll, 1),
            "flush": (self._flush, 3),
            "stall": (self._stall, 4),
            "reorder": (self._reorder, 3),
            "late": (self._late, 2),
            "freeze-broker": (partial(self._freeze, self._stack.broker, "broker"), 1),
        }
        if self._stack.postgres is not None:
            ways |= {
                "freeze-database": (partial(self._freeze, self._stack.postgres, "database"), 1),
                "cut-database": (self._cut_database, 2),
                "kill-database": (self._restart_database, 1),
            }
        if self._only == {"flush"}:  # at its regular times and no other
            return {}
        return dict(way for name, way in ways.items() if name in self._only)

    def _note(self, text: str) -> None:
        self.faults.append(Fault(time.time_ns() // 1_000_000, text))
        self.counts[text.split(maxsplit=1)[0]] += 1

    def _running(self) -> list[str]:
        return [
            name
            for name, member in self._stack.members.items()
            if member.process.code is None and not member.stalled
        ]

    def _kill(self) -> str | None:
        names = self._running()
        if not names:
            return None
        name = self._rng.choice(names)
        self._stack.members[name].kill(self._rng.random())
        return f"killed {name}"

    def _kill_child(self) -> str | None:
        children = [
            (name, pid)
            for name in ("worker-1", "worker-2")
            for pid in self._stack.members[name].process.children()
        ]
        if not children:
            return None
        name, pid = self._rng.choice(children)
        try:
            kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return None
        return f"killed a child of {name}"

    def _kill_broker(self) -> str | None:
        if not self._stack.whole:
            return None
        self._stack.broker.kill()
        self._stack.broker_back_at = time.monotonic() + 1.5 * self._rng.random()
        return "killed the broker"

    def _silence_broker(self) -> str | None:
        if not self._stack.whole:
            return None
        self._stack.broker.kill()
        self._stack.broker_back_at = time.monotonic() + self._outage
        return f"silenced the broker for {self._outage:g} s"

    def _roll(self) -> str | None:
        """Ask every process to end, one after another; each is started again, as a new release would be."""
        if self._rolling:
            return None
        self._rolling = list(self._stack.members)
        return "rolled every process"

    def _roll_on(self) -> None:
        """Ask the next one once nobody is on the way down."""
        if not self._rolling:
            return
        with self._stack.lock:
            members = self._stack.members
            if any(each.leaving or each.process.code is not None for each in members.values()):
                return
            member = members[self._rolling.pop(0)]
            if not member.stalled:
                member.leave()
                self._note(f"asked {member.name} to end")

    def _flush_regularly(self) -> None:
        if time.monotonic() >= self._flush_due:
            with self._stack.lock:
                told = self._flush()
            if told is not None:
                self._flush_due = time.monotonic() + FLUSHED_EVERY
                self._note(told)

    def _flush(self) -> str | None:
        return "flushed the broker" if self._stack.whole and self._stack.flush() else None

    def _stall(self) -> str | None:
        """Stop processes for longer than their leases last; then they go on, as if nothing had been."""
        names = self._running()
        if not names:
            return None
        workers = [name for name in names if name.startswith("worker")]
        chosen = workers if workers and self._rng.random() < 0.3 else [self._rng.choice(names)]
        seconds = self._lease * (1.2 + 0.8 * self._rng.random())
        for name in chosen:
            self._stack.members[name].stall(on=True)
            self._calm.append((time.monotonic() + seconds, name))
        return f"stalled {' and '.join(chosen)} for {seconds:.1f} s"

    def _wake(self) -> None:
        for at, name in list(self._calm):
            if time.monotonic() >= at:
                self._calm.remove((at, name))
                with self._stack.lock:
                    member = self._stack.members[name]
                    if member.stalled and member.process.code is None:
                        member.stall(on=False)
                        self._note(f"woke {name}")

    def _reorder(self) -> str | None:
        if not self._stack.whole:
            return None
        count = self._stack.reorder(self._rng, 20)
        return f"reordered {count} messages" if count else None

    def _late(self) -> str | None:
        """Refer to segments of old executions, most of which are over."""
        late = [(each, self._rng.randint(0, 12), "") for each in self._load.old(100)]
        if not self._stack.whole or not self._stack.send(late):
            return None
        return f"repeated {len(late)} late messages"

    def _double(self) -> None:
        """Refer to segments of young executions several times at once, whatever state they are in."""
        young = self._load.young(12)
        chosen = [each for each in young if self._rng.random() < 0.5]
        references = [
            (execution, segment, "")
            for execution in chosen
            for segment in {0, self._rng.randint(0, 6)}
            for _ in range(self._rng.randint(2, 5))
        ]
        if references and self._stack.whole and self._stack.send(references):
            self.counts["doubled"] += len(references)

    def _freeze(self, server: Server, name: str) -> str | None:
        """Let a server stand still for longer than leases last: connections stay open, and nobody answers."""
        if not self._stack.whole:
            return None
        seconds = self._lease * (1.2 + 0.8 * self._rng.random())
        self._stack.freeze(server)
        self._thaw_at = time.monotonic() + seconds
        return f"froze the {name} for {seconds:.1f} s"

    def _thaw(self) -> None:
        if self._stack.frozen is not None and time.monotonic() >= self._thaw_at:
            with self._stack.lock:
                self._stack.thaw()
            self._note("thawed it")

    def _cut_database(self) -> str | None:
        """Break off every conversation with the database."""
        if not self._stack.whole:
            return None
        with psycopg.connect(self._stack.settings.database_url, autocommit=True) as connection:
            found = connection.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchone()
        return f"cut {found[0] if found else 0} connections of the database"

    def _restart_database(self) -> str | None:
        if self._stack.postgres is None or not self._stack.whole:
            return None
        self._stack.postgres.restart()
        return "killed the database"
