"""Waits that a signal ends, from the definition to the result: on one SQLite file, by hand, time in the hand."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from celeriac.duration import rfc3339
from celeriac.outcomes import OnCallback, OnEvent, Wait
from engine import operations as op
from engine import signals
from tests.builders import document, edge, edges, node
from tests.workbench import NOW, Workbench


def waiting(config: dict[str, Any], *ports: str, name: str = "w") -> dict[str, Any]:
    """A wait, and a node behind each of its ports that hands on what it came to."""
    shown = "{{ nodes.pause.output }}"
    ways = [edge("pause", f"by_{port}", port=port) for port in ports]
    after = [node(f"by_{port}", "transform", {"expression": shown}) for port in ports]
    return document([node("pause", "wait", config), *after], ways, name=name)


def event(type_: str = "paid", correlation: str = "", data: str = "null", **more: Any) -> op.Publish:
    made = {"now": NOW, "expires_at": NOW + 1_000_000, **more}
    name = f"evt_{next(_NUMBERS):05}"
    return op.Publish(name, "proj_default", type_, correlation, data=op.Payload(data), **made)


_NUMBERS = count()


async def publish(bench: Workbench, *args: Any, **more: Any) -> op.Published:
    answer: op.Published = bench.ask(event(*args, **{"now": bench.clock.now(), **more}))
    for execution, ready in answer.ready:
        bench.outlet.send(execution, [ready])
    await bench.carry()
    return answer


async def begun(bench: Workbench, body: dict[str, Any], payload: Any = None) -> str:
    name = bench.start(bench.push(body), payload)
    await bench.carry()
    return name


def result(bench: Workbench, name: str) -> Any:
    assert bench.status(name) == "succeeded", bench.error(name)
    return bench.output(name)


PAID = {"event": {"type": "paid", "correlation": "{{ order }}"}}


async def test_a_wait_rests_in_two_rows_until_its_event_comes(bench: Workbench) -> None:
    name = await begun(bench, waiting(PAID, "out"), {"order": "7"})
    assert bench.status(name) == "waiting"
    assert bench.segments(name) == {0: "waiting"}
    assert bench.query("SELECT name, kind, event, correlation FROM subscription") == [
        ("event", "event", "paid", "7")
    ]
    for stranger in (("paid", "8"), ("paid", ""), ("refused", "7")):
        assert (await publish(bench, *stranger)).woken == 0
    assert (await publish(bench, "paid", "7", '{"sum":3}')).woken == 1
    found = result(bench, name)["by_out"]
    assert found == {"name": "event", "payload": {"sum": 3}, "at": "2030-03-17T17:46:40.000Z"}
    assert bench.query("SELECT * FROM subscription") == []
    assert (await publish(bench, "paid", "7")).woken == 0


async def test_the_time_ends_a_wait_through_the_port_timeout(bench: Workbench) -> None:
    name = await begun(bench, waiting({**PAID, "timeout": "1m"}, "out", "timeout"), {"order": "7"})
    bench.clock.move(60)
    bench.poller().tick()
    await bench.carry()
    assert result(bench, name) == {
        "by_timeout": {"name": "timeout", "payload": None, "at": "2030-03-17T17:47:40.000Z"}
    }
    assert bench.query("SELECT name, source FROM signal") == [("timeout", "time")]


async def test_an_event_in_time_leaves_nothing_for_the_time_to_do(bench: Workbench) -> None:
    name = await begun(bench, waiting({**PAID, "timeout": "1m"}, "out", "timeout"), {"order": "7"})
    await publish(bench, "paid", "7")
    assert list(result(bench, name)) == ["by_out"]


@pytest.mark.parametrize("first", ["time", "event"])
async def test_of_time_and_event_in_one_batch_one_decides(bench: Workbench, first: str) -> None:
    name = await begun(bench, waiting({**PAID, "timeout": "1m"}, "out", "timeout"), {"order": "7"})
    bench.clock.move(60)
    wake, paid = op.Wake(name, ((0, ""),), bench.clock.now()), event("paid", "7", now=bench.clock.now())
    if first == "time":
        bench.ask(wake)
        assert bench.ask(paid).woken == 0
    else:
        assert bench.ask(paid).woken == 1
        assert bench.ask(wake) == []
    bench.outlet.sent.append(("default", (name, 0, "")))
    await bench.carry()
    assert list(result(bench, name)) == ["by_timeout" if first == "time" else "by_out"]


BRANCHES: dict[str, list[dict[str, Any]]] = {
    "any_of": [
        {"name": "paid", "event": {"type": "paid"}},
        {"name": "refused", "event": {"type": "refused"}},
        {"name": "called", "callback": True},
        {"name": "late", "for": "2d"},
        {"name": "very_late", "for": "3d"},
    ]
}
NAMES = [each["name"] for each in BRANCHES["any_of"]]


@pytest.mark.parametrize("branch", ["paid", "refused", "called", "late"])
async def test_of_several_branches_the_first_names_the_port(bench: Workbench, branch: str) -> None:
    name = await begun(bench, waiting(BRANCHES, *map(str, NAMES)))
    if branch == "late":
        bench.clock.move(2 * 86_400)
        bench.poller().tick()
    elif branch == "called":
        answer = bench.ask(op.Signal(name, 0, "", "called", "callback", NOW))
        assert answer.won
        bench.outlet.send(name, answer.ready)
    else:
        await publish(bench, branch)
    await bench.carry()
    assert result(bench, name)[f"by_{branch}"]["name"] == branch
    assert len(result(bench, name)) == 1
    assert bench.query("SELECT * FROM subscription") == []


async def test_a_wait_for_several_times_takes_the_port_of_the_earliest(bench: Workbench) -> None:
    times = {"any_of": [{"name": "far", "for": "2h"}, {"name": "near", "for": "1h"}]}
    name = await begun(bench, waiting(times, "far", "near"))
    bench.clock.move(3600)
    bench.poller().tick()
    await bench.carry()
    assert list(result(bench, name)) == ["by_near"]


# Events that were published before


async def test_an_event_since_the_start_ends_the_wait_that_comes_later(bench: Workbench) -> None:
    body = document(
        [node("rest", "wait", {"for": "1m"}), node("pause", "wait", {"event": {"type": "paid"}})],
        edges("rest->pause"),
    )
    await publish(bench, "paid", data='"too early"', now=NOW - 1)
    name = await begun(bench, body)
    await publish(bench, "paid", data='"in time"')
    bench.clock.move(60)
    bench.poller().tick()
    await bench.carry()
    assert result(bench, name)["pause"]["payload"] == "in time"


async def test_a_lookback_reaches_behind_the_start(bench: Workbench) -> None:
    await publish(bench, "paid", data="1", now=NOW - 3_600_001)
    await publish(bench, "paid", data="2", now=NOW - 3_599_000)
    name = await begun(bench, waiting({"event": {"type": "paid", "lookback": "1h"}}, "out"))
    assert result(bench, name)["by_out"]["payload"] == 2


async def test_what_has_expired_is_not_looked_back_at(bench: Workbench) -> None:
    await publish(bench, "paid", now=NOW - 10, expires_at=NOW)
    name = await begun(bench, waiting({"event": {"type": "paid", "lookback": "1h"}}, "out"))
    assert bench.status(name) == "waiting"


async def test_a_transient_wait_has_lost_what_came_before(bench: Workbench) -> None:
    config = {"event": {"type": "paid", "lookback": "1h", "transient": True}}
    await publish(bench, "paid")
    name = await begun(bench, waiting(config, "out"))
    assert bench.status(name) == "waiting"
    assert (await publish(bench, "paid", data="2")).woken == 1
    assert result(bench, name)["by_out"]["payload"] == 2


async def test_an_event_goes_to_one_wait_of_an_execution_and_to_every_execution(bench: Workbench) -> None:
    one, two = (node(each, "wait", {"event": {"type": "paid"}}) for each in ("one", "two"))
    in_line, beside = (
        document([one, two], edges("one->two"), name="line"),
        document([one, two], name="beside"),
    )
    first, second = await begun(bench, in_line), await begun(bench, beside)
    assert (await publish(bench, "paid", data="1")).woken == 2
    assert (bench.status(first), bench.status(second)) == ("waiting", "waiting")
    assert (await publish(bench, "paid", data="2")).woken == 2
    for name in (first, second):
        found = result(bench, name)
        assert sorted(each["payload"] for each in found.values()) == ([2] if name == first else [1, 2])


async def test_events_of_one_batch_go_to_waits_one_by_one_in_their_order(bench: Workbench) -> None:
    one, two = (node(each, "wait", {"event": {"type": "paid"}}) for each in ("one", "two"))
    name = await begun(bench, document([one, two]))
    answers = bench.step(event(data="1"), event(data="2"), event(data="3"))
    assert [each.woken for each in answers] == [1, 1, 0]
    for each in answers:
        for execution, ready in each.ready:
            bench.outlet.send(execution, [ready])
    await bench.carry()
    assert {key: each["payload"] for key, each in result(bench, name).items()} == {"one": 1, "two": 2}


async def test_logged_events_are_had_one_by_one_by_waits_that_begin_together(bench: Workbench) -> None:
    items = document(
        [
            {
                **node("each", "wait", {"event": {"type": "paid", "lookback": "1h"}}),
                "for_each": {"items": "[1, 2, 3]"},
            }
        ]
    )
    for number in range(3):
        await publish(bench, "paid", data=str(number), now=NOW - 10 + number)
    name = await begun(bench, items)
    assert sorted(each["payload"] for each in result(bench, name)["each"]) == [0, 1, 2]


async def test_several_in_one_batch_that_look_back_have_an_event_each(bench: Workbench) -> None:
    body = document([node(each, "wait", {"event": {"type": "paid"}}) for each in "ab"])
    name = bench.start(bench.push(body))
    first, second = bench.ask(event(now=NOW)), bench.ask(event(now=NOW))
    plan = bench.programs.plan(bench.query("SELECT version_id FROM execution")[0][0], bench.connection)
    bench.ask(op.Settle(name, 0, "", 0, pure=True, now=NOW, taken=(True, True)))
    listening = (op.Subscription("event", "event", "paid", "", NOW),)
    rests = [
        op.Rest(name, each, "", 0, pure=True, now=NOW, project="proj_default", subscriptions=listening)
        for each in sorted(plan.listening)
    ]
    assert [len(each) for each in bench.step(*rests)] == [1, 1]
    assert {each for (each,) in bench.query("SELECT event_id FROM signal")} == {first.id, second.id}


# What is published twice, and what nothing listens to


async def test_a_known_key_publishes_nothing(bench: Workbench) -> None:
    name = await begun(bench, waiting({"event": {"type": "paid"}}, "out"))
    first = await publish(bench, "paid", data="1", source="shop", key="k")
    again = await publish(bench, "paid", data="2", source="shop", key="k")
    other = await publish(bench, "paid", data="2", source="bank", key="k")
    assert (again.id, again.new, again.woken) == (first.id, False, 0)
    assert other.new
    assert result(bench, name)["by_out"]["payload"] == 1


async def test_of_one_key_twice_in_one_batch_one_is_published(bench: Workbench) -> None:
    await begun(bench, waiting({"event": {"type": "paid"}}, "out"))
    first, second = bench.step(event(key="k"), event(key="k"))
    assert first.id == second.id
    assert [first.new, second.new] == [True, False]
    assert first.woken + second.woken == 1


async def test_emit_publishes_once_and_ends_waits_of_others(bench: Workbench) -> None:
    name = await begun(bench, waiting(PAID, "out"), {"order": 7})
    emit = node("tell", "emit", {"event": "paid", "correlation": "{{ order }}", "data": {"by": "x"}})
    other = await begun(bench, document([emit], name="teller"), {"order": 7})
    assert result(bench, name)["by_out"]["payload"] == {"by": "x"}
    assert result(bench, other)["tell"] == {"id": bench.query("SELECT id FROM event_log")[0][0]}


# What stops a wait


async def test_a_cancelled_execution_hears_nothing_more(bench: Workbench) -> None:
    name = await begun(bench, waiting({"event": {"type": "paid"}}, "out"))
    bench.ask(op.Cancel(name, NOW))
    assert bench.query("SELECT * FROM subscription") == []
    assert not bench.ask(op.Signal(name, 0, "", "event", "callback", NOW)).won
    assert (await publish(bench, "paid")).woken == 0


async def test_an_execution_that_fails_ends_its_waits(bench: Workbench) -> None:
    body = document(
        [
            node("pause", "wait", {"event": {"type": "paid"}}),
            node("rest", "wait", {"for": 1}),
            node("no", "fail", {"message": "x"}),
        ],
        edges("rest->no"),
    )
    name = await begun(bench, body)
    bench.clock.move(1)
    bench.poller().tick()
    await bench.carry()
    assert bench.status(name) == "failed"
    assert bench.query("SELECT * FROM subscription") == []


async def test_an_instance_that_is_stopped_ends_its_waits(bench: Workbench) -> None:
    inner = {
        "nodes": [
            node("pause", "wait", {"event": {"type": "paid"}}),
            node("rest", "wait", {"for": "{{ item }}"}),
            node("no", "fail", {"message": "x"}),
        ],
        "edges": edges("rest->no"),
    }
    body = document(
        [
            {
                "id": "each",
                "type": "scope",
                "for_each": {"items": "[1, 60]", "on_item_error": "null"},
                "body": inner,
            }
        ]
    )
    name = await begun(bench, body)
    assert len(bench.query("SELECT * FROM subscription")) == 2
    bench.clock.move(1)
    bench.poller().tick()
    await bench.carry()
    assert bench.query("SELECT item FROM subscription") == [("1",)]
    assert bench.status(name) == "waiting"


async def test_a_paused_execution_keeps_its_signal_and_goes_on_with_it_later(bench: Workbench) -> None:
    name = await begun(bench, waiting({"event": {"type": "paid"}}, "out"))
    bench.ask(op.Pause(name, NOW))
    answer = await publish(bench, "paid")
    assert (answer.woken, answer.ready) == (1, ())
    bench.outlet.send(name, bench.ask(op.Pause(name, NOW, resume=True)))
    await bench.carry()
    assert result(bench, name)["by_out"]["name"] == "event"


# Signals that come before the wait


async def test_a_signal_that_comes_before_its_wait_ends_it_at_once(bench: Workbench) -> None:
    body = document(
        [node("rest", "wait", {"for": 60}), node("pause", "wait", {"callback": True})], edges("rest->pause")
    )
    name = await begun(bench, body)
    assert bench.ask(op.Signal(name, 1, "", "callback", "callback", NOW, op.Payload("5"))).won
    assert not bench.ask(op.Signal(name, 1, "", "callback", "callback", NOW, op.Payload("6"))).won
    bench.clock.move(60)
    bench.poller().tick()
    await bench.carry()
    assert result(bench, name)["pause"]["payload"] == 5


async def test_an_early_signal_of_a_name_that_a_wait_lacks_is_for_no_one(bench: Workbench) -> None:
    body = document(
        [node("rest", "wait", {"for": 60}), node("pause", "wait", {"callback": True})], edges("rest->pause")
    )
    name = await begun(bench, body)
    assert bench.ask(op.Signal(name, 1, "", "other", "callback", NOW)).won
    bench.clock.move(60)
    bench.poller().tick()
    await bench.carry()
    assert bench.status(name) == "waiting"
    assert not bench.ask(op.Signal(name, 1, "", "other", "callback", NOW)).won
    assert bench.ask(op.Signal(name, 1, "", "callback", "callback", NOW)).won


async def test_of_twenty_signals_in_one_batch_one_wins(bench: Workbench) -> None:
    name = await begun(bench, waiting({"callback": True}, "out"))
    asked = [op.Signal(name, 0, "", "callback", "callback", NOW, op.Payload(str(n))) for n in range(20)]
    answers = bench.step(*asked)
    assert [each.won for each in answers] == [True, *[False] * 19]
    assert not bench.ask(asked[0]).won


async def test_nobody_signals_what_has_ended_or_is_not_there(bench: Workbench) -> None:
    name = await begun(bench, document([node("a")]))
    assert not bench.ask(op.Signal(name, 0, "", "callback", "callback", NOW)).won
    assert not bench.ask(op.Signal("exec_none", 0, "", "callback", "callback", NOW)).won


# The form in the journal


def test_a_wait_is_stored_and_read_whole() -> None:
    later = Wait(9, {"a": 1}, (OnCallback("called"),), "late")
    wait = Wait(5, None, (OnEvent("paid", "7", 3, transient=True),), "out", later)
    assert signals.wait_from_json(signals.wait_to_json(wait)) == wait
    assert [each.kind for each in signals.subscriptions_of(wait, NOW)] == ["event"]
    assert [each.name for each in signals.subscriptions_of(later, NOW)] == ["called", "late"]


def test_an_event_counts_from_the_start_of_the_execution_unless_said_otherwise() -> None:
    wait = Wait(None, None, (OnEvent("a"), OnEvent("b", since=3)))
    assert [each.since for each in signals.subscriptions_of(wait, NOW)] == [NOW, 3]


async def test_an_execution_that_is_to_stop_hears_nothing_while_something_of_it_still_runs(
    bench: Workbench,
) -> None:
    call = node("call", "http_request", {"url": "https://x.example/"})
    body = document([node("pause", "wait", {"event": {"type": "paid"}}), call])
    name = bench.start(bench.push(body))
    plan = bench.programs.plan(bench.query("SELECT version_id FROM execution")[0][0], bench.connection)
    bench.ask(op.Settle(name, 0, "", 0, pure=True, now=NOW, taken=(True, True)))
    assert bench.ask(op.Claim(name, plan.segment_of["call"], "", "elsewhere:1:1", NOW, NOW + 15_000))
    listening = (op.Subscription("event", "event", "paid", "", NOW),)
    rest = op.Rest(
        name,
        plan.segment_of["pause"],
        "",
        0,
        pure=True,
        now=NOW,
        project="proj_default",
        subscriptions=listening,
    )
    assert bench.ask(rest) == []
    bench.ask(op.Cancel(name, NOW))
    assert bench.status(name) == "running"
    assert (await publish(bench, "paid")).woken == 0


async def test_a_wait_hears_no_event_before_it_was_published(bench: Workbench) -> None:
    await publish(bench, now=NOW + 50)
    name = await begun(bench, waiting({"event": {"type": "paid"}}, "out"))
    assert result(bench, name)["by_out"]["at"] == rfc3339(NOW + 50)
