from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.duration import rfc3339
from engine import operations as op
from engine.catalog import Versions
from engine.triggers import events, schedules
from engine.triggers.events import LONGEST_CHAIN, Event, types
from engine.triggers.publishing import publish
from tests.builders import document, edges, node
from tests.workbench import NOW, Workbench

ECHO = node("a", "transform", {"expression": "[trigger.type, trigger.event, trigger.payload]"})


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    made = Workbench(tmp_path)
    yield made
    made.close()


def waiting(
    bench: Workbench, *nodes: dict[str, Any], name: str = "w", more: Any = None, **config: Any
) -> None:
    trigger = {"type": "event", "id": "heard", "config": {"type": "order.paid", **config}}
    bench.push(document(list(nodes) or [ECHO], name=name, trigger=trigger, **(more or {})))


async def say(
    bench: Workbench, type_: str = "order.paid", data: Any = None, key: str | None = None, **more: Any
) -> Any:
    event = Event(bench.clock.mint("evt"), type_, data, **more)
    at: Any = SimpleNamespace(settings=bench.settings, clock=bench.clock, ledger=bench, reader=bench)
    published, ready = await publish(at, Versions(), event, (op.Payload(json.dumps(data)), None), key=key)
    bench.outlet.send_all(ready)
    return published


def executions(bench: Workbench) -> list[str]:
    return [name for (name,) in bench.query("SELECT id FROM execution ORDER BY created_at, id")]


async def test_an_event_starts_the_workflows_that_wait_for_its_type(bench: Workbench) -> None:
    waiting(bench)
    waiting(bench, name="other", type="order.refunded")
    published = await say(bench, data={"sum": 3}, source="/shop", subject="7")
    assert [each.status for each in published.arrived] == ["started"]
    (execution,) = executions(bench)
    await bench.carry()
    about = {"id": published.id, "type": "order.paid", "source": "/shop", "subject": "7"}
    assert bench.output(execution) == {"a": ["event", about, {"sum": 3}]}


async def test_an_id_starts_once_however_often_it_is_published(bench: Workbench) -> None:
    waiting(bench)
    first = await say(bench, key="1", source="/shop")
    again = await say(bench, key="1", source="/shop")
    other = await say(bench, key="1", source="/bank")
    assert (first.new, again.new, other.new) == (True, False, True)
    assert again.arrived == ()
    assert len(executions(bench)) == 2


async def test_the_same_twice_in_one_transaction_starts_once(bench: Workbench) -> None:
    waiting(bench)
    asked = []
    for _ in range(2):
        event = Event(bench.clock.mint("evt"), "order.paid")
        found = events.listeners(bench.connection, Versions(), "order.paid")
        arrivals, _ = events.follows(bench, event, found, NOW)
        asked.append(
            op.Publish(event.id, "proj_default", event.type, "", NOW, NOW + 1000, key="k", arrivals=arrivals)
        )
    first, second = bench.step(*asked)
    assert sorted([first.new, second.new]) == [False, True]
    assert (first.id, len(executions(bench))) == (second.id, 1)


def test_types_have_stars_at_their_ends() -> None:
    assert types("a.b.c") == ["a.b.c", "*", "a.*", "a.b.*"]
    assert types("a") == ["a", "*"]


@pytest.mark.parametrize(
    ("config", "heard"),
    [
        ({"type": "order.*"}, True),
        ({"type": "*"}, True),
        ({"type": "order.paid.*"}, False),
        ({"type": "order"}, False),
        ({"source": "/shop"}, True),
        ({"source": "/bank"}, False),
        ({"subject": "7"}, True),
        ({"subject": "8"}, False),
        ({"when": "sum > 2"}, True),
        ({"when": "sum > 3"}, False),
        ({"when": "trigger.event.source == '/shop' and trigger.payload.sum == 3"}, True),
    ],
)
async def test_what_a_trigger_wants_to_hear(bench: Workbench, config: dict[str, Any], heard: bool) -> None:
    waiting(bench, **config)
    await say(bench, data={"sum": 3}, source="/shop", subject="7")
    assert len(executions(bench)) == heard


async def test_a_filter_that_cannot_be_computed_is_written_down(bench: Workbench) -> None:
    waiting(bench, when="sum > 2")
    await say(bench, data={"total": 3})
    await say(bench, data={"sum": "x"})
    (trigger,) = events.listing(bench.connection)
    found = events.arrived(bench.connection, str(trigger["id"]), 10)
    assert [each["status"] for each in found] == ["failed", "failed"]
    assert {each["error"]["code"] for each in found} == {"event.filter_failed"}  # type: ignore[index, call-overload]
    assert executions(bench) == []


async def test_a_filter_has_to_be_true_or_false(bench: Workbench) -> None:
    waiting(bench, when="sum")
    published = await say(bench, data={"sum": 1})
    assert [each.status for each in published.arrived] == ["failed"]


