"""The reference interpreter against definitions whose meaning is worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from celeriac.duration import rfc3339
from tests.builders import document, edge, edges, node
from tests.chaos.constructs import LIBRARY
from tests.chaos.reference import ANYTHING, Begun, Ended, Record, crowds, evaluate, interpret, judge
from tests.chaos.reference.graphs import Outcome, Way, losers, start_of
from tests.chaos.reference.instances import Run, seen
from tests.chaos.reference.nodes import decided
from tests.chaos.reference.record import Published


def states(nodes: list[dict[str, Any]], ways: list[dict[str, Any]], payload: Any = None) -> dict[str, str]:
    result = interpret(document(nodes, ways), payload or {"k": 1})
    return {name: outcome.state for name, outcome in result.nodes.items()}


def test_a_branch_not_taken_is_skipped_with_all_that_only_it_leads_to() -> None:
    nodes = [node("c", "if", {"condition": "k > 5"}), *map(node, "abde")]
    ways = [edge("c", "a", port="true"), edge("c", "b", port="false"), *edges("a->d", "b->e", "d->e")]
    assert states(nodes, ways) == {
        "c": "succeeded",
        "a": "skipped",
        "b": "succeeded",
        "d": "skipped",
        "e": "succeeded",
    }


@pytest.mark.parametrize(("count", "state"), [(1, "succeeded"), (2, "succeeded"), (3, "skipped")])
def test_a_join_of_n_runs_when_n_of_its_edges_are_taken(count: int, state: str) -> None:
    nodes = [*map(node, "abc"), node("m", join={"mode": "n", "count": count})]
    ways = [edge("a", "m"), edge("b", "m"), edge("c", "m", when="false")]
    assert states(nodes, ways)["m"] == state


def test_an_unhandled_failure_ends_the_execution_and_what_follows_it_never_runs() -> None:
    nodes = [node("a", "fail", {"message": "no", "code": "x.y"}), node("b"), node("c")]
    result = interpret(document(nodes, edges("a->b")), {})
    assert (result.status, result.fatal) == ("failed", {"a"})
    assert "b" not in result.nodes
    assert result.nodes["c"].state == "succeeded"


def test_a_failure_with_an_edge_of_its_own_takes_that_one_only() -> None:
    nodes = [node("a", "fail", {"message": "no", "code": "x.y"}), *map(node, "bcd")]
    ways = [edge("a", "b", on="error"), edge("a", "c"), edge("a", "d", on="any")]
    assert states(nodes, ways) == {"a": "failed", "b": "succeeded", "c": "skipped", "d": "succeeded"}


def test_a_failure_with_a_default_goes_on_with_it() -> None:
    nodes = [
        node("a", "fail", {"message": "no"}, on_error={"default": {"n": 4}}),
        node("b", "transform", {"expression": "nodes.a.output.n + 1"}),
    ]
    assert interpret(document(nodes, edges("a->b")), {}).output == {"b": 5}


@pytest.mark.parametrize(
    ("words", "tries", "state"),
    [
        (["500", "ok"], 2, "succeeded"),
        (["500", "ok"], 1, "failed"),
        (["drop"], 2, "succeeded"),
        (["lose", "lose", "ok"], 3, "succeeded"),
        (["400"], 5, "failed"),
    ],
)
def test_a_call_is_repeated_as_often_as_its_author_allows(words: list[str], tries: int, state: str) -> None:
    config = {"method": "POST", "url": "http://x", "idempotent": True, "body": {}}
    call = node("a", "http_request", config, retry={"max_attempts": tries})
    assert interpret(document([call]), {}, {"a": words}).nodes["a"].state == state


def test_the_default_result_is_what_the_leaves_that_ran_came_to() -> None:
    nodes = [
        node("c", "if", {"condition": "k == 1"}),
        node("a", "wait", {"for": 1}),
        node("b", "set", {"values": {"n": "{{ k }}"}}),
    ]
    ways = [edge("c", "a", port="false"), edge("c", "b", port="true")]
    assert interpret(document(nodes, ways), {"k": 1}).output == {"b": {"n": 1}}
    assert interpret(document(nodes, ways), {"k": 2}).output == {"a": ANYTHING}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3 % 7", 2),
        ("k - 3 < 0 and s == 'x'", True),
        ("a.b | default(4)", 4),
        ("(a.b | default(k)) + 1", 3),
        ("false or k != 2", False),
    ],
)
def test_an_expression_has_a_value(text: str, value: Any) -> None:
    assert evaluate(text, {"k": 2, "s": "x", "a": {}}) == value


# Containers


def contained(node_: dict[str, Any], payload: Any = None) -> tuple[Any, dict[tuple[str, str], str]]:
    """What a definition of one container `m` comes to, and the states of all inside."""
    result = interpret(document([node_]), payload or {"xs": [1, 2, 3]})
    output = result.output["m"] if result.status == "succeeded" else result.nodes["m"].code
    return output, {place: each.state for place, each in result.runs.items() if each is not None and place[1]}


def scope(*nodes: dict[str, Any], ways: str = "", **more: Any) -> dict[str, Any]:
    return {
        "id": "m",
        "type": "scope",
        "body": {"nodes": list(nodes), "edges": edges(ways) if ways else []},
        **more,
    }


DOUBLE = node("a", "transform", {"expression": "item * 2"})
TRAP = node("t", "fail", {"message": "no", "code": "x.y"})


def test_a_map_comes_to_what_its_items_come_to() -> None:
    output, runs = contained(scope(DOUBLE, for_each={"items": "xs"}))
    assert output == [2, 4, 6]
    assert {item for name, item in runs if name == "m@end"} == {"0", "1", "2"}
    assert contained({**DOUBLE, "id": "m", "for_each": {"items": "[4, k]"}}, {"k": 5})[0] == [8, 10]
    assert contained(scope(DOUBLE, for_each={"items": "xs"}), {"xs": []})[0] == []


def trapped(**rule: Any) -> dict[str, Any]:
    """The second item fails."""
    made = scope(DOUBLE, TRAP, for_each={"items": "xs", **rule})
    made["body"]["edges"] = [edge("a", "t", when="index == 1")]
    made["body"]["output"] = "{{ nodes.a.output }}"
    return made


@pytest.mark.parametrize(
    ("rule", "output"),
    [
        ({}, "x.y"),
        ({"on_item_error": "null"}, [2, None, 6]),
        ({"on_item_error": "drop"}, [2, 6]),
        ({"on_item_error": "drop", "tolerate": {"count": 0}}, "x.y"),
        ({"tolerate": {"count": 1}}, [2, None, 6]),
    ],
)
def test_failed_items_are_what_the_author_says(rule: dict[str, Any], output: Any) -> None:
    assert contained(trapped(**rule))[0] == output


def test_a_partition_equals_every_error_of_the_code() -> None:
    output = contained(trapped(on_item_error="partition"))[0]
    lost = {"index": 1, "error": {"code": "x.y", "message": "whatever", "node": "t"}}
    assert {"succeeded": [2, 6], "failed": [lost]} == output
    assert {"succeeded": [2, 6], "failed": [{**lost, "error": {"code": "x.z"}}]} != output


def test_a_loop_goes_on_with_what_it_came_to() -> None:
    step = node("a", "transform", {"expression": "item + index + 1"})
    assert contained(scope(step, loop={"while": "index < 3", "initial": 10}))[0] == 16
    assert contained(scope(step, loop={"until": "item > 12", "initial": 10, "collect": True}))[0] == [11, 13]
    assert contained(scope(step, loop={"while": "false", "initial": 10}))[0] == 10
    rule = {"while": "true", "initial": 0, "max_iterations": 2}
    assert contained(scope(step, loop=rule))[0] == "loop.too_many_iterations"


def test_a_failure_in_a_scope_is_undone_caught_and_followed_by_the_end() -> None:
    good = node("g", compensate={"type": "noop"})
    told = node("c", "set", {"values": {"code": "{{ nodes.m.error.code }}"}})
    last = {"nodes": [node("f")], "edges": []}
    catch = [{"on": ["z.*"], "body": last}, {"on": ["x.*"], "body": {"nodes": [told], "edges": []}}]
    output, runs = contained(scope(good, TRAP, ways="g->t", catch=catch, **{"finally": last}))
    assert output == {"code": "x.y"}
    assert {place: runs[place] for place in (("g@undo", "0"), ("c", "0"), ("f", "0"))} == {
        ("g@undo", "0"): "succeeded",
        ("c", "0"): "succeeded",
        ("f", "0"): "succeeded",
    }


def test_a_repeated_scope_with_handlers_deals_with_each_item_by_itself() -> None:
    rescue = {"nodes": [node("c", "transform", {"expression": "item + 100"})], "edges": []}
    made = trapped()
    output, runs = contained({**made, "catch": [{"body": rescue}]})
    assert output == [2, 102, 6]
    assert runs["c", "1.0"] == "succeeded"
    assert ("c", "0.0") not in runs


def test_names_of_an_outer_map_are_seen_inside_and_its_item_is_hidden() -> None:
    inner = {**node("i", "transform", {"expression": "x * 10 + item"}), "for_each": {"items": "[1, index]"}}
    output, _ = contained(scope(inner, for_each={"items": "xs", "as": "x"}), {"xs": [3, 4]})
    assert output == [[31, 30], [41, 41]]


# What others decide, and what ends early


@pytest.mark.parametrize(
    ("join", "ways", "starts"),
    [
        ("all", [Way(True, True, 3), Way(False, True, 5)], (True, 5)),
        ("all", [Way(True, True, 3), None], (None, 0)),
        ("all", [Way(False, True, 3), Way(False, False, 1)], (False, 3)),
        ("any", [None, Way(True, True, 7)], (True, 7)),
        ({"mode": "n", "count": 2}, [Way(True, True, 9), Way(True, True, 4), Way(True, True, 6)], (True, 6)),
        ({"mode": "any", "when": "done"}, [Way(False, True, 2), None], (True, 2)),
        ({"mode": "any", "when": "done"}, [Way(False, False, 2), None], (None, 0)),
    ],
)
def test_a_join_starts_with_the_edge_that_completes_it(
    join: Any, ways: list[Way | None], starts: Any
) -> None:
    assert start_of({"join": join}, ways) == starts


def test_only_what_could_only_have_led_to_a_join_is_stopped_by_it() -> None:
    stops = {"mode": "any", "cancel_rest": True}
    nodes = [*map(node, "abcd"), node("j", join=stops), node("k", join="any"), node("e")]
    ways = edges("a->b->j", "c->j", "d->j", "d->e", "k->j", "a->b")
    assert losers({"nodes": nodes, "edges": ways}, "j") == {"a", "b", "c", "k"}
    late = edges("a->k", "b->k", "k->j", "c->j")
    assert losers({"nodes": nodes, "edges": late}, "j") == {"c", "k"}


@pytest.mark.parametrize(
    ("rule", "quorum", "votes", "decision"),
    [
        ("reject_wins", 2, ["approved"], None),
        ("reject_wins", 2, ["approved", "approved"], "approved"),
        ("reject_wins", 2, ["approved", "rejected"], "rejected"),
        ("majority", 3, ["approved", "rejected"], None),
        ("majority", 3, ["approved", "approved"], "approved"),
        ("majority", 2, ["approved", "rejected"], "rejected"),
    ],
)
def test_votes_decide(rule: str, quorum: int, votes: list[str], decision: str | None) -> None:
    assert decided({"rule": rule, "quorum": quorum}, votes) == decision


def exiting(scope_: str, **more: Any) -> dict[str, Any]:
    """The second time something is ended."""
    made = scope(DOUBLE, node("e", "exit", {"scope": scope_, "value": "{{ item + 100 }}"}), **more)
    made["body"]["edges"] = [edge("a", "e", when="index == 1")]
    made["body"]["output"] = "{{ nodes.a.output }}"
    return made


def test_an_exit_ends_what_it_names() -> None:
    assert contained(exiting("iteration", for_each={"items": "xs"}))[0] == [2, 102, 6]
    assert contained(exiting("loop", for_each={"items": "xs"}))[0] == 102
    assert contained(exiting("m", for_each={"items": "xs"}))[0] == 102
    assert contained(exiting("branch", for_each={"items": "xs"}))[0] == [2, 4, 6]
    loop = {"while": "index < 3", "initial": 1}
    assert contained(exiting("loop", loop=loop))[0] == 102
    result = interpret(document([exiting("workflow", for_each={"items": "xs"}), node("b")]), {"xs": [1, 2]})
    assert (result.status, result.output) == ("succeeded", 102)
    result = interpret(document([exiting("nothing", for_each={"items": "xs"})]), {"xs": [1, 2]})
    assert result.nodes["m"].code == "exit.nothing_to_end"


def test_a_call_comes_to_what_it_calls_and_not_too_deep() -> None:
    payload = {"s": "x", "many": [], "nothing": []}
    call = node("c", "workflow", {"workflow": "countdown", "input": {**payload, "k": 3}})
    assert interpret(document([call]), payload, library=LIBRARY).output == {"c": {"n": 6}}
    call["config"]["input"]["k"] = 12
    assert interpret(document([call]), payload, library=LIBRARY).nodes["c"].code == "workflow.failed_child"


# Parts


def counted(name: str = "a") -> dict[str, Any]:
    return node(name, "transform", {"expression": f"(nodes.{name}.output | default(0)) + 1"})


def test_a_circle_goes_round_while_an_edge_leads_back_and_shows_what_was_last() -> None:
    nodes = [node("s"), counted(), node("b", "transform", {"expression": "nodes.a.output * 2"}), node("q")]
    back = edge("b", "a", when="nodes.a.output < 3")
    ways = [*edges("s->a->b"), back, edge("a", "q", when="nodes.a.output == 2")]
    result = interpret(document(nodes, ways, outputs={"b": "{{ nodes.b.output }}"}), {})
    assert result.output == {"b": 6}
    assert {item for name, item in result.runs if name == "a"} == {"0", "1", "2"}
    assert result.nodes["q"].state == "succeeded"
    assert (
        interpret(document(nodes, [*ways[:2], {**back, "max_iterations": 2}, ways[3]]), {}).status == "failed"
    )


def test_what_a_node_came_to_in_an_earlier_round_is_gone_when_it_fails_in_a_later_one() -> None:
    """Found by the chaos run: a third round saw the output of the second beside its own error."""
    around = {"n": {"output": 1}, "m": {"output": 2}}
    round_ = SimpleNamespace(around=around, nodes={"n": Outcome("failed", code="timeout.queue")})
    found = seen(cast("Run", round_))
    assert found == {"n": {"error": {"code": "timeout.queue"}}, "m": {"output": 2}}
    assert around["n"] == {"output": 1}


def test_a_join_each_starts_what_follows_once_for_every_edge_taken() -> None:
    nodes = [
        node("p", "transform", {"expression": "7"}),
        node("n", "fail", {"message": "no", "code": "x.y"}),
        node("m", "transform", {"expression": "[index, item]"}, join="each"),
        node("z", "transform", {"expression": "nodes.m.output[0]"}),
        node("q", "transform", {"expression": "nodes.z.output"}),
    ]
    ways = [
        edge("p", "m", when="false"),
        edge("p", "m"),
        edge("n", "m", on="error"),
        *edges("m->z->q", "p->q"),
    ]
    result = interpret(
        document(nodes, ways, outputs={"m": "{{ nodes.m.output }}", "q": "{{ nodes.q.output }}"}), {}
    )
    assert result.output["q"] == [1, 2]
    assert result.output["m"] == [[1, 7], [2, {"code": "x.y"}]]


# What a record may say


def recorded(node_: dict[str, Any], ended: Ended, **more: Any) -> list[str]:
    """What is wrong with an execution of one node that failed, or came to something."""
    failed = ended.state == "failed"
    record = Record(
        "exec_1",
        ended.state,
        None if failed else {node_["id"]: ended.output},
        {"node": node_["id"]} if failed else None,
        created_at=1000,
        over=9,
        ends={(node_["id"], ""): ended},
        times={1: 1000},
        **more,
    )
    return [text for _, text in judge(document([node_]), {}, {}, record).complaints]


@pytest.mark.parametrize(("at", "complaints"), [(1500, 0), (1460, 0), (1459, 1)])
def test_nobody_waits_for_a_worker_too_briefly(at: int, complaints: int) -> None:
    ended = Ended("failed", error={"code": "timeout.queue"}, seq=2, commit=2, at=at)
    assert len(recorded(node("a", timeout={"queue": 0.5}), ended)) == complaints


@pytest.mark.parametrize(
    ("published", "heard", "topic", "complaints"),
    [
        (1000, 1500, {}, 0),  # It found the event in the log when it began.
        (900, 1500, {}, 1),  # That one was for nobody: the execution was born later.
        (900, 1500, {"lookback": "1h"}, 0),
        (900, 900, {}, 0),  # It was written down while somebody listened, long after it had been asked for.
        (1500, 900, {}, 1),  # Nobody hears what is yet to be published.
    ],
)
def test_a_wait_hears_what_was_published_in_its_time(
    published: int, heard: int, topic: dict[str, Any], complaints: int
) -> None:
    wait = node("a", "wait", {"event": {"type": "paid", **topic}})
    output = {"name": "event", "payload": 7, "at": rfc3339(heard)}
    log = {"evt_1": Published("paid", "", 7, published, "else")}
    found = recorded(wait, Ended("succeeded", output, seq=2, commit=2, at=1600), published=log)
    assert len(found) == complaints


def test_a_limit_that_is_not_written_explains_nothing() -> None:
    for code in ("timeout.queue", "timeout.heartbeat"):
        ended = Ended("failed", error={"code": code}, seq=2, commit=2, at=9000)
        name = code.partition(".")[2]
        assert recorded(node("a", timeout={"total": 1}), ended)
        assert not recorded(node("a", timeout={name: 1}), ended)


def test_whoever_goes_on_counts_from_what_was_said_last() -> None:
    beat = node("a", "beat", {"count": 3})
    ended = Ended("succeeded", {"from": 1, "count": 3}, seq=2, commit=2, at=1100)
    assert not recorded(beat, ended, beats={("a", ""): 3})
    assert recorded(beat, ended, beats={("a", ""): 2})
    assert recorded(beat, replace(ended, output={"from": 4, "count": 3}), beats={("a", ""): 3})


def test_the_first_answer_counts_and_no_other() -> None:
    body = document([node("r", "respond", {"body": 1}), node("s", "respond", {"body": 2})], edges("r->s"))
    said = {name: {"status": 200, "headers": {}, "body": number} for number, name in enumerate("rs", 1)}
    ends = {
        (name, ""): Ended("succeeded", said[name], seq=number, commit=number)
        for number, name in enumerate("rs", 2)
    }
    sound = Record("exec_1", "succeeded", {"s": said["s"]}, over=9, ends=ends, answer=said["r"])
    in_order = ((("r", ""), True), (("s", ""), False))
    assert not judge(body, {}, {}, replace(sound, answered=in_order)).complaints
    for wrong in (
        replace(sound, answered=in_order, answer=said["s"]),
        replace(sound, answered=((("r", ""), False), (("s", ""), True)), answer=said["s"]),
        replace(sound, answered=in_order[:1]),
        replace(sound, answered=(), answer=None),
    ):
        assert judge(body, {}, {}, wrong).complaints


@pytest.mark.parametrize(
    ("begins", "wrong"),
    [
        ([0, 0, 500, 1000], False),
        ([0, 0, 100], True),
        ([0, 2000, 2000], False),
        ([0, 2000, 2000, 2000], False),
    ],
)
def test_no_more_begin_than_a_rate_lets_in(begins: list[int], wrong: bool) -> None:
    starts = [Begun("k", 2, 500, 0, each, "exec_1", (f"n{number}", "")) for number, each in enumerate(begins)]
    assert bool(list(crowds(starts, 20))) == wrong


def test_whoever_asked_late_cannot_have_been_let_in_before() -> None:
    starts = [
        Begun("k", 1, 500, ready, begin, "exec_1", ("n", ""))
        for ready, begin in ((0, 0), (2000, 2000), (2000, 2100))
    ]
    assert list(crowds(starts, 20))


def test_a_fork_has_what_it_keeps_from_its_base_and_the_rest_by_the_rules() -> None:
    ones = [
        node("a", "transform", {"expression": "1"}),
        node("b", "transform", {"expression": "nodes.a.output + 1"}),
    ]
    body = document(ones, edges("a->b"))
    a, b = Ended("succeeded", 1, seq=2, commit=2), Ended("succeeded", 2, seq=3, commit=3)
    base = Record("exec_1", "succeeded", {"b": 2}, over=4, ends={("a", ""): a, ("b", ""): b})
    kept = replace(a, seq=0, commit=0)
    sound = replace(
        base, execution="exec_2", base=base, kept={("a", "")}, ends={("a", ""): kept, ("b", ""): b}
    )
    assert not judge(body, {}, {}, sound).complaints
    other = replace(kept, output=7)
    for wrong in (
        replace(sound, ends={("a", ""): other, ("b", ""): replace(b, output=8)}, output={"b": 8}),
        replace(sound, ends={**sound.ends, ("b", ""): replace(b, output=3)}, output={"b": 3}),
        replace(sound, base=replace(base, ends={("b", ""): b})),
    ):
        assert judge(body, {}, {}, wrong).complaints
