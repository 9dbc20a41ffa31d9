"""What is read for a message, on a real SQLite file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine import operations as op
from engine.snapshots import Past, Work, context_of, load
from tests.builders import document, edges, node
from tests.workbench import NOW, OWNER, Workbench

TWO = document(
    [
        node("a"),
        node("b", "wait", {"for": 1}),
        node("c", "set", {"values": {"x": "{{ nodes.a.output }}"}}),
        node("d", "http_request", {"url": "https://x.example/{{ nodes.a.output }}{{ nodes.b.output }}"}),
    ],
    edges("a->b->c", "b->d"),
    name="two",
)
"""Segments: 0 trigger, a and b (which waits), 1 c, 2 d, 3 the output."""


@pytest.fixture
def begun(bench: Workbench) -> str:
    """An execution whose first segment has ended; `a` is in a pack, `b` has a row of its own."""
    name = bench.start(bench.push(TWO), {"k": 1})
    entries = (
        op.Entry("a", "pack", output=op.Payload('[["a",{"v":1}]]')),
        op.Entry("b", "succeeded", output=op.Payload('"waited"')),
    )
    bench.ask(op.Settle(name, 0, "", 0, True, NOW, entries, taken=(True, True)))
    return name


def loaded(bench: Workbench, *references: tuple[str, int, str]) -> list[Work]:
    return load(bench.connection, bench.programs, references)


def test_a_segment_comes_with_its_execution_and_the_outputs_it_refers_to(
    bench: Workbench, begun: str
) -> None:
    first, second = loaded(bench, (begun, 1, ""), (begun, 2, ""))
    assert first.outputs == {"a": {"output": {"v": 1}}, "b": {"output": "waited"}}
    assert second.outputs == {"a": {"output": {"v": 1}}, "b": {"output": "waited"}}
    facts = first.facts
    assert (facts.execution, facts.payload, facts.trigger) == (
        begun,
        {"k": 1},
        {"type": "manual", "id": "trigger"},
    )
    assert (facts.created_at, first.ready_at, first.epoch, first.deliveries) == (NOW, NOW, 0, 0)
    assert first.past == {}


def test_a_reference_that_leads_to_nothing_is_left_out(bench: Workbench, begun: str) -> None:
    assert loaded(bench, ("exec_unknown", 0, ""), (begun, 99, ""), (begun, 1, "7")) == []
    assert loaded(bench) == []


def test_what_is_not_ready_or_not_to_run_is_left_out(bench: Workbench, begun: str) -> None:
    assert loaded(bench, (begun, 0, "")) == []
    bench.ask(op.Claim(begun, 2, "", OWNER, NOW, NOW))
    assert [each.segment.id for each in loaded(bench, (begun, 1, ""), (begun, 2, ""))] == [1]
    bench.ask(op.Pause(begun, NOW))
    assert loaded(bench, (begun, 1, "")) == []


def test_nothing_of_a_cancelled_execution_is_run(bench: Workbench, begun: str) -> None:
    bench.ask(op.Claim(begun, 2, "", OWNER, NOW, NOW))
    bench.ask(op.Cancel(begun, NOW))
    assert loaded(bench, (begun, 1, ""), (begun, 2, "")) == []


def test_what_lies_in_blobs_is_read_with_the_rest(bench: Workbench) -> None:
    long, longer = "x" * 40_000, "y" * 40_000
    name = bench.start(bench.push(TWO), long)
    blob = op.Blob("h" * 64, json.dumps(longer))
    at: dict[str, Any] = {"execution": name, "segment": 0, "item": "", "epoch": 0, "pure": True, "now": NOW}
    entry = op.Entry("a", "succeeded", output=op.Payload(blob=blob.hash))
    bench.ask(op.Settle(**at, entries=(entry,), blobs=(blob,), taken=(True, True)))
    (work,) = loaded(bench, (name, 1, ""))
    assert work.facts.payload == long
    assert work.outputs["a"] == {"output": longer}


def test_an_execution_without_a_payload_has_null(bench: Workbench) -> None:
    (work,) = loaded(bench, (bench.start(bench.push(TWO)), 0, ""))
    assert work.facts.payload is None


def test_what_a_segment_has_journaled_itself_is_its_past(bench: Workbench, begun: str) -> None:
    bench.ask(op.Claim(begun, 2, "", OWNER, NOW, NOW))
    at: dict[str, Any] = {"execution": begun, "segment": 2, "item": "", "epoch": 1, "pure": False, "now": NOW}
    entries = (
        op.Entry("d", "intent", "once", tries=2),
        op.Entry("d", "succeeded", "read", "look", op.Payload("7")),
        op.Entry("d", "failed", "read", "ask", error='{"code":"x.y"}'),
    )
    bench.ask(op.Release(**at, entries=entries))
    (work,) = loaded(bench, (begun, 2, ""))
    assert work.past == {
        ("d", ""): Past("intent", None, None, 2, 1),
        ("d", "look"): Past("succeeded", 7, None, 1, 1),
        ("d", "ask"): Past("failed", None, {"code": "x.y"}, 1, 1),
    }


def test_a_segment_that_waits_reads_its_past_although_it_was_never_claimed(bench: Workbench) -> None:
    name = bench.start(bench.push(document([node("w", "wait", {"for": 1}), node("z")], edges("w->z"))))
    at: dict[str, Any] = {"execution": name, "segment": 0, "item": "", "epoch": 0, "pure": True, "now": NOW}
    entry = op.Entry("w", "waiting", output=op.Payload('"until"'))
    bench.ask(op.Suspend(**at, entries=(entry,), due=NOW))
    bench.ask(op.Wake(name, ((0, ""),), NOW))
    (work,) = loaded(bench, (name, 0, ""))
    assert work.past == {("w", ""): Past("waiting", "until", None, 1)}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("succeeded", {"output": 1}),
        ("continued", {"output": 1, "error": {"code": "x"}}),
        ("failed", {"error": {"code": "x"}}),
        ("intent", None),
        ("waiting", None),
        ("waived", None),
    ],
)
def test_an_expression_sees_what_has_finished(status: str, expected: Any) -> None:
    assert context_of(Past(status, 1, {"code": "x"}, 1)) == expected


def test_a_predecessor_that_has_not_finished_is_not_seen(bench: Workbench, begun: str) -> None:
    bench.connection.run("UPDATE journal SET status = 'waiting' WHERE node = 'b'")
    (work,) = loaded(bench, (begun, 1, ""))
    assert work.outputs == {"a": {"output": {"v": 1}}}
