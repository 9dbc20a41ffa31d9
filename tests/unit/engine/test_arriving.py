from __future__ import annotations

from typing import Any

import pytest

from engine import operations as op
from engine.holds import Concurrency
from engine.settings import DEFAULT_PROJECT
from tests.builders import document, node
from tests.workbench import NOW, Workbench


class Door:
    """Somewhere to arrive at."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.active = bench.push(document([node("a")]))
        self._count = 0

    def start(self, **more: Any) -> op.Start:
        self._count += 1
        active = self.active
        return op.Start(
            f"exec_{self._count}",
            DEFAULT_PROJECT,
            active.workflow,
            active.version,
            "default",
            NOW,
            op.Payload("{}"),
            "{}",
            **more,
        )

    def arrival(self, key: str, *starts: op.Start, **more: Any) -> op.Arrival:
        return op.Arrival("door", key, DEFAULT_PROJECT, NOW, starts, **more)

    def inbox(self) -> list[tuple[Any, ...]]:
        return self.bench.query("SELECT key, status, execution_id FROM inbox ORDER BY key")


@pytest.fixture
def door(bench: Workbench) -> Door:
    return Door(bench)


def test_what_arrives_first_starts_and_what_comes_again_is_answered_alike(door: Door) -> None:
    (first,) = door.bench.ask(op.Arrive((door.arrival("k", door.start()),)))
    assert (first.new, first.status, first.execution) == (True, "started", "exec_1")
    assert [each.new for each in first.started] == [True]
    (again,) = door.bench.ask(op.Arrive((door.arrival("k", door.start()),)))
    assert again == op.Arrived(new=False, status="started", execution="exec_1")
    assert door.bench.query("SELECT id FROM execution") == [("exec_1",)]


def test_the_same_twice_in_one_transaction_counts_once(door: Door) -> None:
    asked = [op.Arrive((door.arrival("k", door.start()),)) for _ in range(3)]
    answers = [each[0] for each in door.bench.step(*asked)]
    assert [each.new for each in answers] == [True, False, False]
    assert {each.execution for each in answers} == {"exec_1"}
    (both,) = door.bench.step(op.Arrive((door.arrival("l", door.start()), door.arrival("l", door.start()))))
    assert [each.new for each in both] == [True, False]
    assert door.inbox() == [("k", "started", "exec_1"), ("l", "started", "exec_4")]


def test_one_arrival_may_start_several(door: Door) -> None:
    (arrived,) = door.bench.ask(op.Arrive((door.arrival("k", door.start(), door.start()),)))
    assert [each.execution for each in arrived.started] == ["exec_1", "exec_2"]
    assert arrived.execution == "exec_1"


def test_what_a_limit_refuses_is_written_down_and_may_come_again(door: Door) -> None:
    limit = Concurrency("k", 1, "reject")
    asked = [op.Arrive((door.arrival(key, door.start(concurrency=limit)),)) for key in "ab"]
    first, second = (each[0] for each in door.bench.step(*asked))
    assert (first.status, second.status, second.execution) == ("started", "refused", None)
    assert second.detail == '{"code": "limit.rejected"}'
    assert door.inbox() == [("a", "started", "exec_1"), ("b", "refused", None)]
    (again,) = door.bench.ask(op.Arrive((door.arrival("b", door.start()),)))
    assert (again.new, again.execution) == (True, "exec_3")
    assert door.inbox() == [("a", "started", "exec_1"), ("b", "started", "exec_3")]


def test_what_another_execution_stands_for_names_that_one(door: Door) -> None:
    limit = Concurrency("k", 1, "coalesce")
    asked = [op.Arrive((door.arrival(key, door.start(concurrency=limit)),)) for key in "abc"]
    statuses = [(each[0].status, each[0].execution) for each in door.bench.step(*asked)]
    assert statuses == [("started", "exec_1"), ("started", "exec_2"), ("coalesced", "exec_2")]
    assert door.inbox()[2] == ("c", "coalesced", "exec_2")


def test_what_starts_nothing_is_written_down_with_the_reason(door: Door) -> None:
    (arrived,) = door.bench.ask(op.Arrive((door.arrival("k", status="failed", detail="{}"),)))
    assert (arrived.new, arrived.status, arrived.execution, arrived.detail) == (True, "failed", None, "{}")
    (again,) = door.bench.ask(op.Arrive((door.arrival("k", door.start()),)))
    assert (again.new, again.status) == (True, "started")


def test_starts_beside_arrivals_are_answered_in_their_places(door: Door) -> None:
    limit = Concurrency("k", 1, "reject")
    asked = [
        door.start(concurrency=limit),
        op.Arrive((door.arrival("a", door.start(concurrency=limit)),)),
        door.start(),
    ]
    first, (arrived,), last = door.bench.step(*asked)
    assert (first.execution, first.new) == ("exec_1", True)
    assert arrived.status == "refused"
    assert (last.execution, last.new) == ("exec_3", True)


def test_a_schedule_that_was_moved_on_meanwhile_takes_nothing_in(door: Door) -> None:
    door.bench.connection.run(
        "INSERT INTO schedule (id, project_id, workflow_id, name, origin, kind, spec, epoch, created_at, updated_at) "
        "VALUES ('s', 'p', 'w', 'n', 'api', 'schedule', '{}', 4, 0, 0)"
    )
    late = op.Arrive((door.arrival("k", door.start()),), op.Move("s", 3, 5, 5))
    gone = op.Arrive((door.arrival("k", door.start()),), op.Move("t", 3, 5, 5))
    right = op.Arrive((), op.Move("s", 4, 5, 6, 4))
    twice = op.Arrive((door.arrival("k", door.start()),), op.Move("s", 4, 9, 9))
    assert door.bench.step(late, gone) == [None, None]
    assert door.bench.step(right, twice) == [(), None]
    assert door.bench.query("SELECT epoch, slot, due, last_slot FROM schedule") == [(5, 5, 6, 4)]
    assert door.inbox() == []