async def test_what_does_not_fit_and_what_a_limit_refuses_keeps_no_other_from_starting(
    bench: Workbench,
) -> None:
    waiting(bench, name="picky", more={"inputs": {"type": "object", "required": ["x"]}})
    waiting(bench, name="full", more={"concurrency": {"key": "k", "limit": 1, "strategy": "reject"}})
    waiting(bench, name="fine")
    await say(bench, data={})
    published = await say(bench, data={})
    assert sorted(each.status for each in published.arrived) == ["failed", "refused", "started"]


async def test_a_disabled_workflow_hears_nothing(bench: Workbench) -> None:
    waiting(bench)
    bench.connection.run("UPDATE workflow SET enabled = 0")
    await say(bench)
    assert executions(bench) == []


async def test_a_new_version_hears_what_it_says_itself(bench: Workbench) -> None:
    waiting(bench)
    (before,) = events.listing(bench.connection)
    waiting(bench, type="order.refunded")
    (after,) = events.listing(bench.connection)
    assert before["id"] == after["id"]
    await say(bench)
    assert executions(bench) == []
    await say(bench, "order.refunded")
    assert len(executions(bench)) == 1
    bench.push(document([ECHO]))
    assert events.listing(bench.connection) == []


async def test_one_workflow_starts_another_by_an_event_that_it_emits(bench: Workbench) -> None:
    waiting(bench, name="second")
    emit = node("tell", "emit", {"event": "order.paid", "correlation": "7", "data": {"sum": 3}})
    first = bench.start(bench.push(document([emit, node("after")], edges("tell->after"), name="first")))
    await bench.carry()
    names = executions(bench)
    second = next(each for each in names if each != first)
    assert [bench.status(each) for each in (first, second)] == ["succeeded", "succeeded"]
    output: Any = bench.output(second)
    assert output["a"][1]["source"] == first
    assert output["a"][2] == {"sum": 3}


async def test_executions_that_start_one_another_come_to_an_end(bench: Workbench) -> None:
    emit = node("tell", "emit", {"event": "order.paid"})
    waiting(bench, emit)
    await say(bench)
    await bench.carry()
    assert len(executions(bench)) == LONGEST_CHAIN
    ((detail,),) = bench.query("SELECT detail FROM inbox WHERE status = 'failed'")
    assert json.loads(detail)["code"] == "event.chain_too_long"


# Absence


def tick(bench: Workbench, seconds: float) -> None:
    bench.clock.move(seconds)
    bench.poller().tick()


async def test_the_lack_of_an_event_starts_something_once(bench: Workbench) -> None:
    config = {"expression": "[trigger.type, trigger.absent_since, kind]"}
    waiting(bench, node("a", "transform", config), absent_for="10m", payload={"kind": "silence"})
    tick(bench, 599)
    assert executions(bench) == []
    tick(bench, 1)
    (execution,) = executions(bench)
    await bench.carry()
    assert bench.output(execution) == {"a": ["event", rfc3339(NOW), "silence"]}
    tick(bench, 3_600)
    assert len(executions(bench)) == 1
    await say(bench)
    assert len(executions(bench)) == 1
    tick(bench, 600)
    assert len(executions(bench)) == 2


async def test_an_event_puts_off_what_its_absence_would_start(bench: Workbench) -> None:
    waiting(bench, absent_for="10m", when="alive", subject="7")
    for _ in range(5):
        bench.clock.move(400)
        await say(bench, data={"alive": True}, subject="7")
        bench.poller().tick()
    assert executions(bench) == []
    await say(bench, data={"alive": False}, subject="7")
    await say(bench, data={"alive": True}, subject="8")
    tick(bench, 599)
    assert executions(bench) == []
    tick(bench, 1)
    assert len(executions(bench)) == 1


async def test_an_event_that_comes_when_somebody_has_looked_already_is_not_overlooked(
    bench: Workbench,
) -> None:
    from engine.triggers import scheduler

    waiting(bench, absent_for="10m")
    bench.clock.move(600)
    (found,) = scheduler.due(bench.connection, Versions(), bench.clock.now())
    late = scheduler.arrive(bench, found, bench.clock.now())
    await say(bench)
    assert bench.ask(late) is None
    assert executions(bench) == []


async def test_a_schedule_of_absence_is_shown_paused_and_resumed_and_has_no_slots(bench: Workbench) -> None:
    waiting(bench, absent_for="10m")
    (shown,) = schedules.listing(bench.connection, 10).rows
    assert (shown["kind"], shown["status"]) == ("absence", "active")
    name = str(shown["id"])
    bench.ask(schedules.pause(name, "", bench.clock.now()))
    tick(bench, 1_200)
    await say(bench)
    assert executions(bench) == []
    resumed = bench.ask(schedules.resume(name, bench.clock.now()))
    assert resumed["next_due"] == bench.clock.now() + 600_000
    with pytest.raises(schedules.ScheduleOfAbsence):
        schedules.find(bench.connection, Versions(), name)
    tick(bench, 600)
    (rests,) = schedules.listing(bench.connection, 10).rows
    assert rests["status"] == "resting"
