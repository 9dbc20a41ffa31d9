"""`python -m tests.moved SECONDS MODULE [ARGUMENT...]` runs a module in a process whose database tells a moved time.

What an installation does at an instant to come is seen by letting it live there. Clocks of the machine and of the
database's server stay as they are: it is their answer that is moved, and what a process counts from before it has asked.
"""

from __future__ import annotations

import runpy
import sys
from typing import Any

from engine.clock import SystemClock
from engine.store.database import PostgresConnection, SqliteConnection


def move(seconds: float) -> None:
    """Move the time of this process."""
    by = round(seconds * 1000)
    for kind in (SqliteConnection, PostgresConnection):
        kind.now = _later(kind.now, by)  # type: ignore[method-assign]
    begin = SystemClock.__init__

    def begin_later(self: SystemClock, now: int | None = None) -> None:
        begin(self, now)
        if now is None:
            base, counted_from, least = self._since
            self._since = (base + by, counted_from, least + by)

    SystemClock.__init__ = begin_later  # type: ignore[method-assign]


def _later(now: Any, by: int) -> Any:
    return lambda connection: now(connection) + by


if __name__ == "__main__":
    move(float(sys.argv[1]))
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
