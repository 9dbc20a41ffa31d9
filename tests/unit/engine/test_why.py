"""Why an execution does not go on, for each thing that it may wait for."""

from __future__ import annotations

from typing import Any

import pytest

from engine import operations as op
from engine.errors import NotFound
from engine.why import MOST, PATIENCE, why
from tests.builders import document, node
from tests.workbench import Workbench


def ask(bench: Workbench, execution: str) -> Any:
    return why(bench.connection, execution, bench.clock.now())


def waits(bench: Workbench, execution: str) -> list[Any]:
    found = ask(bench, execution)["waits"]
    assert all(
        each["message"].endswith((".", "?")) or each["kind"] in ("approval", "retry") for each in found
    )
    return list(found)


async def begun(bench: Workbench, *nodes: Any, payload: Any = None, **more: Any) -> str:
    name = bench.start(bench.push(document(nodes, **more)), payload or {})
    await bench.carry()
    return name


async def test_a_timer(bench: Workbench) -> None:
    name = await begun(bench, node("rest", "wait", {"for": "1h"}))
    (one,) = waits(bench, name)
    assert (one["kind"], one["node"], one["until"]) == ("timer", "rest", bench.clock.now() + 3_600_000)
    assert "rest waits" in one["message"]
    assert ask(bench, name)["summary"] == one["message"]


async def test_an_event_a_call_from_outside_or_a_time(bench: Workbench) -> None:
    branches = [
        {"name": "paid", "event": {"type": "order.paid", "correlation": "{{ order }}"}},
        {"name": "called", "callback": True},
        {"name": "late", "for": "2h"},
    ]
    name = await begun(
        bench,
        node("paid", "wait", {"any_of": branches}),
        payload={"order": "17"},
    )
    (one,) = waits(bench, name)
    assert one["kind"] == "signal"
    assert {each["kind"] for each in one["branches"]} == {"event", "callback", "time"}
    assert "the event order.paid of 17" in one["message"]


async def test_people(bench: Workbench) -> None:
    name = await begun(bench, node("ask", "approval", {"title": "Pay?", "approvers": {"roles": ["finance"]}}))
    (one,) = waits(bench, name)
    assert (one["kind"], one["hint"]) == ("approval", f"celeriac approvals show {one['approval']}")
    assert "Pay?" in one["message"]


async def test_a_key_and_who_holds_it(bench: Workbench) -> None:
    limited = node("rest", "wait", {"for": "1h"}, mutex="printer")
    first = await begun(bench, limited)
    bench.clock.move(1)
    second = await begun(bench, limited)
    bench.clock.move(1)
    third = await begun(bench, limited)
    (one,) = waits(bench, second)
    assert (one["kind"], one["key"], one["most"], one["ahead"]) == ("limit", "printer", 1, 0)
    assert one["held_by"] == [{"execution": first, "workflow": "w"}]
    assert one["hint"] == f"celeriac why {first}"
    assert waits(bench, third)[0]["ahead"] == 1


async def test_a_limit_of_the_whole_workflow(bench: Workbench) -> None:
    rest = node("rest", "wait", {"for": "1h"})
    first = await begun(bench, rest, concurrency={"key": "all", "limit": 1})
    second = await begun(bench, rest, concurrency={"key": "all", "limit": 1})
    found = waits(bench, second)
    assert found[0]["kind"] == "limit"
    assert found[0]["held_by"] == [{"execution": first, "workflow": "w"}]


async def test_a_rate(bench: Workbench) -> None:
    rated = node("a", rate={"key": "api", "limit": 1, "period": "1h"})
    await begun(bench, rated)
    await begun(bench, rated)
    third = await begun(bench, rated)
    (one,) = waits(bench, third)
    assert (one["kind"], one["until"] > bench.clock.now()) == ("rate", True)


