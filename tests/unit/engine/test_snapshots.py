"""What is read for a message, on a real SQLite file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine import operations as op
from engine.fans import Fan
from engine.snapshots import Past, Work, context_of, load, read_outcomes, read_undone, stopping_inside
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


# Regions


def region(name: str, *nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": name, "type": "scope", "body": {"nodes": list(nodes), "edges": []}, **more}


CALL = {"url": "https://x.example/{{ [x, y, nodes.before.output] | length }}"}
NESTED = document(
    [
        node("before"),
        region(
            "outer",
            region("inner", node("call", "http_request", CALL), for_each={"items": "x.ys", "as": "y"}),
            for_each={"items": "xs", "as": "x"},
        ),
    ],
    edges("before->outer"),
    name="nested",
)
"""Regions: 1 the outer, 2 the inner. Segments: 0 trigger, before and outer, 1 the output, 2 outer@begin and inner."""


@pytest.fixture
def inside(bench: Workbench) -> str:
    """An execution whose items are opened down to the second level."""
    name = bench.start(bench.push(NESTED), {"xs": [0] * 70})
    values = [{"ys": [f"y{index}"]} for index in range(70)]
    slices = (
        op.Entry("before", "pack", output=op.Payload('[["before","v"]]')),
        op.Entry("outer@items", "items", output=op.Payload(json.dumps(values[:64])), item="0"),
        op.Entry("outer@items", "items", output=op.Payload(json.dumps(values[64:])), item="64"),
    )
    fan = Fan(1, 0, 70, 1, 1_000, 0).to_text()
    bench.ask(op.Spread(name, 0, "", 0, True, NOW, slices, owner=OWNER, lease=1, fan=fan))
    second = (op.Entry("inner@items", "items", output=op.Payload('["y65"]'), item="65.0"),)
    fan = Fan(2, 0, 1, 1, 1_000, 0).to_text()
    bench.ask(op.Spread(name, 2, "65", 0, True, NOW, second, owner=OWNER, lease=1, fan=fan))
    return name


def number_of(bench: Workbench, execution: str, node_: str) -> int:
    ((version,),) = bench.query("SELECT version_id FROM execution WHERE id = ?", execution)
    return bench.programs.plan(version, bench.connection).segment_of[node_]


def test_a_segment_inside_comes_with_its_items_and_with_what_its_containers_could_read(
    bench: Workbench, inside: str
) -> None:
    (work,) = loaded(bench, (inside, number_of(bench, inside, "call"), "65.0"))
    assert work.items == {1: {"ys": ["y65"]}, 2: "y65"}
    assert work.outputs == {"before": {"output": "v"}}


def test_of_a_slice_only_the_own_item_is_kept(bench: Workbench, inside: str) -> None:
    number = number_of(bench, inside, "inner")
    works = loaded(bench, (inside, number, "0"), (inside, number, "63"), (inside, number, "64"))
    assert [work.items for work in works] == [{1: {"ys": [f"y{each}"]}} for each in (0, 63, 64)]


def test_a_container_comes_with_its_count(bench: Workbench, inside: str) -> None:
    bench.connection.run("UPDATE segment SET status = 'ready' WHERE segment = 0")
    (work,) = loaded(bench, (inside, 0, ""))
    assert work.fan is not None
    assert (work.fan.region, work.fan.count, work.fan.pending, work.hi) == (1, 70, 70, None)


def test_the_item_of_an_iteration_is_what_the_last_one_came_to(bench: Workbench) -> None:
    body = {"nodes": [node("call", "http_request", {"url": "https://x.example/{{ item }}"})], "edges": []}
    scope = {"id": "l", "type": "scope", "loop": {"while": "true", "initial": "first"}, "body": body}
    name = bench.start(bench.push(document([scope])))
    first = (op.Entry("l@items", "items", output=op.Payload('["first"]'), item="0"),)
    for index, entries in (
        (0, first),
        (1, (op.Entry("l@end", "succeeded", output=op.Payload('"2nd"'), item="0"),)),
    ):
        bench.connection.run("UPDATE segment SET status = 'ready', epoch = 0 WHERE segment = 0")
        fan = Fan(1, index, 1, 1, 1, 0).to_text()
        bench.ask(op.Spread(name, 0, "", 0, True, NOW, entries, owner=OWNER, lease=1, fan=fan))
    works = loaded(bench, (name, 2, "0"), (name, 2, "1"))
    assert [work.items for work in works] == [{1: "first"}, {1: "2nd"}]


def journaled(bench: Workbench, execution: str, *entries: op.Entry) -> None:
    bench.ask(op.Record(execution, 0, "", 0, True, NOW, entries))


def ended(item: str, output: str = "1", **more: Any) -> op.Entry:
    return op.Entry("m@end", more.pop("status", "succeeded"), output=op.Payload(output), item=item, **more)


def outcomes_of(bench: Workbench, execution: str, item: str = "", latest: int | None = None) -> list[Any]:
    plan = bench.programs.plan(
        bench.query("SELECT version_id FROM execution WHERE id = ?", execution)[0][0], bench.connection
    )
    container = plan.nodes["m"].container
    assert container is not None
    found = read_outcomes(bench.connection, plan, execution, item, container, latest)
    return [(each.index, each.value, each.error) for each in found.get(container.body, [])]


def test_outcomes_stand_in_the_order_of_numbers_whether_one_by_one_or_in_chunks(bench: Workbench) -> None:
    name = bench.start(bench.push(document([node("m", for_each={"items": "xs"})])))
    error = {"code": "x"}
    journaled(
        bench,
        name,
        ended("10", "10"),
        ended("9", "null", status="failed", error=json.dumps(error)),
        ended("2", "[2, null]", status="chunk", error=json.dumps({"3": error})),
    )
    assert outcomes_of(bench, name) == [(2, 2, None), (3, None, error), (9, None, error), (10, 10, None)]


def test_outcomes_of_another_instance_are_not_ones_own(bench: Workbench) -> None:
    inner = node("m", for_each={"items": "item"})
    name = bench.start(bench.push(document([region("outer", inner, for_each={"items": "xs"})])))
    journaled(bench, name, ended("1.0", "10"), ended("1.1", "11"), ended("10.0", "100"), ended("2.0", "20"))
    assert outcomes_of(bench, name, "1") == [(0, 10, None), (1, 11, None)]
    assert outcomes_of(bench, name, "10") == [(0, 100, None)]


def test_of_a_loop_the_last_outcome_is_enough(bench: Workbench) -> None:
    name = bench.start(bench.push(document([node("m", loop={"while": "true"})])))
    journaled(bench, name, *(ended(str(each), str(each)) for each in range(11)))
    assert outcomes_of(bench, name, latest=10) == [(10, 10, None)]
    assert len(outcomes_of(bench, name)) == 11


def test_what_is_to_be_undone_has_succeeded_the_last_first(bench: Workbench) -> None:
    nodes = [node(each, compensate={"type": "noop"}) for each in "abcde"]
    name = bench.start(bench.push(document([region("s", *nodes)])))
    plan = bench.programs.plan(
        bench.query("SELECT version_id FROM execution WHERE id = ?", name)[0][0], bench.connection
    )
    container = plan.nodes["s"].container
    assert container is not None
    journaled(
        bench,
        name,
        op.Entry("b", "succeeded", item="0", ended_at=NOW + 1),
        op.Entry("a", "pack", output=op.Payload('[["a",1]]'), item="0", ended_at=NOW + 2),
        op.Entry("c", "continued", item="0", ended_at=NOW + 3),
        op.Entry("d", "failed", item="0", ended_at=NOW + 3),
        op.Entry("e", "succeeded", item="1", ended_at=NOW + 3),
    )
    region_of = dict(container.undo)
    found = read_undone(bench.connection, plan, name, "", container.undo)
    assert found == [region_of["a"], region_of["b"]]


def test_nodes_of_one_segment_are_undone_in_the_order_of_the_graph_whenever_their_rows_were_written(
    bench: Workbench,
) -> None:
    """A cheap node that ran before another is journaled with the pack it ended in, perhaps later than the other."""
    nodes = [node(each, compensate={"type": "noop"}) for each in "ab"]
    scope = region("s") | {"body": {"nodes": nodes, "edges": edges("a->b")}}
    name = bench.start(bench.push(document([scope])))
    plan = bench.programs.plan(
        bench.query("SELECT version_id FROM execution WHERE id = ?", name)[0][0], bench.connection
    )
    container = plan.nodes["s"].container
    assert container is not None
    assert plan.segment_of["a"] == plan.segment_of["b"]
    journaled(
        bench,
        name,
        op.Entry("b", "succeeded", item="0", ended_at=NOW + 1),
        op.Entry("a", "pack", output=op.Payload('[["a",1]]'), item="0", ended_at=NOW + 2),
    )
    region_of = dict(container.undo)
    found = read_undone(bench.connection, plan, name, "", container.undo)
    assert found == [region_of["b"], region_of["a"]]


@pytest.mark.parametrize(
    ("join", "order"),
    [("all", ["c", "b", "a"]), ("any", ["b", "a", "c"])],
)
def test_what_the_graph_says_came_first_is_undone_last_although_a_clock_was_set_back(
    bench: Workbench, join: str, order: list[str]
) -> None:
    nodes = [
        node(each, "http_request", {"url": "https://x.example"}, compensate={"type": "noop"}, join=mode)
        for each, mode in (("a", "all"), ("b", "all"), ("c", join))
    ]
    scope = region("s") | {"body": {"nodes": nodes, "edges": edges("a->c", "b->c")}}
    name = bench.start(bench.push(document([scope])))
    plan = bench.programs.plan(
        bench.query("SELECT version_id FROM execution WHERE id = ?", name)[0][0], bench.connection
    )
    container = plan.nodes["s"].container
    assert container is not None
    journaled(
        bench,
        name,
        op.Entry("a", "succeeded", item="0", ended_at=NOW + 600_000),
        op.Entry("b", "succeeded", item="0", ended_at=NOW + 600_001),
        op.Entry("c", "succeeded", item="0", ended_at=NOW + 1),
    )
    region_of = dict(container.undo)
    found = read_undone(bench.connection, plan, name, "", container.undo)
    assert found == [region_of[each] for each in order]


def test_what_was_told_to_stop_is_inside_until_it_has_ended(bench: Workbench, inside: str) -> None:
    def stops(item: str, first: int = 2, beyond: int = 9) -> bool:
        return stopping_inside(bench.connection, inside, item, first, beyond)

    number = number_of(bench, inside, "call")
    bench.ask(op.Claim(inside, number, "65.0", OWNER, NOW, NOW + 1))
    assert not stops("")
    for stop in (1, 2):
        bench.connection.run(
            "UPDATE segment SET stop = ? WHERE segment = ? AND item = '65.0'", (stop, number)
        )
        found = [stops(""), stops("65"), stops("6"), stops("", beyond=3)]
        assert found == [True, True, False, False]
    bench.connection.run("UPDATE segment SET status = 'cancelled' WHERE segment = ?", (number,))
    assert not stops("")


def test_of_a_message_that_came_twice_both_know_what_has_met(bench: Workbench) -> None:
    join = {"mode": "any", "collect": "list"}
    nodes = [node("a"), node("b"), node("j", "set", {"values": {"met": "{{ joined }}"}}, join=join)]
    name = bench.start(bench.push(document(nodes, edges("a->j", "b->j"))), {})
    for number, exits in ((0, 2), (1, 2)):
        bench.ask(op.Settle(name, number, "", 0, True, NOW, taken=(True,) * exits))
    assert [work.joined for work in loaded(bench, (name, 3, ""), (name, 3, ""))] == [("a",)] * 2
