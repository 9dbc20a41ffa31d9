"""Forks: what is kept of an execution is not done again, and what comes after it is done as if it had been."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from celeriac import Exit, Fail, Json, Route, Wait
from engine import admission, bases, queries
from engine import operations as op
from engine.errors import Invalid, NotFound
from engine.retention import purge
from tests.builders import document, edge, edges
from tests.builders import node as vertex
from tests.theatre import STAGE, Stage, Theatre
from tests.unit.engine.test_execute import chain, statuses
from tests.unit.engine.test_withdrawals import withdraw
from tests.workbench import NOW, Workbench


def prepared(at: Workbench, name: str, *again: str, failure: bool = False, **more: Any) -> bases.Prepared:
    wanted = bases.Wanted(None if failure else again, **more)
    return bases.prepare(at.connection, at.programs.plan, name, wanted, at.clock.now(), at.settings.limits)


def words(found: bases.Prepared) -> dict[str, str]:
    return {each.node: each.word for each in found.fork.verdicts}


def begin(at: Workbench, name: str, *again: str, **more: Any) -> str:
    """Start a fork, and send what it begins with."""
    found = prepared(at, name, *again, **more)
    asked = admission.Request(found.active, found.payload, base=name, fork=found.start)
    started = at.ask(admission.operation(cast("Any", at), asked))
    at.outlet.sent.extend((queue, (started.execution, number, item)) for number, item, queue in started.ready)
    return str(started.execution)


async def fork(at: Theatre, name: str, *again: str, **more: Any) -> str:
    """Start a fork and carry it as far as it goes."""
    STAGE.calls.clear()
    STAGE.seen.clear()
    made = begin(at, name, *again, **more)
    await at.carry()
    return made


def reads(name: str, kind: str = "pure", **more: Any) -> dict[str, Any]:
    return vertex(name, kind, {"text": f"{{{{ nodes.{more.pop('of')}.output.by }}}}"}, **more)


async def test_what_had_ended_well_before_the_failure_is_kept(at: Theatre, stage: Stage) -> None:
    stage.tell("c", Fail("x.broken", "It broke."), {"by": "c"})
    name = await at.run(chain("keyed", "pure", "keyed", "pure"))
    assert (at.status(name), stage.calls) == ("failed", ["a", "b", "c"])
    found = prepared(at, name, failure=True)
    assert words(found) == {"a": "kept", "b": "kept", "c": "again", "d": "again"}
    assert {each.node: each.reason for each in found.fork.verdicts}["d"] == "it comes after c"
    made = await fork(at, name, failure=True)
    assert stage.calls == ["c", "d"]
    assert (at.status(made), at.output(made)) == ("succeeded", {"d": {"by": "d"}})
    assert (at.status(name), at.error(name)["code"]) == ("failed", "x.broken")
    assert at.query("SELECT base FROM execution WHERE id = ?", made) == [(name,)]


async def test_the_outputs_of_kept_nodes_are_read(at: Theatre, stage: Stage) -> None:
    stage.tell("a", {"by": "x" * 40_000})
    stage.tell("c", Fail("x.broken", "It broke."), {"by": "c"})
    body = document(
        [
            vertex("a", "keyed"),
            vertex("b", "pure"),
            vertex("c", "keyed", {"text": "{{ nodes.a.output.by | length }}{{ nodes.b.output.by }}"}),
        ],
        edges("a->b->c"),
    )
    name = await at.run(body)
    await fork(at, name, failure=True)
    assert stage.seen == [("c", "40000b")]


async def test_branches_are_kept_one_by_one_and_their_join_is_counted(at: Theatre, stage: Stage) -> None:
    stage.tell("c", Fail("x.broken", "It broke."), {"by": "c"})
    body = document([vertex(each, "keyed") for each in "abcd"], edges("a->b->d", "a->c->d"))
    name = await at.run(body)
    assert at.status(name) == "failed"
    assert "b" in statuses(at, name)
    made = begin(at, name, failure=True)
    assert at.query(
        "SELECT segment, status, pending, taken, exits FROM segment WHERE execution_id = ? ORDER BY 1", made
    ) == [
        (0, "done", 0, 1, "*"),
        (1, "done", 0, 1, "*"),
        (2, "ready", 0, 1, None),
        (3, "blocked", 1, 1, None),
    ]
    stage.calls.clear()
    await at.carry()
    assert (at.status(made), stage.calls) == ("succeeded", ["c", "d"])


async def test_a_choice_that_is_kept_is_not_made_again(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Route(("false",), 7))
    stage.tell("no", Fail("x.broken", "It broke."), {"by": "no"})
    body = document(
        [vertex("a", "forks"), vertex("yes", "pure"), vertex("no", "keyed"), vertex("meet", "keyed")],
        [edge("a", "yes", port="true"), edge("a", "no", port="false"), *edges("yes->meet", "no->meet")],
    )
    name = await at.run(body)
    found = prepared(at, name, failure=True)
    assert words(found) == {"a": "kept", "yes": "kept", "no": "again", "meet": "again"}
    made = await fork(at, name, failure=True)
    assert (at.status(made), stage.calls) == ("succeeded", ["no", "meet"])


async def test_a_failure_that_was_dealt_with_is_kept(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Fail("x.broken", "It broke."))
    stage.tell("c", Fail("x.broken", "It broke."), {"by": "c"})
    body = document(
        [
            vertex("a", "keyed"),
            vertex("b", "keyed"),
            vertex("c", "keyed", {"text": "{{ nodes.a.error.code }}"}),
        ],
        [edge("a", "b"), edge("a", "c", on="error")],
    )
    name = await at.run(body)
    assert at.status(name) == "failed"
    made = await fork(at, name, failure=True)
    assert (at.status(made), stage.calls, stage.seen) == ("succeeded", ["c"], [("c", "x.broken")])


async def test_a_named_node_and_all_that_comes_after_it_are_done_again(at: Theatre, stage: Stage) -> None:
    body = document([vertex(each, "keyed") for each in "abcd"], edges("a->b->d", "a->c->d"))
    name = await at.run(body)
    made = await fork(at, name, "b")
    assert (at.status(made), stage.calls) == ("succeeded", ["b", "d"])
    assert words(prepared(at, name, "a")) == dict.fromkeys("abcd", "again")


async def test_a_fork_of_a_fork_stands_by_itself(at: Theatre, stage: Stage) -> None:
    stage.tell("b", Fail("x.broken", "It broke."))
    stage.tell("a", {"by": "x" * 40_000})
    name = await at.run(
        chain("keyed", "keyed", {"type": "pure", "config": {"text": "{{ nodes.a.output.by | length }}"}})
    )
    second = await fork(at, name, failure=True)
    assert (at.status(second), stage.calls) == ("failed", ["b"])
    at.clock.move(10)
    third = begin(at, second, failure=True)
    at.query("UPDATE execution SET base = NULL WHERE id = ?", third)
    purge(at.database, at.clock.now(), at.clock.now())
    assert at.query("SELECT id FROM execution") == [(third,)]
    stage.tell("b", {"by": "b"})
    stage.seen.clear()
    at.query("UPDATE execution SET base = 'gone' WHERE id = ?", third)
    await at.carry()
    assert (at.status(third), stage.seen) == ("succeeded", [("b", None), ("c", 40_000)])


async def test_the_latest_version_keeps_what_it_has_not_changed(at: Theatre, stage: Stage) -> None:
    stage.tell("c", Fail("x.broken", "It broke."), {"by": "c"})
    old = document(
        [
            vertex("a", "keyed"),
            vertex("b", "keyed"),
            vertex("c", "keyed", {"text": "old"}),
            vertex("gone", "pure"),
        ],
        edges("a->b->c->gone"),
    )
    name = await at.run(old)
    new = document(
        [
            vertex("a", "keyed"),
            vertex("b", "keyed"),
            vertex("c", "keyed", {"text": "new"}),
            vertex("more", "keyed"),
        ],
        edges("a->b->c", "a->more"),
    )
    at.push(new)
    assert words(prepared(at, name, failure=True)) == {
        "a": "kept",
        "b": "kept",
        "c": "again",
        "gone": "again",
    }
    found = prepared(at, name, failure=True, version="latest")
    assert words(found) == {"a": "kept", "b": "kept", "c": "changed", "more": "added", "gone": "removed"}
    made = await fork(at, name, failure=True, version="latest")
    assert (at.status(made), sorted(stage.calls)) == ("succeeded", ["c", "more"])
    assert ("c", "new") in stage.seen
    assert words(prepared(at, made, version=1))["c"] == "changed"


async def test_a_given_output_takes_the_place_of_a_nodes_own(at: Theatre, stage: Stage) -> None:
    body = document(
        [vertex("a", "keyed"), reads("b", "keyed", of="a"), reads("c", "keyed", of="b")], edges("a->b->c")
    )
    stage.tell("b", Fail("x.broken", "It broke."))
    name = await at.run(body)
    assert words(prepared(at, name, outputs={"b": {"by": "me"}})) == {
        "a": "kept",
        "b": "pinned",
        "c": "again",
    }
    made = await fork(at, name, outputs={"b": {"by": "me"}})
    assert (at.status(made), stage.seen) == ("succeeded", [("c", "me")])
    assert at.kinds(made)[:3] == ["execution.created", "node.kept", "node.pinned"]


async def test_a_given_output_is_waited_for_like_any_other(at: Theatre, stage: Stage) -> None:
    body = document(
        [
            vertex("a", "keyed"),
            vertex("b", "keyed"),
            vertex("c", "keyed", queue="cpu"),
            reads("d", "keyed", of="c"),
        ],
        edges("a->b->c->d"),
    )
    name = await at.run(body)
    made = await fork(at, name, "b", outputs={"c": {"by": "me"}})
    assert (at.status(made), stage.seen) == ("succeeded", [("b", None), ("d", "me")])


async def test_another_payload_lets_only_those_stand_that_do_not_read_it(at: Theatre, stage: Stage) -> None:
    body = document(
        [
            vertex("a", "keyed"),
            vertex("b", "keyed", {"text": "{{ k }}"}),
            vertex("c", "keyed", {"text": "{{ vars.v }}"}),
            vertex("d", "keyed"),
        ],
        edges("a->b", "a->c", "a->d"),
        variables={"v": "{{ k }}"},
    )
    name = await at.run(body, {"k": 1})
    made = await fork(at, name, payload={"k": 2}, has_payload=True)
    assert (at.status(made), sorted(stage.seen)) == ("succeeded", [("b", 2), ("c", 2)])


async def test_a_scope_is_kept_or_done_again_as_a_whole(at: Theatre, stage: Stage) -> None:
    inner = {"nodes": [vertex("x", "keyed"), vertex("y", "keyed")], "edges": edges("x->y")}
    body = document([vertex("s", "scope", body=inner), vertex("t", "keyed")], edges("s->t"))
    stage.tell("t", Fail("x.broken", "It broke."), {"by": "t"})
    name = await at.run(body)
    made = await fork(at, name, failure=True)
    assert (at.status(made), stage.calls) == ("succeeded", ["t"])
    stage.tell("y", Fail("x.broken", "It broke."), {"by": "y"})
    name = await at.run(body)
    made = await fork(at, name, failure=True)
    assert (at.status(made), stage.calls) == ("succeeded", ["x", "y", "t"])
    changed = json.loads(json.dumps(body).replace('"id": "y", "type": "keyed"', '"id": "y", "type": "read"'))
    at.push(changed)
    assert words(prepared(at, made, version="latest")) == {"s": "changed", "t": "again"}
    with pytest.raises(bases.InsideBody) as refused:
        prepared(at, made, "x")
    assert refused.value.hint == "Name s instead."


async def test_a_running_execution_is_forked_and_goes_on(at: Theatre, stage: Stage) -> None:
    body = document([vertex("a", "keyed"), vertex("b", "keyed", queue="cpu")], edges("a->b"))
    name = at.start(at.push(body))
    (first,) = at.outlet.taken()
    await at.executor().perform([first])
    left = at.outlet.taken()
    assert at.status(name) == "running"
    with pytest.raises(bases.NothingFailed):
        prepared(at, name, failure=True)
    made = begin(at, name)
    stage.calls.clear()
    await at.carry()
    assert (at.status(made), at.status(name), stage.calls) == ("succeeded", "running", ["b"])
    at.outlet.sent.extend(("cpu", each) for each in left)
    await at.carry()
    assert at.status(name) == "succeeded"


async def test_two_forks_of_one_execution_do_not_meet(at: Theatre, stage: Stage) -> None:
    stage.tell("b", Fail("x.broken", "It broke."), {"by": "b"})
    name = await at.run(chain("keyed", "keyed"))
    first, second = begin(at, name, failure=True), begin(at, name, failure=True)
    assert first != second
    await at.carry()
    assert [at.status(each) for each in (first, second)] == ["succeeded", "succeeded"]
    keys = at.query("SELECT count(*) FROM journal WHERE node = 'a'")
    assert keys == [(3,)]


async def test_a_base_that_is_gone_when_the_fork_starts_refuses_it(at: Theatre, stage: Stage) -> None:
    stage.tell("b", Fail("x.broken", "It broke."))
    name = await at.run(chain("keyed", "keyed"))
    found = prepared(at, name, failure=True)
    asked = admission.Request(found.active, found.payload, base=name, fork=found.start)
    start = admission.operation(cast("Any", at), asked)
    at.query("DELETE FROM journal WHERE node = 'a'")
    (refused,) = at.step(start)
    assert isinstance(refused, NotFound)
    at.query("DELETE FROM execution")
    (refused,) = at.step(start)
    assert isinstance(refused, NotFound)
    assert at.query("SELECT * FROM execution") == []
    assert at.query("SELECT * FROM segment WHERE execution_id = ?", start.execution) == []


async def test_a_fork_with_a_key_is_started_once(at: Theatre, stage: Stage) -> None:
    stage.tell("b", Fail("x.broken", "It broke."), {"by": "b"})
    name = await at.run(chain("keyed", "keyed"))
    found = prepared(at, name, failure=True)
    asked = admission.Request(
        found.active, found.payload, base=name, fork=found.start, idempotency_key="k", wish="w"
    )
    first = at.ask(admission.operation(cast("Any", at), asked))
    again = at.ask(admission.operation(cast("Any", at), asked))
    assert (first.new, again.new, again.same, again.ready) == (True, False, True, ())
    assert again.execution == first.execution
    other = admission.Request(
        found.active, found.payload, base=name, fork=found.start, idempotency_key="k", wish="v"
    )
    assert at.ask(admission.operation(cast("Any", at), other)).same is False


async def test_a_race_that_was_won_is_not_run_again(at: Theatre, stage: Stage) -> None:
    body = document(
        [
            vertex("a", "keyed"),
            vertex("b", "keyed"),
            vertex("c", "keyed", queue="cpu"),
            vertex("win", "keyed", join={"mode": "any", "cancel_rest": True}),
            vertex("z", "keyed"),
        ],
        edges("a->b->win", "a->c->win", "win->z"),
    )
    stage.tell("z", Fail("x.broken", "It broke."), {"by": "z"})
    name = at.start(at.push(body))
    while references := [
        each for each in at.outlet.taken() if at.segment(each[0], each[1], "queue") != ("cpu",)
    ]:
        await at.executor().perform(references)
    assert (at.status(name), stage.calls) == ("failed", ["a", "b", "win", "z"])
    made = await fork(at, name, failure=True)
    assert (at.status(made), stage.calls) == ("succeeded", ["z"])
    assert words(prepared(at, name, "b"))["win"] == "again"
    made = await fork(at, name, "b")
    assert (at.status(made), "z" in stage.calls) == ("succeeded", True)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"outputs": {"a": 1}}, bases.HasPorts),
        ({"outputs": {"zzz": 1}}, bases.UnknownNode),
        ({"outputs": {"b": "x" * 40_000}}, Invalid),
        ({"version": 7}, NotFound),
        ({"failure": True}, bases.NothingFailed),
    ],
)
async def test_a_wish_that_cannot_be_met_is_refused(
    at: Theatre, more: dict[str, Any], error: type[Exception]
) -> None:
    name = await at.run(document([vertex("a", "forks"), vertex("b", "pure")], [edge("a", "b", port="true")]))
    with pytest.raises(error):
        prepared(at, name, **more)


async def test_kept_nodes_are_told_in_the_history_and_shown_as_kept(at: Theatre, stage: Stage) -> None:
    stage.tell("c", Fail("x.broken", "It broke."), {"by": "c"})
    name = await at.run(chain("pure", "keyed", "keyed"))
    made = await fork(at, name, failure=True)
    assert at.kinds(made)[:3] == ["execution.created", "node.kept", "node.kept"]
    shown: list[dict[str, Json]] = [each.to_json() for each in queries.nodes(at.connection, made)]
    assert [(each["node"], each["status"], each.get("kept")) for each in shown] == [
        ("b", "succeeded", True),
        ("c", "succeeded", None),
        ("a", "succeeded", True),
    ]


async def test_a_failure_whose_handler_is_gone_is_not_kept(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Fail("x.broken", "It broke."), {"by": "a"})
    stage.tell("c", Fail("x.broken", "It broke."))
    nodes = [vertex(each, "keyed") for each in "abc"]
    name = await at.run(document(nodes, [edge("a", "b"), edge("a", "c", on="error")]))
    at.push(document(nodes, [edge("a", "b"), edge("b", "c")]))
    stage.tell("c", 1)
    made = await fork(at, name, failure=True, version="latest")
    assert (at.status(made), stage.calls) == ("succeeded", ["a", "b", "c"])


async def test_an_edge_that_is_added_is_decided_without_doing_its_source_again(
    at: Theatre, stage: Stage
) -> None:
    nodes = [vertex(each, "keyed") for each in "abc"]
    stage.tell("b", Fail("x.broken", "It broke."), {"by": "b"})
    name = await at.run(document(nodes[:2], edges("a->b")), {"k": 1})
    at.push(document(nodes, [edge("a", "b"), edge("a", "c", when="k == 1")]))
    made = await fork(at, name, failure=True, version="latest")
    assert (at.status(made), sorted(stage.calls)) == ("succeeded", ["b", "c"])


async def test_a_choice_with_another_port_is_made_again(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Route(("true",), 7))
    nodes = [vertex("a", "forks"), vertex("b", "keyed"), vertex("c", "keyed")]
    name = await at.run(document(nodes[:2], [edge("a", "b", port="true")]))
    at.push(document(nodes, [edge("a", "b", port="true"), edge("a", "c", port="false")]))
    found = prepared(at, name, version="latest")
    assert words(found) == {"a": "again", "b": "again", "c": "added"}
    made = await fork(at, name, version="latest")
    assert (at.status(made), stage.calls) == ("succeeded", ["a", "b"])


async def test_a_skipped_node_stays_skipped_in_a_fork(at: Theatre, stage: Stage) -> None:
    stage.tell("b", Wait(NOW + 10_000))
    stage.tell("z", Fail("x.broken", "It broke."), {"by": "z"})
    body = document(
        [vertex("a", "keyed"), vertex("b", "waits"), vertex("c", "keyed"), vertex("z", "keyed")],
        edges("a->b->c->z", "a->z"),
    )
    name = await at.run(body)
    withdraw(at, name, "b")
    await at.carry()
    assert at.status(name) == "failed"
    made = await fork(at, name, failure=True)
    assert (at.status(made), stage.calls) == ("succeeded", ["z"])


@pytest.mark.parametrize("scope", ["workflow", "branch"])
async def test_a_node_that_ended_more_than_itself_does_so_again(
    at: Theatre, stage: Stage, scope: Any
) -> None:
    stage.tell("b", Exit(scope, 7))
    nodes = [vertex("a", "keyed"), vertex("b", "waits"), vertex("c", "keyed")]
    name = await at.run(document(nodes, edges("a->b->c")))
    assert (at.status(name), stage.calls) == ("succeeded", ["a", "b"])
    made = await fork(at, name, outputs={"a": 1})
    assert (at.status(made), at.output(made), stage.calls) == ("succeeded", at.output(name), ["b"])
    made = await fork(at, name)
    assert (at.status(made), at.output(made), stage.calls) == ("succeeded", at.output(name), ["b"])


async def test_what_ended_its_branch_inside_a_segment_does_so_again(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Route((), 7))
    name = await at.run(chain("pure", "keyed"))
    made = await fork(at, name)
    assert (at.status(made), at.output(made), stage.calls) == ("succeeded", {}, ["a"])


async def test_another_payload_is_looked_for_inside_of_bodies_and_on_edges_too(
    at: Theatre, stage: Stage
) -> None:
    def scope(name: str, text: str, when: str) -> dict[str, Any]:
        inner = [vertex(f"{name}1", "keyed", {"text": text}), vertex(f"{name}2", "keyed")]
        each = {"items": "[1]", "as": "one"}
        body = {"nodes": inner, "edges": [edge(f"{name}1", f"{name}2", when=when)]}
        return vertex(name, "scope", body=body, for_each=each)

    body = document(
        [
            scope("s", "{{ one }}{{ index }}", "item == 1"),
            scope("t", "{{ k }}", "item == 1"),
            scope("u", "{{ one }}", "k == 1"),
            vertex("x", "keyed"),
            vertex("y", "keyed"),
        ],
        [edge("x", "y", when="k == 1")],
    )
    name = await at.run(body, {"k": 1})
    found = prepared(at, name, payload={"k": 2}, has_payload=True)
    assert words(found) == {"s": "kept", "t": "again", "u": "again", "x": "kept", "y": "again"}
    made = await fork(at, name, payload={"k": 2}, has_payload=True)
    assert at.status(made) == "succeeded"
    assert sorted(stage.calls) == ["t1", "t2", "u1"]


async def test_items_of_a_body_that_reads_the_payload_are_done_again_with_another(
    at: Theatre, stage: Stage
) -> None:
    for text, count in (("{{ k }}", 2), ("{{ one }}", 1)):
        stage.tell("m@item", 1, Fail("x.broken", "It broke."), 3)
        each = {"items": "[1, 2]", "as": "one", "concurrency": 1}
        name = await at.run(document([vertex("m", "keyed", {"text": text}, for_each=each)]), {"k": 1})
        assert at.status(name) == "failed"
        made = await fork(at, name, failure=True, payload={"k": 2}, has_payload=True)
        assert (at.status(made), len(stage.calls)) == ("succeeded", count)


async def test_a_node_deep_inside_is_refused_by_the_name_of_the_outermost(at: Theatre, stage: Stage) -> None:
    inner = {"nodes": [vertex("deep", "pure")]}
    name = await at.run(document([vertex("s", "scope", body={"nodes": [vertex("t", "scope", body=inner)]})]))
    with pytest.raises(bases.InsideBody) as refused:
        prepared(at, name, "deep")
    assert refused.value.hint == "Name s instead."


async def test_variables_that_change_change_those_that_read_them(at: Theatre, stage: Stage) -> None:
    nodes = [vertex("a", "keyed", {"text": "{{ vars.v }}"}), vertex("b", "keyed")]
    name = await at.run(document(nodes, variables={"v": 1}))
    at.push(document(nodes, variables={"v": 2}))
    assert words(prepared(at, name, version="latest")) == {"a": "changed", "b": "kept"}


async def test_an_effect_of_unknown_fate_is_told_as_such_and_may_be_given(at: Theatre, stage: Stage) -> None:
    stage.tell("b", ZeroDivisionError("gone"))
    name = await at.run(chain("keyed", "once", {"type": "keyed", "config": {"text": "{{ nodes.b.output }}"}}))
    assert at.segment(name, 0, "status") == ("uncertain",)
    told = {each.node: each.reason for each in prepared(at, name, failure=True).fork.verdicts}
    assert told["b"] == "nobody knows whether its effect happened"
    made = await fork(at, name, outputs={"b": 5})
    assert (at.status(made), stage.seen) == ("succeeded", [("c", 5)])
    assert at.status(name) == "waiting"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    made = Workbench(tmp_path)
    yield made
    made.close()


async def test_what_was_called_and_what_was_signalled_is_kept(bench: Workbench) -> None:
    bench.push(document([vertex("one", "transform", {"expression": "1"})], name="child"))
    broken = {"expression": "nodes.wait.output.payload / nodes.call.output.one * (1 / zero)"}
    nodes = [
        vertex("call", "workflow", {"workflow": "child"}),
        vertex("wait", "wait", {"event": {"type": "paid"}, "timeout": "1h"}),
        vertex("sum", "transform", broken),
    ]
    name = bench.start(bench.push(document(nodes, edges("call->wait->sum"), name="parent")), {"zero": 0})
    await bench.carry()
    paid = op.Publish("evt_1", "proj_default", "paid", "", data=op.Payload("8"), now=NOW, expires_at=NOW + 9)
    for execution, ready in bench.ask(paid).ready:
        bench.outlet.send(execution, [ready])
    await bench.carry()
    assert bench.status(name) == "failed"
    found = prepared(bench, name, failure=True, payload={"zero": 2}, has_payload=True)
    assert words(found) == {"call": "kept", "wait": "kept", "sum": "again"}
    made = begin(bench, name, failure=True, payload={"zero": 2}, has_payload=True)
    await bench.carry()
    assert (bench.status(made), bench.output(made)) == ("succeeded", {"sum": 4.0})
    assert bench.query("SELECT count(*) FROM execution WHERE parent_execution = ?", made) == [(0,)]


async def test_a_fork_is_not_held_by_the_limit_of_its_workflow(bench: Workbench) -> None:
    wait = vertex("wait", "wait", {"event": {"type": "paid"}, "timeout": "1h"})
    active = bench.push(document([wait], concurrency={"key": "k", "limit": 1}))
    name = bench.start(active)
    await bench.carry()
    made = begin(bench, name)
    await bench.carry()
    assert (bench.status(name), bench.status(made)) == ("waiting", "waiting")
    assert bench.query("SELECT execution_id, granted FROM hold") == [(name, 1)]
    assert bench.query("SELECT DISTINCT execution_id FROM subscription ORDER BY 1") == [(name,), (made,)]


async def test_a_map_that_went_on_without_some_of_its_items_is_kept_as_it_is(
    at: Theatre, stage: Stage
) -> None:
    stage.tell("m@item", 1)
    stage.tell("c", Fail("x.broken", "It broke."), {"by": "c"})
    each = {"items": "[1, 2, 3]", "until": "done == 1", "rest": "finish", "concurrency": 1}
    name = await at.run(document([vertex("m", "keyed", for_each=each), vertex("c", "keyed")], edges("m->c")))
    assert at.status(name) == "failed"
    assert words(prepared(at, name, failure=True)) == {"m": "kept", "c": "again"}
    made = await fork(at, name, failure=True)
    assert (at.status(made), stage.calls) == ("succeeded", ["c"])