async def test_the_next_try(bench: Workbench) -> None:
    retry = {"max_attempts": 5, "delay": "1h", "jitter": 0, "on": ["x.down"]}
    failing = node("call", "fail", {"message": "no", "code": "x.down"}, retry=retry)
    name = await begun(bench, failing)
    (one,) = waits(bench, name)
    assert (one["kind"], one["tries"], one["error"]["code"]) == ("retry", 1, "x.down")
    assert "x.down, no" in one["message"]


async def test_a_worker(bench: Workbench) -> None:
    name = bench.start(bench.push(document([node("a")], queue="cpu")), {})
    (one,) = waits(bench, name)
    assert (one["kind"], one["queue"], "hint" in one) == ("worker", "cpu", False)
    bench.clock.move(PATIENCE / 1000)
    assert "hint" not in waits(bench, name)[0]
    bench.clock.move(0.001)
    assert "celeriac worker --queues cpu" in waits(bench, name)[0]["hint"]


async def test_a_worker_that_is_at_it_or_has_gone(bench: Workbench) -> None:
    name = bench.start(bench.push(document([node("a")])), {})
    now = bench.clock.now()
    bench.ask(op.Claim(name, 0, "", "elsewhere:1:1", now, now + 15_000))
    (one,) = waits(bench, name)
    assert (one["kind"], one["owner"]) == ("running", "elsewhere:1:1")
    bench.clock.move(16)
    assert "lease has run out" in waits(bench, name)[0]["message"]


async def test_a_persons_word(bench: Workbench) -> None:
    name = bench.start(bench.push(document([node("a"), node("b")])), {})
    now = bench.clock.now()
    claimed = bench.ask(op.Claim(name, 0, "", "elsewhere:1:1", now, now + 15_000))
    bench.ask(op.Doubt(name, 0, "", claimed.epoch, pure=False, now=now, head=1, reason="{}"))
    found = waits(bench, name)
    assert found[0]["kind"] == "attention"
    assert "celeriac attention resolve" in found[0]["hint"]


async def test_what_was_called(bench: Workbench) -> None:
    bench.push(document([node("rest", "wait", {"for": "1h"})], name="other"))
    name = await begun(bench, node("call", "workflow", {"workflow": "other"}))
    (one,) = waits(bench, name)
    assert one["kind"] == "call"
    assert "has called other" in one["message"]
    assert ask(bench, one["execution"])["waits"][0]["kind"] == "timer"


async def test_the_items_of_a_map(bench: Workbench) -> None:
    name = await begun(bench, node("m", "wait", {"for": "1h"}, for_each={"items": "[1, 2, 3]"}))
    found = waits(bench, name)
    (whole,) = [each for each in found if each["kind"] == "items"]
    assert whole["items"]["count"] == 3
    assert sorted(each["item"] for each in found if each["kind"] == "timer") == ["0", "1", "2"]


async def test_what_is_held_says_so_first(bench: Workbench) -> None:
    name = await begun(bench, node("rest", "wait", {"for": "1h"}))
    bench.ask(op.Pause(name, bench.clock.now(), resume=False))
    found = waits(bench, name)
    assert [each["kind"] for each in found] == ["paused", "timer"]
    assert found[0]["hint"] == f"celeriac executions resume {name}"
    assert ask(bench, name)["summary"].endswith("And 1 more.")


async def test_what_has_ended_waits_for_nothing(bench: Workbench) -> None:
    name = await begun(bench, node("a"))
    assert ask(bench, name) | {"workflow": None} == {
        "id": name,
        "workflow": None,
        "status": "succeeded",
        "summary": "It has ended: succeeded.",
        "waits": [],
        "more": 0,
    }
    with pytest.raises(NotFound):
        ask(bench, "exec_x")


async def test_of_very_many_only_the_first_are_told(bench: Workbench) -> None:
    name = await begun(
        bench, node("m", "wait", {"for": "1h"}, for_each={"items": "range(150)", "concurrency": 150})
    )
    found = ask(bench, name)
    assert len(found["waits"]) == MOST
    assert found["more"] == 150 + 1 - MOST
