"""The judge sees every kind of broken promise, and nothing wrong where nothing is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from tests.builders import document, edges, node
from tests.chaos import checker
from tests.chaos.checker import Entry, Evidence, Execution, Fault, Op, Range, Segment
from tests.chaos.drafts import Case
from tests.chaos.sink import Effect

CALL = {
    "method": "POST",
    "url": "http://sink/effect",
    "idempotent": True,
    "body": {"execution": "{{ execution.id }}", "node": "a", "value": "{{ k }}"},
}
RETRY = {"max_attempts": 2, "delay": 0}
CASE = Case(
    document(
        [node("a", "http_request", CALL, retry=RETRY), node("b", "set", {"values": {"n": "{{ k + 1 }}"}})],
        edges("a->b"),
        variables={},
    ),
    {"k": 1},
    {},
)
REPLY = {
    "status": 200,
    "headers": {"content-type": "application/json", "content-length": "25"},
    "body": {"done": "a", "value": 1},
}
KEY = checker.effect_key("exec_1", "a")


def sound() -> Evidence:
    """One execution as it should be."""
    events = [
        Range(1, 1, 0, 1000, [["execution.created", "wf_1", 1000, {}]]),
        Range(2, 1, 1, 1001, [["segment.claimed", 0, 1001, {}]]),
        Range(
            3,
            3,
            1,
            1002,
            [
                ["node.succeeded", "a", 1002, {}],
                ["node.succeeded", "b", 1002, {}],
                ["execution.succeeded", None, 1002, {}],
            ],
        ),
    ]
    execution = Execution(
        "exec_1",
        "w",
        "succeeded",
        "key-1",
        5,
        {"k": 1},
        {"b": {"n": 2}},
        None,
        [Segment(0, "", "done", 0, 1, 0, None)],
        [Entry("a", "succeeded", REPLY, None, 1), Entry("b", "succeeded", {"n": 2}, None, 1)],
        events,
    )
    effect = Effect(1002, KEY, "exec_1", "a", "digest", applied=True, behaviour="ok", status=200)
    ops = [Op("key-1", "info", None, 999), Op("key-1", "ok", "exec_1", 1000)]
    return Evidence([execution], {"w": CASE}, [effect], ops, [Fault(1001, "flushed the broker")])


def test_nothing_is_wrong_where_nothing_is() -> None:
    assert checker.check(sound()) == []


def only(evidence: Evidence) -> Execution:
    return evidence.executions[0]


def twice(evidence: Evidence) -> Evidence:
    other = dataclasses.replace(only(evidence), id="exec_2")
    return dataclasses.replace(evidence, executions=[only(evidence), other])


def told(**more: Any) -> Callable[[Evidence], Evidence]:
    """Change the evidence itself."""
    return lambda evidence: dataclasses.replace(evidence, **more)


def row(**more: Any) -> Callable[[Evidence], Evidence]:
    """Change the execution."""
    return lambda evidence: dataclasses.replace(
        evidence, executions=[dataclasses.replace(only(evidence), **more)]
    )


def effects(*found: Effect) -> Callable[[Evidence], Evidence]:
    return lambda evidence: dataclasses.replace(evidence, effects=[*evidence.effects, *found])


def events(*bodies: list[Any], epoch: int = 1) -> Callable[[Evidence], Evidence]:
    """Append events."""

    def change(evidence: Evidence) -> Evidence:
        execution = only(evidence)
        more = Range(execution.seq + 1, len(bodies), epoch, 1003, list(bodies))
        return row(ranges=[*execution.ranges, more], seq=execution.seq + len(bodies))(evidence)

    return change


def entry(name: str, **more: Any) -> Callable[[Evidence], Evidence]:
    """Change the journal of a node."""

    def change(evidence: Evidence) -> Evidence:
        journal = [
            dataclasses.replace(each, **more) if each.node == name else each
            for each in only(evidence).journal
        ]
        return row(journal=journal)(evidence)

    return change


AGAIN = Effect(1003, KEY, "exec_1", "a", "digest", applied=True, behaviour="ok", status=200)
BROKEN: dict[str, tuple[str, Callable[[Evidence], Evidence]]] = {
    "an accepted execution is gone": ("I1", told(executions=[], effects=[])),
    "a key started two executions": ("I1", twice),
    "a refused request is there": ("I1", told(ops=[Op("key-1", "fail", None, 1)])),
    "nobody asked for it": ("I1", told(ops=[])),
    "it was accepted under another id": ("I1", told(ops=[Op("key-1", "ok", "exec_9", 1)])),
    "it has not ended": ("I2", row(status="running")),
    "a node succeeded twice": ("I3", events(["node.succeeded", "b", 1, {}])),
    "a success is not in the journal": ("I3", entry("b", status="waiting")),
    "a journaled success has no event": (
        "I3",
        row(ranges=[Range(1, 1, 0, 1, [["execution.created", "w", 1, {}]])], seq=1),
    ),
    "it ended twice": ("I3", events(["execution.failed", None, 1, {}])),
    "more arrived at a join than lead to it": ("I3", row(segments=[Segment(0, "", "done", -1, 1, 0, None)])),
    "a node did not run": ("I4", row(journal=[Entry("a", "succeeded", REPLY, None, 1)])),
    "a node came to something else": ("I4", entry("b", output={"n": 3})),
    "an effect was applied twice": ("I5", effects(AGAIN)),
    "an effect of a node that succeeded was never applied": ("I5", told(effects=[])),
    "an effect came under another key": ("I5", effects(dataclasses.replace(AGAIN, key="other"))),
    "one key came with two bodies": (
        "I5",
        effects(dataclasses.replace(AGAIN, applied=False, behaviour="conflict")),
    ),
    "an effect of nobody": ("I5", effects(dataclasses.replace(AGAIN, execution="exec_9", applied=False))),
    "a fence went back": ("I7", events(["node.log", "a", 1, {}], epoch=0)),
    "an effect came without its key": ("I6", effects(dataclasses.replace(AGAIN, key=None))),
    "a segment was claimed while it was held": ("I8", events(["segment.claimed", 0, 1, {}])),
    "it was tried too often": ("I9", entry("a", tries=3)),
    "it was put aside too early": ("I9", events(["segment.lost", 0, 1, {"status": "quarantined"}])),
    "an event is missing": ("I10", lambda evidence: row(ranges=only(evidence).ranges[::2])(evidence)),
    "its sequence is ahead": ("I10", row(seq=6)),
    "something came after its end": ("I10", events(["node.log", "a", 1, {}])),
    "an event ended two waits": ("I14", row(heard=["evt_1", "evt_1"])),
    "nobody had asked it to stop": ("I15", row(status="cancelled")),
    "it went on after it was to stop": (
        "I15",
        events(["execution.cancel_requested", None, 1, {}], ["segment.claimed", 0, 1, {}]),
    ),
    "a lease is left": ("I18", row(segments=[Segment(0, "", "done", 0, 1, 0, "host:1:1")])),
    "a ready row is left": ("I18", row(segments=[Segment(1, "", "ready", 0, 0, 0, None)])),
    "a join is left": ("I18", row(segments=[Segment(1, "", "blocked", 1, 0, 0, None)])),
    "a message is left": ("I18", told(queued=1)),
    "its output is another": ("I20", row(output={"b": {"n": 3}})),
    "it should have failed": ("I20", row(payload={})),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_promise_is_seen(what: str) -> None:
    invariant, change = BROKEN[what]
    found = {each.invariant for each in checker.check(change(sound()))}
    assert invariant in found


def test_a_report_tells_the_seed_the_faults_and_the_events_around() -> None:
    evidence = effects(AGAIN)(sound())
    text = checker.report(checker.check(evidence), evidence, 42)
    assert "with seed 42" in text
    assert "I5 exec_1: a is succeeded and was applied 2 times" in text
    assert "--- flushed the broker" in text
    assert "node.succeeded" in text


# Containers

UNDONE = {
    "id": "s",
    "type": "scope",
    "on_error": "continue",
    "body": {
        "nodes": [
            node(
                "a", "http_request", {**CALL, "url": "http://sink"}, compensate={"type": "noop"}, retry=RETRY
            ),
            node("b", "wait", {"for": 0}, compensate={"type": "noop"}),
            node("t", "fail", {"message": "no", "code": "x.y"}),
        ],
        "edges": edges("a->b->t"),
    },
}
EACH = node("m", "transform", {"expression": "item * 2"}, for_each={"items": "[1, 2]"})
INSIDE = Case(document([UNDONE, EACH], variables={}), {"k": 1}, {})
INNER_KEY = checker.effect_key("exec_1", "a", "0")


def contained() -> Evidence:
    """One execution of a scope whose body failed and was undone, and of a map."""
    names = ["a", "b", "b@undo", "a@undo"]
    events_ = [["node.succeeded", name, 1002, {"item": "0"}] for name in names]
    events_.insert(2, ["node.failed", "t", 1002, {"item": "0"}])
    events_ += [
        ["node.failed", "s", 1002, {}],
        ["node.succeeded", "m", 1002, {}],
        ["execution.succeeded", None, 1002, {}],
    ]
    error = {"code": "x.y", "message": "no"}
    journal = [
        Entry("a", "succeeded", REPLY, None, 1, "0"),
        *(
            Entry(name, "succeeded", None, None, 1, "0")
            for name in ("a@undo", "b@undo", "a@undo@end", "b@undo@end")
        ),
        Entry("b", "succeeded", {"until": "1970-01-01T00:00:01.002Z"}, None, 1, "0"),
        Entry("t", "failed", None, error, 1, "0"),
        Entry("s@end", "failed", None, error, 1, "0"),
        Entry("s", "continued", None, error, 1),
        *(Entry("m@end", "succeeded", 2 + 2 * each, None, 1, str(each)) for each in (0, 1)),
        Entry("m", "succeeded", [2, 4], None, 1),
    ]
    ranges = [
        Range(1, 1, 0, 1000, [["execution.created", "wf_1", 1000, {}]]),
        Range(2, len(events_), 1, 1002, events_),
    ]
    execution = Execution(
        "exec_1", "w", "succeeded", "key-1", 1 + len(events_), {"k": 1}, {"s": None, "m": [2, 4]}, None,
        [Segment(0, "", "done", 0, 1, 0, None)], journal, ranges, {"m"},
    )  # fmt: skip
    effect = Effect(1002, INNER_KEY, "exec_1", "a", "digest", applied=True, behaviour="ok", status=200)
    return Evidence([execution], {"w": INSIDE}, [effect], [Op("key-1", "ok", "exec_1", 1000)])


def without(*names: str) -> Callable[[Evidence], Evidence]:
    """Forget node runs, in the journal and in the history."""

    def change(evidence: Evidence) -> Evidence:
        execution = only(evidence)
        journal = [each for each in execution.journal if each.node not in names]
        bodies = [body for body in execution.ranges[1].bodies if body[1] not in names]
        ranges = [
            execution.ranges[0],
            dataclasses.replace(execution.ranges[1], count=len(bodies), bodies=bodies),
        ]
        return row(journal=journal, ranges=ranges, seq=1 + len(bodies))(evidence)

    return change


def swapped(evidence: Evidence) -> Evidence:
    """The first is undone first."""
    bodies = list(only(evidence).ranges[1].bodies)
    bodies[3], bodies[4] = bodies[4], bodies[3]
    return row(
        ranges=[only(evidence).ranges[0], dataclasses.replace(only(evidence).ranges[1], bodies=bodies)]
    )(evidence)


BROKEN_INSIDE: dict[str, tuple[str, Callable[[Evidence], Evidence]]] = {
    "an item came to something else": ("I4", entry("m@end", output=7)),
    "an item has no outcome": ("I4", without("m@end")),
    "a node of an item that should not have run": (
        "I4",
        lambda e: row(journal=[*only(e).journal, Entry("b", "succeeded", None, None, 1, "1")])(e),
    ),
    "a scope that failed was not undone": ("I21", without("a@undo", "a@undo@end")),
    "what came first was undone first": ("I21", swapped),
    "a scope that did not fail was undone": ("I21", entry("s@end", status="succeeded")),
    "an effect came under the key of another item": (
        "I5",
        effects(dataclasses.replace(AGAIN, key=checker.effect_key("exec_1", "a", "1"))),
    ),
    "an effect of an item was applied twice": ("I5", effects(dataclasses.replace(AGAIN, key=INNER_KEY))),
    "an item was tried too often": ("I9", entry("a", tries=3)),
}


def test_nothing_is_wrong_inside_where_nothing_is() -> None:
    assert checker.check(contained()) == []


@pytest.mark.parametrize("what", BROKEN_INSIDE)
def test_a_promise_that_is_broken_inside_a_container_is_seen(what: str) -> None:
    invariant, change = BROKEN_INSIDE[what]
    assert invariant in {each.invariant for each in checker.check(change(contained()))}


STOPPED = Case(
    document(
        [
            {
                "id": "s",
                "type": "scope",
                "body": {
                    "nodes": [
                        node("a", "set", {"values": 1}, compensate={"type": "noop"}),
                        {
                            "id": "inner",
                            "type": "scope",
                            "body": {"nodes": [node("w", "wait", {"for": 60})]},
                            "finally": {"nodes": [node("z", "noop")]},
                        },
                    ],
                    "edges": edges("a->inner"),
                },
                "catch": [{"body": {"nodes": [node("c", "noop")]}}],
                "finally": {"nodes": [node("y", "noop")]},
            }
        ],
        variables={},
    ),
    {"k": 1},
    {},
)
ENDS: list[list[Any]] = [
    ["node.opened", "s", 1000, {}],
    ["node.succeeded", "a", 1000, {"item": "0"}],
    ["node.opened", "inner", 1000, {"item": "0"}],
    ["execution.cancel_requested", None, 1001, {}],
    ["execution.ending", None, 1001, {}],
    ["node.succeeded", "z", 1002, {"item": "0.0"}],
    ["node.succeeded", "a@undo", 1003, {"item": "0"}],
    ["node.succeeded", "y", 1004, {"item": "0"}],
    ["execution.cancelled", None, 1005, {}],
]


def ended(bodies: list[list[Any]], *more: Entry, without: str = "") -> Evidence:
    """An execution of a scope in a scope that was cancelled while the inner one waited."""
    error = {"code": "scope.stopped", "message": "stopped"}
    journal = [
        Entry("inner@end", "failed", None, error, 1, "0.0"),
        Entry("s@end", "failed", None, error, 1, "0"),
        Entry("a", "succeeded", 1, None, 1, "0"),
        *(Entry(name, "succeeded", None, None, 1, "0.0") for name in ("z", "inner@finally@end")),
        *(
            Entry(name, "succeeded", None, None, 1, "0")
            for name in ("a@undo", "a@undo@end", "y", "s@finally@end")
        ),
        *more,
    ]
    ranges = [
        Range(1, 1, 0, 1000, [["execution.created", "wf_1", 1000, {}]]),
        *(Range(seq, 1, 1, body[2], [body]) for seq, body in enumerate(bodies, 2)),
    ]
    execution = Execution(
        "exec_1", "w", "cancelled", "key-1", 1 + len(bodies), {"k": 1}, None, None,
        [Segment(0, "", "cancelled", 0, 1, 0, None)],
        [each for each in journal if each.node not in (without, f"{without}@end", f"{without}@finally@end")], ranges,
    )  # fmt: skip
    return Evidence(
        [execution], {"w": STOPPED}, [], [Op("key-1", "ok", "exec_1", 1000)], cancels=frozenset({"exec_1"})
    )


def _moved(name: str, to: int) -> list[list[Any]]:
    left = [each for each in ENDS if each[1] != name]
    return [*left[:to], *(each for each in ENDS if each[1] == name), *left[to:]]


def _lost(name: str) -> list[list[Any]]:
    return [each for each in ENDS if each[1] != name or each[0] == "node.opened"]


BROKEN_ENDS: dict[str, Evidence] = {
    "what succeeded was not undone": ended(_lost("a@undo"), without="a@undo"),
    "a stopped body has no end": ended(ENDS, without="s"),
    "an inner scope did not do its end": ended(_lost("z"), without="z"),
    "the outer scope was undone before the inner one had ended": ended(_moved("z", 7)),
    "the last was done before something was undone": ended(_moved("a@undo", 7)),
    "it ended before its scopes": ended(_moved("y", 8)),
    "a handler was asked": ended(
        [*ENDS[:7], ["node.succeeded", "c", 1003, {"item": "0"}], *ENDS[7:]],
        Entry("c", "succeeded", None, None, 1, "0"),
    ),
    "a scope that was stopped came to something": ended(
        [*ENDS[:8], ["node.succeeded", "s", 1004, {}], *ENDS[8:]], Entry("s", "succeeded", None, None, 1)
    ),
}


def test_nothing_is_wrong_where_scopes_do_in_their_end_what_they_owe() -> None:
    assert checker.check(ended(ENDS)) == []


def test_what_is_forced_owes_nothing() -> None:
    forced: list[list[Any]] = [*_lost("y")[:-1], ["execution.cancel_forced", None, 1004, {}], ENDS[-1]]
    evidence = ended(forced, without="y")
    (execution,) = evidence.executions
    execution.journal = [each for each in execution.journal if each.node != "s@finally@end"]
    assert checker.check(evidence) == []


@pytest.mark.parametrize("what", BROKEN_ENDS)
def test_an_end_that_is_not_as_it_has_to_be_is_seen(what: str) -> None:
    assert {each.invariant for each in checker.check(BROKEN_ENDS[what])} & {"I4", "I20"}
