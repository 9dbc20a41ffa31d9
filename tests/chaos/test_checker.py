"""The judge sees every kind of broken promise, and nothing wrong where nothing is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from tests.builders import document, edges, node
from tests.chaos import checker
from tests.chaos.checker import Entry, Evidence, Execution, Fault, Op, Range, Segment
from tests.chaos.dags import Case
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
