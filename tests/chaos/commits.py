"""`python3 dev.py chaos --commits 1000`: a process that writes into a SQLite file is killed at a random moment, again and again.

Several threads of it accept executions, so that commits follow each other without a break and hold several each. Whoever was
told that an execution is accepted has to find it afterwards, and the file has to be whole.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from engine import admission, catalog, runtime
from engine.settings import Settings
from engine.store.database import open_database
from engine.verify import verify
from tests.builders import document, environment, node, prepared

WRITERS = 4
LONGEST = 0.02
"""Seconds after the first answer within which the process is killed. A commit takes two or three milliseconds."""


@dataclass(slots=True)
class Tally:
    """What came of some deaths."""

    deaths: int = 0
    answered: int = 0
    lost: int = 0
    broken: int = 0
    unanswered: int = 0
    """Executions that are there though nobody was told so: their commit was through when the process died."""

    violations: list[str] = field(default_factory=list)
    """What is wrong with the rows that are left."""

    @property
    def good(self) -> bool:
        """Whether nothing was lost, in files that are whole."""
        wrong = self.lost or self.broken or self.violations
        return self.deaths > 0 and self.answered > 0 and not wrong


def _write(settings: Settings, prefix: str, out: int) -> None:
    """Accept executions until somebody ends this process. Tells the key of each that is accepted."""
    at = runtime.assemble(settings, poll=False)
    active = at.reader.ask(lambda connection: catalog.active(connection, "written"))

    def accept(writer: int) -> None:
        count = 0
        while True:
            count += 1
            key = f"{prefix}-{writer}-{count}"
            at.ledger.ask(
                admission.operation(at, admission.Request(active, {"n": count}, idempotency_key=key))
            )
            os.write(out, f"{key}\n".encode())

    for writer in range(WRITERS):
        threading.Thread(target=accept, args=(writer,), daemon=True).start()
    threading.Event().wait()


def die(settings: Settings, prefix: str, rng: random.Random) -> list[str]:
    """Have a process write, and kill it. Returns what it told."""
    back, out = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(back)
        try:
            _write(settings, prefix, out)
        finally:
            os._exit(1)
    os.close(out)
    with open(back, "rb") as told:  # noqa: PTH123  # a pipe
        first = told.readline()
        time.sleep(rng.uniform(0, LONGEST))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        # The last line may be half of one.
        return [line.decode().strip() for line in (first, *told) if line.endswith(b"\n")]


def carry_out(count: int, seed: int = 1) -> Tally:
    """Have `count` processes die, one after another, over the same file."""
    rng, tally = random.Random(seed), Tally()
    with tempfile.TemporaryDirectory(prefix="clrk-", dir="/tmp") as folder:
        settings = prepared(environment(Path(folder), "memory://"))
        at = runtime.assemble(settings, poll=False)
        definition = {**document([node("a", "noop")]), "name": "written"}
        at.ledger.ask(catalog.push(definition, at.registry, at.clock))
        at.close()
        for number in range(count):
            told = die(settings, f"d{number}", rng)
            with closing(sqlite3.connect(Path(folder) / "celeriac.db")) as connection:
                look = "SELECT idempotency_key FROM execution WHERE idempotency_key LIKE ?"
                there = {key for (key,) in connection.execute(look, (f"d{number}-%",))}
                whole = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            tally.deaths += 1
            tally.answered += len(told)
            tally.lost += len(set(told) - there)
            tally.unanswered += len(there - set(told))
            tally.broken += not whole
        with closing(open_database(settings).connect()) as connection:
            tally.violations = [f"{each.invariant}: {each.text}" for each in verify(connection).violations]
    return tally


def main(count: int, seed: int) -> int:
    begun = time.monotonic()
    tally = carry_out(count, seed)
    print(
        f"{tally.deaths} deaths: {tally.answered} answers, {tally.lost} lost, {tally.broken} files broken; "
        f"{tally.unanswered} were accepted without an answer; "
        f"{len(tally.violations)} invariants broken in the rows that are left; {time.monotonic() - begun:.0f} s"
    )
    for each in tally.violations:
        print(f"  {each}")
    return 0 if tally.good else 1
