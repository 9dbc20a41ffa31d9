from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from celeriac.duration import rfc3339
from engine import operations as op
from engine.catalog import Versions
from engine.triggers import scheduler, schedules
from engine.triggers.turns import AT_ONCE
from tests.builders import document, node
from tests.workbench import NOW, Workbench

PAUSE = node("pause", "wait", {"for": "1d"})
MINUTE = 60_000
FIRST = NOW - NOW % MINUTE + MINUTE
"""The first slot of an interval of a minute."""


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    made = Workbench(tmp_path)
    yield made
    made.close()


def scheduled(
    bench: Workbench, *nodes: dict[str, Any], body: dict[str, Any] | None = None, **config: Any
) -> str:
    """Save a workflow that the clock starts, each minute if nothing else is said; return the id of its schedule."""
    trigger = {"type": "schedule", "id": "often", "config": {"every": "1m", **config}}
    bench.push(document(list(nodes) or [PAUSE], trigger=trigger, **(body or {})))
    ((name,),) = bench.query("SELECT id FROM schedule")
    return str(name)


def tick(bench: Workbench, seconds: float) -> None:
    bench.clock.move(seconds)
    bench.poller().tick()


def slots(bench: Workbench) -> list[tuple[int, str]]:
    """What became of the slots, counted from the first."""
    rows = bench.query("SELECT key, status FROM inbox ORDER BY key")
    return [((int(key) - FIRST) // MINUTE, status) for key, status in rows]


def executions(bench: Workbench) -> list[str]:
    return [name for (name,) in bench.query("SELECT id FROM execution ORDER BY created_at, id")]


async def test_a_slot_starts_an_execution_that_knows_what_started_it(bench: Workbench) -> None:
    config = {"expression": "[kind, trigger.type, trigger.id, trigger.schedule, trigger.scheduled_at]"}
    name = scheduled(bench, node("a", "transform", config), payload={"kind": "night"})
    tick(bench, 30)
    tick(bench, 31)
    (execution,) = executions(bench)
    await bench.carry()
    assert bench.output(execution) == {"a": ["night", "schedule", "often", name, rfc3339(FIRST)]}
    assert slots(bench) == [(0, "started")]
    assert bench.query("SELECT last_slot, slot, due, epoch FROM schedule") == [
        (FIRST, FIRST + MINUTE, FIRST + MINUTE, 1)
    ]


@pytest.mark.parametrize(
    ("overlap", "statuses", "count"),
    [
        ("skip", ["started", "refused", "refused", "refused"], 1),
        ("buffer_one", ["started", "started", "coalesced", "coalesced"], 2),
        ("buffer_all", ["started", "started", "started", "started"], 4),
        ("cancel_other", ["started", "started", "started", "started"], 4),
        ("allow", ["started", "started", "started", "started"], 4),
    ],
)
async def test_what_is_under_way_decides_with_the_overlap(
    bench: Workbench, overlap: str, statuses: list[str], count: int
) -> None:
    scheduled(bench, overlap=overlap)
    for _ in range(4):
        tick(bench, 60)
        await bench.carry()
    assert [status for _, status in slots(bench)] == statuses
    names = executions(bench)
    assert len(names) == count
    if overlap == "cancel_other":
        tick(bench, 1)
        await bench.carry()
        assert [bench.status(name) for name in names] == ["cancelled"] * 3 + ["waiting"]
    elif overlap == "allow":
        assert bench.query("SELECT count(*) FROM hold") == [(0,)]
    else:
        held = bench.query("SELECT execution_id FROM hold WHERE granted = 1")
        assert held == [(names[0],)]
        waiting = bench.query("SELECT count(*) FROM segment WHERE reason = 'limit'")
        assert waiting == [(count - 1,)]


async def test_what_was_buffered_starts_when_the_one_before_has_ended(bench: Workbench) -> None:
    scheduled(bench, overlap="buffer_all")
    for _ in range(3):
        tick(bench, 60)
        await bench.carry()
    first, second, third = executions(bench)
    bench.ask(op.Cancel(first, bench.clock.now()))
    tick(bench, 1)
    await bench.carry()
    held = bench.query("SELECT execution_id, granted FROM hold ORDER BY execution_id")
    assert held == [(second, 1), (third, 0)]


def test_a_concurrency_of_the_workflows_own_decides_instead(bench: Workbench) -> None:
    scheduled(
        bench, body={"concurrency": {"key": "mine", "limit": 2, "strategy": "reject"}}, overlap="buffer_all"
    )
    for _ in range(3):
        tick(bench, 60)
    assert [status for _, status in slots(bench)] == ["started", "started", "refused"]
    assert bench.query("SELECT DISTINCT key FROM hold") == [("mine",)]


@pytest.mark.parametrize(
    ("misfire", "expected"),
    [
        ("skip", [60]),
        ("latest", [60]),
        ({"policy": "latest", "grace": "30s"}, [60]),
        ({"policy": "skip", "grace": "10m"}, [*range(51, 61)]),
        ({"policy": "all", "max": 5}, [*range(55, 61)]),
        ({"policy": "all", "max": 1000}, [*range(61)]),
    ],
)
def test_what_was_missed_is_made_up_for_as_the_policy_says(
    bench: Workbench, misfire: Any, expected: list[int]
) -> None:
    scheduled(bench, overlap="allow", misfire=misfire)
    bench.clock.ms = FIRST + 60 * MINUTE
    for _ in range(3):
        bench.poller().tick()
    assert [slot for slot, _ in slots(bench)] == expected


@pytest.mark.parametrize(("misfire", "expected"), [("skip", []), ("latest", [0]), ("all", [0])])
def test_a_slot_that_alone_was_missed(bench: Workbench, misfire: str, expected: list[int]) -> None:
    scheduled(bench, every="1d", misfire=misfire)
    ((slot,),) = bench.query("SELECT slot FROM schedule")
    bench.clock.ms = slot + 3_600_000
    bench.poller().tick()
    assert len(executions(bench)) == len(expected)


def test_a_long_outage_costs_no_more_than_what_is_made_up_for(bench: Workbench) -> None:
    scheduled(bench, every=1, overlap="allow", misfire={"policy": "all", "max": AT_ONCE + 10})
    bench.clock.move(10 * 365 * 86_400)
    now = bench.clock.now()
    poller = bench.poller()
    for _ in range(4):
        poller.tick()
    found = sorted(int(key) for (key,) in bench.query("SELECT key FROM inbox"))
    assert len(found) == AT_ONCE + 10 + 60
    assert found[-1] == now
    assert len(executions(bench)) == len(found)


def test_jitter_delays_a_slot_always_by_the_same_and_keeps_its_name(bench: Workbench) -> None:
    scheduled(bench, jitter="50s")
    ((slot, due),) = bench.query("SELECT slot, due FROM schedule")
    assert slot == FIRST
    assert slot < due <= slot + 50_000
    bench.clock.ms = due - 1
    bench.poller().tick()
    assert executions(bench) == []
    assert bench.poller().tick() <= 0.001
    bench.clock.ms = due
    bench.poller().tick()
    assert slots(bench) == [(0, "started")]


def test_a_poller_wakes_for_the_next_slot(bench: Workbench) -> None:
    scheduled(bench)
    bench.clock.ms = FIRST - 40
    assert bench.poller().tick() == pytest.approx(0.04)


def test_what_does_not_fit_the_workflow_is_written_down_and_the_next_slot_is_tried(bench: Workbench) -> None:
    body = {"inputs": {"type": "object", "required": ["day"]}}
    scheduled(bench, body=body)
    tick(bench, 60)
    tick(bench, 60)
    assert [status for _, status in slots(bench)] == ["failed", "failed"]
    ((detail,),) = bench.query("SELECT detail FROM inbox LIMIT 1")
    assert json.loads(detail)["code"] == "input.invalid"
    assert executions(bench) == []


def test_slots_of_a_disabled_workflow_pass_without_a_trace(bench: Workbench) -> None:
    scheduled(bench)
    bench.connection.run("UPDATE workflow SET enabled = 0")
    for _ in range(3):
        tick(bench, 60)
    assert slots(bench) == []
    bench.connection.run("UPDATE workflow SET enabled = 1")
    tick(bench, 60)
    assert slots(bench) == [(3, "started")]


def test_a_schedule_ends_with_its_time(bench: Workbench) -> None:
    scheduled(bench, end=rfc3339(FIRST + 2 * MINUTE), overlap="allow")
    for _ in range(4):
        tick(bench, 60)
    assert slots(bench) == [(0, "started"), (1, "started")]
    assert bench.query("SELECT slot, due FROM schedule") == [(None, None)]


def test_whoever_read_a_schedule_before_it_was_changed_does_nothing(bench: Workbench) -> None:
    name = scheduled(bench)
    bench.clock.ms = FIRST
    (found,) = scheduler.due(bench.connection, Versions(), FIRST)
    asked = scheduler.arrive(bench, found, FIRST)
    bench.ask(schedules.pause(name, "", FIRST))
    assert bench.ask(asked) is None
    assert executions(bench) == []


def test_one_that_cannot_be_read_keeps_no_other_from_its_slot(
    bench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    scheduled(bench, overlap="allow")
    bench.ask(schedules.add("sched_z", "w", "broken", {"every": 60}, bench.clock.now()))
    bench.connection.run("UPDATE schedule SET slot = NULL WHERE id = 'sched_z'")
    tick(bench, 60)
    assert slots(bench) == [(0, "started")]
    assert "A part of the poller's work failed" in caplog.text
