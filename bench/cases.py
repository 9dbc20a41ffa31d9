"""The case table: what is measured, how often, and what it has to reach."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Way = Literal["burst", "serial", "clients", "memory", "door"]
Submit = Literal["in-process batch", "API"]

IN_PROCESS: Submit = "in-process batch"
API: Submit = "API"


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table. `ways`: all submitted at once, one at a time, by some clients at once; memory at rest; or through
    the door, which stands beside a bare FastAPI application and not beside Celery.

    `executions` and `baseline` count executions in a run, of ours and of the raw canvas; `trial` those that each kind of
    Celery pool runs first, so that the better one is measured (0: the prefork pool is). `target` is in the unit of the case.
    """

    name: str
    title: str
    shape: str
    way: Way
    unit: str
    executions: int
    baseline: int
    trial: int = 0
    target: float | None = None
    target_p99: float | None = None
    submit: Submit = IN_PROCESS
    python: bool = False
    stacks: tuple[str, ...] = ()
    """Those it is measured on; all of them when there is none."""
    repeats: bool = True

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger figure is the better one."""
        return self.unit.endswith("/s")


def _door(
    name: str,
    title: str,
    unit: str,
    count: int,
    target: float,
    target_p99: float | None = None,
    *,
    stacks: tuple[str, ...] = (),
    repeats: bool = True,
) -> Case:
    return Case(
        name,
        title,
        "pure_3",
        "door",
        unit,
        count,
        count,
        0,
        target,
        target_p99,
        API,
        stacks=stacks,
        repeats=repeats,
    )


CASES: tuple[Case, ...] = (
    Case("memory", "the whole idle installation", "pure_10", "memory", "MB", 1, 1, target=200, submit=API),
    Case("W1-pure-300", "10 pure nodes, 300 at once", "pure_10", "burst", "executions/s", 300, 300, 20, 2000),
    Case("W1-pure-5000", "the same, 5,000 at once", "pure_10", "burst", "executions/s", 5000, 100, 20, 5000),
    Case("W1-effects", "10 keyed effects, 300 at once", "effects_10", "burst", "executions/s", 300, 100, 20, 800),
    Case("W2", "1 -> 50 -> 1, 100 at once", "fan_50", "burst", "executions/s", 100, 20, 4, 200),
    Case("W2-idle", "1 -> 50 -> 1, one at a time", "fan_50", "serial", "ms", 40, 20, 4, 10),
    Case("W3", "1 -> 1,000 -> 1, one at a time", "fan_1000", "serial", "ms", 2, 1, 1),
    Case("W6a", "40 x fibonacci(10) in a row", "fibonacci_10", "serial", "ms", 20, 10, 3, 20, python=True),
    Case(
        "W6b", "10 x fibonacci(33) in a row", "fibonacci_33", "serial", "x Python", 1, 1, target=1.02, python=True
    ),
    Case("idle", "10 pure nodes, one at a time", "pure_10", "serial", "ms", 150, 50, 20, 4, 15),
    Case("idle-api", "the same over HTTP, 1 client", "pure_10", "serial", "ms", 150, 50, 20, 4, 15, API),
    Case(
        "clients-api", "3 pure nodes over HTTP, 16 clients", "pure_3", "clients", "executions/s", 800, 200, 20, 1500,
        30, API,
    ),
    _door("door-accept", "webhooks accepted durably, 16 clients", "requests/s", 1000, 2500),
    _door("door-answer", "webhooks of 3 nodes, answered with the result, 16 clients", "requests/s", 800, 1500, 30),
    _door("door-answer-idle", "the same, 1 client", "ms", 150, 4),
    _door("door-health", "p99 of /healthz while 500 requests/s run", "ms", 1, 50),
    _door("door-reads", "p99 of reads while 500 requests/s run", "ms", 1, 100),
    _door("door-sockets", "1,000 WebSockets, each hears all of 20 executions/s", "MB", 1, 300, repeats=False),
    _door("door-page", "a page of 50 among 1,000,000 executions", "ms", 200, 20, stacks=("postgresql",)),
)  # fmt: skip


class UnknownCase(Exception):
    """A name that is in no line of the table."""


def chosen(names: Sequence[str], cases: Sequence[Case] = CASES) -> list[Case]:
    """Return the named cases in the order of the table; the beginning of names means all of them. None names all."""
    meant = {each.name for name in names for each in _meant(name, cases)}
    return [each for each in cases if not names or each.name in meant]


def _meant(name: str, cases: Sequence[Case]) -> list[Case]:
    wanted = name.casefold()
    found = [each for each in cases if each.name.casefold() == wanted]
    found = found or [each for each in cases if each.name.casefold().startswith(wanted)]
    if not found:
        names = [each.name for each in cases]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        message = f"There is no case {name!r}.{hint} There are: {', '.join(names)}."
        raise UnknownCase(message)
    return found
