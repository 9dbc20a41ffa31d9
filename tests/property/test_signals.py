"""Whoever publishes, listens, calls and lets time pass, in whatever order: nothing is overlooked, and nothing counts twice."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from engine import operations as op
from engine.settings import DEFAULT_PROJECT
from tests.builders import document, node
from tests.workbench import NOW, Workbench

TYPES = ("paid", "refused")
BODY = document([node(f"w{number}", "wait", {"event": {"type": "paid"}}) for number in range(3)])
NUMBERS = count()
SEEDS = int(os.environ.get("CELERIAC_TEST_SEEDS", "40"))

OVERLOOKED = (
    "SELECT b.execution_id, b.segment, l.id FROM subscription b JOIN event_log l ON l.type = b.event "
    f"AND l.correlation = b.correlation WHERE b.kind = 'event' AND b.transient = 0 AND l.at >= {NOW} AND NOT EXISTS "
    "(SELECT 1 FROM signal g WHERE g.execution_id = b.execution_id AND g.event_id = l.id)"
)
TWICE = (
    "SELECT execution_id, event_id FROM signal WHERE event_id IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1"
)
ASLEEP = (
    "SELECT g.execution_id FROM signal g JOIN segment s ON s.execution_id = g.execution_id AND s.segment = g.segment "
    "AND s.item = g.item WHERE s.status = 'waiting'"
)
DEAF = (
    "SELECT s.execution_id FROM segment s WHERE s.status = 'waiting' AND NOT EXISTS (SELECT 1 FROM subscription b "
    "WHERE b.execution_id = s.execution_id AND b.segment = s.segment AND b.item = s.item)"
)
WRONG = (OVERLOOKED, TWICE, ASLEEP, DEAF)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    made = Workbench(tmp_path)
    yield made
    made.close()


class Crowd:
    """Draws what people, programs and workers ask."""

    def __init__(self, bench: Workbench, rng: random.Random) -> None:
        self._bench = bench
        self._rng = rng
        active = bench.push(BODY)
        self.executions = [bench.start(active) for _ in range(2)]
        for each in self.executions:
            bench.ask(op.Settle(each, 0, "", 0, pure=True, now=NOW, taken=(True, True, True)))

    def draw(self) -> op.Operation:
        bench, rng = self._bench, self._rng
        now = bench.clock.now()
        execution = rng.choice(self.executions)
        rows = bench.query(
            "SELECT segment, epoch FROM segment WHERE execution_id = ? AND segment > 0 ORDER BY 1", execution
        )
        segment, epoch = rng.choice(rows)
        match rng.choice("rrrppsw"):
            case "r":
                return self._rest(execution, segment, epoch, now)
            case "p":
                key = str(rng.randint(0, 5)) if rng.random() < 0.3 else None
                name = f"evt_{next(NUMBERS):06}"
                return op.Publish(
                    name, DEFAULT_PROJECT, rng.choice(TYPES), "", now, now + 10**9, source="s", key=key
                )
            case "s":
                return op.Signal(execution, segment, "", rng.choice(("called", "odd")), "callback", now)
            case _:
                return op.Wake(execution, ((segment, ""),), now)

    def _rest(self, execution: str, segment: int, epoch: int, now: int) -> op.Rest:
        rng = self._rng
        found = [op.Subscription(each, "event", each, "", NOW, rng.random() < 0.2) for each in TYPES]
        found.append(op.Subscription("called", "callback"))
        timed = rng.random() < 0.5
        found += [op.Subscription("late", "time")] if timed else []
        return op.Rest(
            execution,
            segment,
            "",
            epoch,
            pure=True,
            now=now,
            project=DEFAULT_PROJECT,
            again=epoch > 0,
            due=now + rng.randint(0, 3_000) if timed else None,
            subscriptions=tuple(found[rng.randint(0, 1) :]),
        )


@pytest.mark.parametrize("block", range(4))
def test_nothing_is_overlooked_and_nothing_counts_twice(bench: Workbench, block: int) -> None:
    for seed in range(block, SEEDS, 4):
        _empty(bench)
        rng = random.Random(seed)
        crowd = Crowd(bench, rng)
        for turn in range(25):
            bench.clock.move(rng.choice([0.0, 0.001, 1.0]))
            work = [crowd.draw() for _ in range(rng.randint(1, 4))]
            before = {row[:3]: row for row in bench.query("SELECT * FROM signal") if row[4] != "odd"}
            answers = bench.step(*work)
            where = (seed, turn, work)
            assert [each for each in answers if isinstance(each, BaseException)] == [], where
            for wrong in WRONG:
                assert bench.query(wrong) == [], where
            after = {row[:3]: row for row in bench.query("SELECT * FROM signal")}
            assert {key: after.get(key) for key in before} == before, where


def _empty(bench: Workbench) -> None:
    for table in ("signal", "subscription", "event_log", "segment", "execution", "event"):
        bench.connection.run(f"DELETE FROM {table}")
    bench.clock.ms = NOW
