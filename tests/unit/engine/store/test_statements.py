"""Every statement of the hot path looks rows up by an index, on SQLite; PostgreSQL is told to."""

from __future__ import annotations

import importlib
import re

import pytest

from engine import poller
from engine.store import statements
from engine.store.sql import Batched, Insert
from tests.workbench import Workbench

BATCHED = {name: each for name, each in vars(statements).items() if isinstance(each, Batched)}
INSERTS = {name: each for name, each in vars(statements).items() if isinstance(each, Insert)}
TABLES = re.compile(r"SCAN (?!r\b|json_each\b|value\b)(\w+)")


def plan_of(bench: Workbench, sql: str, count: int) -> str:
    rows = bench.query(f"EXPLAIN QUERY PLAN {sql}", *["[]"] * count)
    return "\n".join(row[3] for row in rows)


@pytest.mark.parametrize("name", BATCHED)
def test_a_batch_never_reads_a_whole_table(bench: Workbench, name: str) -> None:
    assert TABLES.findall(plan_of(bench, BATCHED[name].for_sqlite, 1)) == []


def poller_queries() -> list[str]:
    return [poller._OVERDUE, poller._LATE, poller._OWNERS, poller._DEADLINES, *poller._TIMERS, *poller._NEXT]


@pytest.mark.parametrize("sql", poller_queries())
def test_a_round_of_the_poller_never_reads_a_whole_table(bench: Workbench, sql: str) -> None:
    plan = plan_of(bench, sql, sql.count("?"))
    assert TABLES.findall(plan) == []
    assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("name", INSERTS)
def test_an_insertion_names_columns_that_are_there(bench: Workbench, name: str) -> None:
    statement = INSERTS[name]
    plan_of(bench, statement.for_sqlite, len(statement.columns))


def test_a_planted_bug_takes_the_fence_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERIAC_TEST", "1")
    monkeypatch.setenv("CELERIAC_BUG", "no_fence")
    try:
        changed = importlib.reload(statements)
        assert "epoch = r.epoch" not in changed.FENCE.text
    finally:
        monkeypatch.undo()
        importlib.reload(statements)
    assert "epoch = r.epoch" in statements.FENCE.text
