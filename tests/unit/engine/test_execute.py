"""The heart, in this process, on SQLite, with a clock held in the hand and nodes that do as they are told."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from celeriac import (
    Context,
    Effect,
    Emit,
    Fail,
    Json,
    OnCallback,
    OnEvent,
    Respond,
    Route,
    TryAgain,
    Uncertain,
    Wait,
)
from engine import operations as op
from engine.errors import Unavailable
from engine.execute import Executor
from engine.failpoints import FailpointError
from engine.leases import Hold, Stop
from engine.performance import ChildDied, NoChild
from engine.registry import Registry
from engine.settings import Limits
from tests.builders import document, edge, edges
from tests.builders import node as vertex
from tests.theatre import (
    REGISTRY,
    STAGE,
    Act,
    Stage,
    Theatre,
    does,
    theatre,
)
from tests.workbench import NOW, Workbench


def chain(*nodes: Any, **more: Any) -> dict[str, Any]:
    """Nodes a, b, c, ... one behind the other; each a type, or a whole node without its id."""
    made = []
    for name, each in zip("abcdefgh", nodes, strict=False):
        made.append(vertex(name, each) if isinstance(each, str) else {"id": name, **each})
    return document(made, edges("->".join(each["id"] for each in made)) if len(made) > 1 else [], **more)


def statuses(at: Workbench, name: str) -> dict[str, str]:
    """What the journal says of each node with a row of its own."""
    return {node_: status for node_, status, step in at.journal(name, "node", "status", "step") if not step}


# Success


async def test_pure_nodes_leave_one_row_and_no_claim(at: Theatre, stage: Stage) -> None:
    name = await at.run(chain("pure", "pure", "pure"))
    assert (at.status(name), at.output(name)) == ("succeeded", {"c": {"by": "c"}})
    assert stage.calls == ["a", "b", "c"]
    assert at.segment(name, 0, "epoch", "status") == (0, "done")
    assert at.journal(name, "node", "status", "effect") == [("a", "pack", "none")]
    assert at.kinds(name) == ["execution.created", *["node.succeeded"] * 3, "execution.succeeded"]
    assert at.outlet.ended == [(name, None)]


async def test_a_config_sees_the_payload_the_variables_the_execution_and_earlier_outputs(
    at: Theatre, stage: Stage
) -> None:
    text = [
        "{{ k }}",
        "{{ trigger.payload.k }}",
        "{{ trigger.type }}",
        "{{ vars.v }}",
        "{{ nodes.a.output.by }}",
    ]
    name = await at.run(
        chain(
            "pure", {"type": "pure", "config": {"text": [*text, "{{ execution.id }}"]}}, variables={"v": 2}
        ),
        {"k": 1},
    )
    assert stage.seen[1] == ("b", [1, 1, "manual", 2, "a", name])


async def test_a_payload_that_is_no_object_is_found_at_the_trigger(at: Theatre, stage: Stage) -> None:
    await at.run(chain({"type": "pure", "config": {"text": "{{ trigger.payload }}"}}), [1, 2])
    assert stage.seen == [("a", [1, 2])]


async def test_branches_run_and_meet(at: Theatre, stage: Stage) -> None:
    body = document(
        [vertex(each, "read") for each in "abcd"],
        edges("a->b->d", "a->c->d"),
        outputs="{{ nodes.d.output.by }}",
    )
    name = await at.run(body)
    assert (at.status(name), at.output(name)) == ("succeeded", "d")
    assert sorted(stage.calls) == ["a", "b", "c", "d"]
    assert set(at.segments(name).values()) == {"done"}


async def test_whoever_waits_for_the_end_is_told(at: Theatre) -> None:
    name = await at.run(chain("pure"), reply_to="me")
    assert at.outlet.ended == [(name, "me")]


async def test_a_route_takes_its_port_and_no_other(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Route(("false",), 7))
    body = document(
        [vertex("a", "forks"), vertex("yes", "pure"), vertex("no", "pure")],
        [edge("a", "yes", port="true"), edge("a", "no", port="false")],
    )
    name = await at.run(body)
    assert stage.calls == ["a", "no"]
    assert at.output(name) == {"no": {"by": "no"}}


async def test_a_route_to_nowhere_in_the_middle_ends_the_branch(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Route((), 7))
    name = await at.run(document([vertex("a", "forks"), vertex("b", "pure")], [edge("a", "b", port="true")]))
    assert stage.calls == ["a"]
    assert (at.status(name), at.output(name)) == ("succeeded", {})


async def test_the_output_of_an_execution_is_made_even_when_a_route_to_nowhere_comes_before_it(
    at: Theatre, stage: Stage
) -> None:
    stage.tell("a", Route((), 7))
    body = chain("pure", "pure")
    assert at.push(body).queue == "default"
    name = await at.run(body)
    assert (at.status(name), at.output(name), stage.calls) == ("succeeded", {}, ["a"])
    failing = await at.run(chain("pure", "pure", outputs="{{ nodes.b.output }}"))
    assert (at.status(failing), at.error(failing)["node"]) == ("failed", "@output")


async def test_a_port_that_the_type_does_not_have_fails_the_node(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Route(("maybe",), 7))
    name = await at.run(chain("pure", "pure"))
    assert (at.status(name), at.error(name)["code"]) == ("failed", "node.unknown_port")
    assert "maybe" in at.error(name)["message"]


@pytest.mark.parametrize(("when", "expected"), [("k > 1", ["a", "b"]), ("k > 9", ["a"])])
async def test_a_condition_decides_its_edge(
    at: Theatre, stage: Stage, when: str, expected: list[str]
) -> None:
    name = await at.run(
        document([vertex("a", "pure"), vertex("b", "pure")], [edge("a", "b", when=when)]), {"k": 2}
    )
    assert (at.status(name), stage.calls) == ("succeeded", expected)


@pytest.mark.parametrize(
    ("when", "code"), [("k", "expression.not_boolean"), ("nothing", "expression.unknown_name")]
)
async def test_a_condition_that_cannot_be_decided_fails_the_execution(
    at: Theatre, when: str, code: str
) -> None:
    name = await at.run(
        document([vertex("a", "pure"), vertex("b", "pure")], [edge("a", "b", when=when)]), {"k": 2}
    )
    assert at.status(name) == "failed"
    assert (at.error(name)["code"], at.error(name)["node"]) == (code, "a")


async def test_a_large_output_lies_in_a_blob_and_is_read_back(at: Theatre, stage: Stage) -> None:
    stage.tell("a", "x" * 40_000)
    body = document(
        [vertex("a", "pure"), vertex("b", "read", {"text": "{{ nodes.a.output | length }}"})],
        edges("a->b"),
        outputs="{{ nodes.a.output }}",
    )
    body["definition"]["edges"][0]["when"] = "true"
    name = await at.run(body)
    assert ("b", 40_000) in stage.seen
    assert at.output(name) == "x" * 40_000
    assert [row[:2] for row in at.journal(name, "node", "status", "output", "blob") if row[3]] == [
        ("a", "succeeded")
    ]


async def test_the_lines_a_node_writes_are_in_the_history_before_its_end(at: Theatre, stage: Stage) -> None:
    stage.tell("a", lambda ctx: ctx.log("hello", "warning", k=1))
    name = await at.run(chain("pure"))
    assert at.kinds(name)[1:3] == ["node.log", "node.succeeded"]
    assert at.events(name)[1] == [
        "node.log",
        "a",
        NOW,
        {"level": "warning", "message": "hello", "k": 1},
    ]


async def test_the_attempt_the_key_and_the_time_are_a_calls_own(at: Theatre, stage: Stage) -> None:
    found: list[Any] = []

    def look(ctx: Context) -> None:
        found.append((ctx.attempt, ctx.idempotency_key, ctx.now().timestamp() * 1000, ctx.item))

    stage.tell("a", look)
    await at.run(chain("read"))
    ((attempt, key, now, item),) = found
    assert (attempt, now, item) == (1, NOW, "")
    assert len(key) == 32


# Wait


async def test_a_wait_holds_nothing_and_goes_on_with_its_value(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Wait(NOW + 5_000, {"v": 1}))
    name = await at.run(chain("waits", {"type": "pure", "config": {"text": "{{ nodes.a.output.v }}"}}))
    assert at.status(name) == "waiting"
    assert at.segment(name, 0, "status", "due") == ("waiting", NOW + 5_000)
    assert statuses(at, name)["a"] == "waiting"
    await at.tick(4.9)
    assert at.status(name) == "waiting"
    await at.tick(0.1)
    assert at.status(name) == "succeeded"
    assert stage.seen == [("a", None), ("b", 1)]
    assert statuses(at, name)["a"] == "succeeded"


async def test_a_wait_whose_time_has_passed_holds_nothing_up(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Wait(NOW, "v"))
    name = await at.run(chain("waits"))
    assert (at.status(name), at.output(name)) == ("succeeded", {"a": "v"})


async def test_a_wait_keeps_a_large_value_in_a_blob(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Wait(NOW + 1_000, "x" * 40_000))
    name = await at.run(chain("waits"))
    await at.tick(1)
    assert at.output(name) == {"a": "x" * 40_000}


async def test_a_type_that_does_not_say_that_it_waits_may_not(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Wait(NOW + 1_000))
    name = await at.run(chain("pure", "pure"))
    assert (at.status(name), at.error(name)["code"]) == ("failed", "node.wait_undeclared")


# Failure


async def test_an_unhandled_failure_ends_the_execution_with_the_nodes_name(at: Theatre, stage: Stage) -> None:
    stage.tell("b", Fail("x.broken", "It broke.", {"k": 1}))
    name = await at.run(chain("pure", "pure", "pure"))
    assert at.status(name) == "failed"
    assert at.error(name) == {"code": "x.broken", "message": "It broke.", "details": {"k": 1}, "node": "b"}
    assert stage.calls == ["a", "b"]
    assert statuses(at, name) == {"a": "pack", "b": "failed"}
    assert at.kinds(name)[-2:] == ["node.failed", "execution.failed"]


async def test_a_crash_is_recorded_by_its_class(at: Theatre, stage: Stage) -> None:
    stage.tell("a", ZeroDivisionError("by zero"))
    name = await at.run(chain("pure"))
    assert at.error(name)["code"] == "node.crashed"
    assert at.error(name)["message"] == "ZeroDivisionError: by zero"


async def test_an_expression_or_a_config_that_fails_is_its_nodes_failure(at: Theatre) -> None:
    name = await at.run(chain({"type": "pure", "config": {"text": "{{ nothing }}"}}))
    assert at.error(name)["code"] == "expression.unknown_name"
    assert at.error(name)["node"] == "a"


async def test_variables_are_rendered_once_and_their_failure_is_the_first_nodes(
    at: Theatre, stage: Stage
) -> None:
    good = chain({"type": "pure", "config": {"text": "{{ vars.twice }}"}}, variables={"twice": "{{ k * 2 }}"})
    await at.run(good, {"k": 4})
    assert stage.seen == [("a", 8)]
    name = await at.run(chain("pure", variables={"v": "{{ nothing }}"}))
    assert (at.status(name), at.error(name)["code"]) == ("failed", "expression.unknown_name")


async def test_the_output_of_an_execution_may_fail_it(at: Theatre) -> None:
    name = await at.run(chain("pure", outputs="{{ nothing }}"))
    assert (at.status(name), at.error(name)["node"]) == ("failed", "@output")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (float("nan"), "node.output_invalid"),
        ({"k": object()}, "node.output_invalid"),
        ("\0", "node.output_invalid"),
    ],
)
async def test_what_cannot_be_stored_fails_its_node_and_is_not_tried_again(
    at: Theatre, stage: Stage, value: Any, code: str
) -> None:
    stage.tell("a", value)
    name = await at.run(chain({"type": "pure", "retry": {"max_attempts": 3}}))
    assert (at.status(name), at.error(name)["code"]) == ("failed", code)
    assert stage.calls == ["a"]


async def test_an_output_over_the_limit_fails_its_node(tmp_path: Path, stage: Stage) -> None:
    at = theatre(tmp_path, limits=Limits(output_bytes=100))
    stage.tell("a", "x" * 99)
    name = await at.run(chain("pure"))
    assert (at.status(name), at.error(name)["code"]) == ("failed", "node.output_too_large")
    at.close()


async def test_a_wait_or_a_default_that_cannot_be_stored_fails_its_node_too(
    at: Theatre, stage: Stage
) -> None:
    stage.tell("a", Wait(NOW + 1_000, float("nan")))
    name = await at.run(chain("waits"))
    assert (at.status(name), at.error(name)["code"]) == ("failed", "node.output_invalid")


async def test_a_failure_may_be_data(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Fail("x.broken", "It broke."))
    text = "{{ nodes.a.error.code }} {{ nodes.a.output }}"
    name = await at.run(
        chain({"type": "pure", "on_error": "continue"}, {"type": "pure", "config": {"text": text}})
    )
    assert at.status(name) == "succeeded"
    assert stage.seen[1] == ("b", "x.broken null")
    assert statuses(at, name)["a"] == "continued"


async def test_a_failure_may_have_a_default(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Fail("x.broken", "It broke."))
    name = await at.run(
        chain(
            {"type": "read", "on_error": {"default": {"v": 7}}},
            {"type": "read", "config": {"text": "{{ nodes.a.output.v }}"}},
        )
    )
    assert (at.status(name), stage.seen[1]) == ("succeeded", ("b", 7))


async def test_a_large_default_lies_in_a_blob(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Fail("x.broken", "It broke."))
    name = await at.run(chain({"type": "pure", "on_error": {"default": "x" * 40_000}}))
    assert at.output(name) == {"a": "x" * 40_000}


async def test_a_failure_may_take_a_branch_that_reads_it(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Fail("x.broken", "It broke."))
    body = document(
        [vertex("a", "read"), vertex("b", "pure"), vertex("c", "pure", {"text": "{{ nodes.a.error.code }}"})],
        [*edges("a->b"), edge("a", "c", on="error")],
    )
    name = await at.run(body)
    assert at.status(name) == "succeeded"
    assert stage.seen == [("a", None), ("c", "x.broken")]


async def test_a_failure_that_takes_a_branch_in_another_message_is_read_from_the_journal(
    at: Theatre, stage: Stage
) -> None:
    stage.tell("a", Fail("x.broken", "It broke."))
    text = "{{ nodes.a.error.code }}"
    body = document(
        [vertex("a", "pure"), vertex("c", "pure", {"text": text}, queue="cpu")],
        [edge("a", "c", port="error")],
    )
    await at.run(body)
    assert stage.seen == [("a", None), ("c", "x.broken")]


@pytest.mark.parametrize(
    ("ways", "expected"),
    [
        ([edge("a", "late", on="timeout"), edge("a", "broken", on="error")], ["a", "late"]),
        ([edge("a", "broken", on="error")], ["a", "broken"]),
        ([edge("a", "late", on="timeout")], ["a", "late"]),
    ],
)
async def test_a_timeout_takes_its_own_branch_when_there_is_one(
    at: Theatre, stage: Stage, ways: list[dict[str, Any]], expected: list[str]
) -> None:
    stage.tell("a", lambda _: asyncio.sleep(5))
    targets = sorted({each["to"] for each in ways})
    await at.run(document([vertex("a", "quick"), *(vertex(each, "pure") for each in targets)], ways))
    assert stage.calls == expected


# Retry


async def test_a_failed_attempt_is_made_again_after_its_pause(at: Theatre, stage: Stage) -> None:
    stage.tell("b", TryAgain("x.busy", "Busy."), "done")
    name = await at.run(
        chain("pure", {"type": "pure", "retry": {"max_attempts": 3, "delay": 4, "jitter": 0}}, "pure")
    )
    assert at.status(name) == "waiting"
    assert at.segment(name, 0, "status", "due", "tries", "first_try_at") == (
        "backing_off",
        NOW + 4_000,
        1,
        NOW,
    )
    assert at.events(name)[-1][3] == {
        "attempt": 1,
        "error": {"code": "x.busy", "message": "Busy."},
        "delay": 4,
    }
    await at.tick(4)
    assert at.status(name) == "succeeded"
    assert stage.calls == ["a", "b", "b", "c"]
    assert at.journal(name, "node", "status", "tries") == [
        ("a", "pack", 1),
        ("b", "succeeded", 2),
        ("c", "pack", 1),
    ]


async def test_attempts_are_counted_and_the_last_failure_stands(at: Theatre, stage: Stage) -> None:
    attempts: list[int] = []

    def again(ctx: Context) -> None:
        attempts.append(ctx.attempt)
        raise TryAgain("x.busy", f"Busy {ctx.attempt}.")

    stage.tell("a", again)
    name = await at.run(chain({"type": "read", "retry": {"max_attempts": 3, "delay": 1, "jitter": 0}}))
    await at.tick(1)
    await at.tick(2)
    assert attempts == [1, 2, 3]
    assert (at.status(name), at.error(name)["message"]) == ("failed", "Busy 3.")
    assert at.journal(name, "status", "tries") == [("failed", 3)]


async def test_the_attempts_of_one_node_are_not_counted_for_the_next(at: Theatre, stage: Stage) -> None:
    stage.tell("a", TryAgain("x.busy", "Busy."), "done")
    stage.tell("b", TryAgain("x.busy", "Busy."), "done")
    policy = {"max_attempts": 2, "delay": 1, "jitter": 0}
    name = await at.run(chain({"type": "pure", "retry": policy}, {"type": "pure", "retry": policy}))
    await at.tick(1)
    await at.tick(1)
    assert at.status(name) == "succeeded"


async def test_a_draw_of_the_clock_decides_the_jitter(at: Theatre, stage: Stage) -> None:
    stage.tell("a", TryAgain("x.busy", "Busy."))
    policy = {"max_attempts": 2, "delay": 4, "jitter": 1}
    name = await at.run(chain({"type": "pure", "retry": policy}))
    (due,) = at.segment(name, 0, "due")
    assert NOW < due < NOW + 4_000


async def test_no_attempt_begins_after_the_limit_on_all_of_them(at: Theatre, stage: Stage) -> None:
    stage.tell("a", TryAgain("x.busy", "Busy."))
    policy = {"max_attempts": 9, "delay": 4, "backoff": "constant", "jitter": 0}
    name = await at.run(chain({"type": "pure", "retry": policy, "timeout": {"total": 10}}))
    await at.tick(4)
    await at.tick(4)
    assert at.status(name) == "failed"
    assert len(stage.calls) == 3


async def test_a_node_that_is_not_installed_here_is_put_off_and_costs_no_attempt(
    at: Theatre, stage: Stage
) -> None:
    stage.tell("b", TryAgain("x.busy", "Busy."), "done")
    policy = {"max_attempts": 3, "delay": 1, "jitter": 0}
    name = await at.run(chain("pure", {"type": "pure", "retry": policy}))
    at.programs._registry = Registry([])
    at.programs._found.clear()
    await at.tick(1)
    assert at.segment(name, 0, "status", "head", "tries", "first_try_at", "due") == (
        "backing_off",
        2,
        1,
        NOW,
        NOW + 11_000,
    )
    at.programs._registry = REGISTRY
    at.programs._found.clear()
    await at.tick(10)
    assert at.status(name) == "succeeded"
    assert stage.calls == ["a", "b", "b"]


# Timeouts and children


async def test_an_attempt_that_takes_too_long_fails(at: Theatre, stage: Stage) -> None:
    stage.tell("a", lambda _: asyncio.sleep(5))
    name = await at.run(chain("quick"))
    assert (at.error(name)["code"], at.error(name)["message"]) == (
        "node.timeout",
        "The attempt took longer than 0.01 s.",
    )


async def test_a_timeout_of_the_nodes_own_is_its_own_failure(at: Theatre, stage: Stage) -> None:
    stage.tell("a", TimeoutError("mine"))
    name = await at.run(chain("read"))
    assert at.error(name)["code"] == "node.crashed"


async def test_a_later_attempt_has_what_is_left_of_the_limit_on_all(at: Theatre, stage: Stage) -> None:
    stage.tell("a", TryAgain("x.busy", "Busy."), "done")
    policy = {"max_attempts": 3, "delay": 4, "jitter": 0}
    await at.run(chain({"type": "computes", "retry": policy, "timeout": {"attempt": 8, "total": 10}}))
    await at.tick(4)
    assert [seconds for _, _, seconds in at.children.asked] == [8, 6]


async def test_a_node_that_computes_is_called_in_a_child_with_its_rendered_config(
    at: Theatre, stage: Stage
) -> None:
    name = await at.run(chain({"type": "computes", "config": {"text": "{{ k }}"}}), {"k": 5})
    assert at.status(name) == "succeeded"
    assert at.children.asked == [("a", {"text": 5}, 300.0)]


async def test_a_child_that_dies_costs_a_delivery_and_no_attempt_and_too_many_are_put_aside(
    at: Theatre, stage: Stage
) -> None:
    attempts: list[int] = []

    def die(ctx: Context) -> None:
        attempts.append(ctx.attempt)
        raise ChildDied("The child process of a died (signal 9).")

    stage.tell("a", die)
    name = await at.run(chain("computes"))
    assert attempts == [1, 1, 1, 1]
    assert at.segment(name, 0, "status", "deliveries", "tries") == ("quarantined", 4, 0)
    assert "signal 9" in at.segment(name, 0, "reason")[0]
    assert at.status(name) == "waiting"


async def test_a_machine_that_can_start_no_child_costs_neither_a_delivery_nor_an_attempt(
    at: Theatre, stage: Stage
) -> None:
    stage.tell("a", NoChild("No child process could be started."), 1)
    name = await at.run(chain("computes"))
    assert at.segment(name, 0, "status", "deliveries", "tries") == ("backing_off", 0, 0)
    await at.tick(10)
    assert at.status(name) == "succeeded"


async def test_a_pure_segment_whose_message_was_lost_twice_runs_in_a_child(at: Theatre, stage: Stage) -> None:
    name = at.start(at.push(chain("pure", "pure")))
    at.connection.run("UPDATE segment SET deliveries = 2")
    await at.carry()
    assert at.status(name) == "succeeded"
    assert [each for each, _, _ in at.children.asked] == ["a", "b"]
    assert at.segment(name, 0, "epoch") == (1,)


# Effects


async def test_an_intent_is_durable_before_an_effect_that_cannot_be_repeated(
    at: Theatre, stage: Stage
) -> None:
    found: list[Any] = []
    stage.tell("b", lambda ctx: found.append(statuses(at, ctx.execution_id)))
    name = await at.run(chain("pure", "once"))
    assert found == [{"a": "pack", "b": "intent"}]
    assert statuses(at, name) == {"a": "pack", "b": "succeeded"}
    assert "node.started" in at.kinds(name)


async def test_an_outcome_is_durable_before_a_later_effect_starts(at: Theatre, stage: Stage) -> None:
    found: list[Any] = []
    stage.tell("b", lambda ctx: found.append(statuses(at, ctx.execution_id)))
    await at.run(chain("read", "keyed"))
    assert found == [{"a": "succeeded"}]


@pytest.mark.parametrize("error", [ConnectionError("gone"), Uncertain("x.unclear", "Who knows.")])
async def test_an_effect_of_unknown_fate_waits_for_a_person(
    at: Theatre, stage: Stage, error: Exception
) -> None:
    stage.tell("a", error, "again")
    name = await at.run(chain("once", "pure"))
    assert at.status(name) == "waiting"
    assert at.segment(name, 0, "status") == ("uncertain",)
    reason = json.loads(at.segment(name, 0, "reason")[0])
    assert (reason["node"], reason["code"]) == ("a", "effect.uncertain")
    assert str(error) in reason["message"]
    assert "node.uncertain" in at.kinds(name)


@pytest.mark.parametrize(
    ("decision", "status", "calls"),
    [("retry", "succeeded", ["a", "a", "b"]), ("done", "succeeded", ["a", "b"]), ("fail", "failed", ["a"])],
)
async def test_a_persons_word_decides_what_follows(
    at: Theatre, stage: Stage, decision: str, status: str, calls: list[str]
) -> None:
    stage.tell("a", ConnectionError("gone"), "again")
    name = await at.run(chain("once", "pure"))
    error = '{"code":"x.said","message":"Said so."}' if decision == "fail" else None
    ready = at.ask(op.Resolve(name, 0, "", decision, NOW, "ann", op.Payload('"told"'), "a", error))
    at.outlet.send(name, ready)
    await at.carry()
    assert (at.status(name), stage.calls) == (status, calls)
    if decision == "fail":
        assert at.error(name) == {"code": "x.said", "message": "Said so.", "node": "a"}


async def test_an_unknown_fate_may_count_as_a_failure(at: Theatre, stage: Stage) -> None:
    stage.tell("a", ConnectionError("gone"))
    retry = {"max_attempts": 5, "on": ["*"]}
    name = await at.run(chain({"type": "once", "on_uncertain": "fail", "retry": retry}))
    assert (at.status(name), at.error(name)["code"]) == ("failed", "effect.uncertain")
    assert stage.calls == ["a"]
    assert at.journal(name, "status", "tries") == [("failed", 1)]


async def test_an_unknown_fate_may_be_tried_again_by_the_policy(at: Theatre, stage: Stage) -> None:
    stage.tell("a", ConnectionError("gone"), "done")
    retry = {"max_attempts": 3, "delay": 1, "jitter": 0}
    name = await at.run(chain({"type": "once", "on_uncertain": "retry", "retry": retry}))
    assert at.segment(name, 0, "status") == ("backing_off",)
    await at.tick(1)
    assert (at.status(name), stage.calls) == ("succeeded", ["a", "a"])


async def test_a_failure_that_the_node_foresaw_leaves_no_doubt(at: Theatre, stage: Stage) -> None:
    stage.tell("a", TryAgain("x.busy", "Busy."), Fail("x.refused", "No."))
    name = await at.run(chain("once"))
    await at.tick(1)
    assert (at.status(name), at.error(name)["code"]) == ("failed", "x.refused")


async def crash(at: Theatre, name: str, during: str) -> None:
    """Let the process die while a node runs: its task ends, its claim stays, nothing more is written."""
    started = asyncio.Event()

    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    STAGE.tell(during, lambda _: hang(), *STAGE.acts.get(during, [does("done")]))
    task = asyncio.create_task(at.carry())
    await started.wait()
    for hold in at.leases.held():
        hold.stop = Stop.LOST
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    at.clock.move(15)
    at.poller().tick()
    del name


async def test_after_a_crash_what_is_journaled_is_not_done_again(at: Theatre, stage: Stage) -> None:
    name = at.start(at.push(chain("pure", "read", "keyed", "pure")))
    await crash(at, name, "c")
    await at.carry()
    assert at.status(name) == "succeeded"
    assert stage.calls == ["a", "b", "c", "c", "d"]
    assert at.segment(name, 0, "deliveries", "epoch") == (1, 2)


@pytest.mark.parametrize(
    ("policy", "status", "calls"),
    [("ask", "waiting", ["a"]), ("fail", "failed", ["a"]), ("retry", "succeeded", ["a", "a"])],
)
async def test_an_effect_that_was_under_way_at_a_crash_is_decided_by_its_policy(
    at: Theatre, stage: Stage, policy: str, status: str, calls: list[str]
) -> None:
    name = at.start(at.push(chain({"type": "once", "on_uncertain": policy})))
    await crash(at, name, "a")
    await at.carry()
    assert (at.status(name), stage.calls) == (status, calls)


async def test_a_holder_that_may_no_longer_start_an_effect_starts_none(at: Theatre, stage: Stage) -> None:
    stage.tell("a", lambda _: at.clock.move(14))
    name = at.start(at.push(chain("read", "once")))
    await at.carry()
    assert stage.calls == ["a"]
    assert at.segments(name) == {0: "running"}


# Steps of a node


async def test_a_step_is_done_once_over_all_tries_of_its_node(at: Theatre, stage: Stage) -> None:
    paid: list[str] = []

    async def agent(ctx: Context) -> Json:
        async def pay(key: str) -> Json:
            paid.append(key)
            return {"paid": len(paid)}

        first = await ctx.step("one", Effect.ONCE, pay)
        if ctx.attempt == 1:
            raise TryAgain("x.busy", "Busy.")
        return [first, await ctx.step("two", Effect.READ, pay)]

    stage.tell("a", agent)
    retry = {"max_attempts": 2, "delay": 1, "jitter": 0}
    name = await at.run(chain({"type": "keyed", "retry": retry}))
    await at.tick(1)
    assert at.output(name) == {"a": [{"paid": 1}, {"paid": 2}]}
    assert len(set(paid)) == 2
    assert at.journal(name, "step", "status", "effect") == [
        ("", "succeeded", "keyed"),
        ("one", "succeeded", "once"),
        ("two", "succeeded", "read"),
    ]
    assert at.kinds(name).count("step.succeeded") == 2


async def test_a_large_result_of_a_step_lies_in_a_blob_and_comes_back(at: Theatre, stage: Stage) -> None:
    calls: list[str] = []

    async def agent(ctx: Context) -> Json:
        async def read(key: str) -> Json:
            calls.append(key)
            return "x" * 40_000

        value = await ctx.step("one", Effect.READ, read)
        if ctx.attempt == 1:
            raise TryAgain("x.busy", "Busy.")
        return len(cast("str", value))

    stage.tell("a", agent)
    name = await at.run(chain({"type": "read", "retry": {"max_attempts": 2, "delay": 1, "jitter": 0}}))
    await at.tick(1)
    assert (at.output(name), len(calls)) == ({"a": 40_000}, 1)


async def test_a_step_that_was_under_way_at_a_crash_is_uncertain(at: Theatre, stage: Stage) -> None:
    async def agent(ctx: Context) -> Json:
        async def pay(_: str) -> Json:
            started.set()
            await asyncio.Event().wait()
            return None

        return await ctx.step("one", Effect.ONCE, pay)

    started = asyncio.Event()
    stage.tell("a", agent)
    name = at.start(at.push(chain("keyed")))
    task = asyncio.create_task(at.carry())
    await started.wait()
    for hold in at.leases.held():
        hold.stop = Stop.LOST
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await at.tick(15)
    status, reason = at.segment(name, 0, "status", "reason")
    assert status == "uncertain"
    assert "'one'" in json.loads(reason)["message"]
    stage.tell("a", lambda ctx: ctx.step("one", Effect.ONCE, paid))
    resolved = at.ask(op.Resolve(name, 0, "", "retry", at.clock.now(), "ann", node="a"))
    at.outlet.send(name, resolved)
    await at.carry()
    assert (at.status(name), at.output(name)) == ("succeeded", {"a": "paid"})


async def paid(_: str) -> Json:
    return "paid"


async def test_a_step_whose_failure_is_known_is_made_again_with_its_node(at: Theatre, stage: Stage) -> None:
    calls: list[str] = []

    async def agent(ctx: Context) -> Json:
        async def pay(key: str) -> Json:
            calls.append(key)
            if len(calls) == 1:
                raise TryAgain("x.busy", "Busy.")
            return "paid"

        return await ctx.step("one", Effect.ONCE, pay)

    stage.tell("a", agent)
    name = await at.run(chain({"type": "keyed", "retry": {"max_attempts": 2, "delay": 1, "jitter": 0}}))
    assert at.journal(name, "step", "status") == [("one", "waived")]
    await at.tick(1)
    assert (at.status(name), at.output(name), len(set(calls)), len(calls)) == (
        "succeeded",
        {"a": "paid"},
        1,
        2,
    )


async def test_a_step_is_not_begun_under_a_claim_that_is_lost(at: Theatre, stage: Stage) -> None:
    done: list[str] = []

    async def agent(ctx: Context) -> Json:
        async def pay(key: str) -> Json:
            done.append(key)
            return None

        at.clock.move(14)
        return await ctx.step("one", Effect.READ, pay)

    stage.tell("a", agent)
    name = at.start(at.push(chain("keyed")))
    await at.carry()
    assert done == []
    assert at.segments(name) == {0: "running"}


# Secrets


async def test_a_credential_is_taken_out_of_outputs_lines_failures_and_doubts(
    at: Theatre, stage: Stage
) -> None:
    async def echo(ctx: Context) -> Json:
        await ctx.connect("crm")
        ctx.log("using s3cr3t-token", token="s3cr3t-token")
        return {"echo": "Bearer s3cr3t-token"}

    async def fails(ctx: Context) -> Json:
        await ctx.connect("crm")
        raise Fail("x.refused", "No to s3cr3t-token.", {"sent": "s3cr3t-token"})

    async def crashes(ctx: Context) -> Json:
        await ctx.connect("crm")
        message = "no answer to s3cr3t-token"
        raise ConnectionError(message)

    async def steps(ctx: Context) -> Json:
        await ctx.connect("crm")

        async def call(_: str) -> Json:
            return "s3cr3t-token"

        return await ctx.step("one", Effect.READ, call)

    async def leaves(ctx: Context) -> Route:
        await ctx.connect("crm")
        return Route(("out",), "s3cr3t-token")

    for name, act in {"a": echo, "b": fails, "c": steps, "d": leaves, "e": crashes}.items():
        stage.tell(name, act)
    kinds: list[Any] = ["read", {"type": "read", "on_error": "continue"}, "keyed", "keyed", "once"]
    name = await at.run(chain(*kinds))
    assert at.segments(name) == {0: "uncertain"}
    stored = "".join(
        str(at.query(f"SELECT * FROM {table}"))
        for table in ("execution", "segment", "journal", "event", "blob")
    )
    assert "s3cr3t" not in stored
    assert stored.count("***") >= 6


# Cancelling, draining, losing


async def started_(
    at: Theatre, body: dict[str, Any], during: str
) -> tuple[str, asyncio.Task[None], asyncio.Event]:
    """An execution in the middle of a node, which goes on when the event is set."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def linger() -> str:
        begun.set()
        await go_on.wait()
        return "lingered"

    STAGE.tell(during, lambda _: linger())
    name = at.start(at.push(body))
    task = asyncio.create_task(at.carry())
    await begun.wait()
    return name, task, go_on


async def test_a_cancelled_execution_stops_the_node_that_runs_at_the_next_heartbeat(
    at: Theatre, stage: Stage
) -> None:
    name, task, _ = await started_(at, chain("read", "read"), "a")
    at.ask(op.Cancel(name, NOW))
    at.leases.renew()
    await task
    assert (at.status(name), at.segments(name)) == ("cancelled", {0: "cancelled"})
    assert stage.calls == ["a"]


async def test_a_cancelled_execution_whose_node_ends_first_ends_as_cancelled(at: Theatre) -> None:
    name, task, go_on = await started_(at, chain("read"), "a")
    at.ask(op.Cancel(name, NOW))
    go_on.set()
    await task
    assert at.status(name) == "cancelled"
    assert at.outlet.ended == [(name, None)]


@pytest.mark.parametrize("kind", ["keyed", "once"])
async def test_no_effect_starts_after_a_cancellation_that_the_heartbeat_has_not_brought_yet(
    at: Theatre, stage: Stage, kind: str
) -> None:
    stage.tell("a", lambda ctx: at.step(op.Cancel(ctx.execution_id, NOW)) and 1)
    name = await at.run(chain("keyed", kind))
    assert stage.calls == ["a"]
    assert (at.status(name), at.segments(name)) == ("cancelled", {0: "cancelled"})
    assert statuses(at, name) == {"a": "succeeded"}
    assert "node.started" not in at.kinds(name)


async def test_a_node_of_a_cancelled_execution_that_cannot_be_repeated_keeps_its_intent(
    at: Theatre, stage: Stage
) -> None:
    name, task, _ = await started_(at, chain("once"), "a")
    at.ask(op.Cancel(name, NOW))
    at.leases.renew()
    await task
    assert at.status(name) == "cancelled"
    assert statuses(at, name) == {"a": "intent"}


async def test_a_lost_claim_ends_the_node_and_writes_nothing(at: Theatre, stage: Stage) -> None:
    name, task, _ = await started_(at, chain("read"), "a")
    at.ask(op.Lose(name, ((0, "", 1),), NOW, "late", 3))
    at.leases.renew()
    await task
    assert at.segment(name, 0, "status", "deliveries") == ("ready", 1)
    assert statuses(at, name) == {}


async def test_a_node_that_does_not_let_itself_be_stopped_writes_nothing_after_its_claim_was_lost(
    at: Theatre, stage: Stage
) -> None:
    begun = asyncio.Event()

    async def stubborn() -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "all the same"
        return ""

    stage.tell("a", lambda _: stubborn())
    name = at.start(at.push(chain("read")))
    task = asyncio.create_task(at.carry())
    await begun.wait()
    (hold,) = at.leases.held()
    at.leases._stop(hold, Stop.LOST)
    await task
    assert (statuses(at, name), at.segments(name)) == ({}, {0: "running"})


async def test_an_effect_is_not_begun_when_writing_its_intent_took_too_long(
    at: Theatre, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = at.start(at.push(chain("once")))
    real = at.submit

    def submit(work: Any) -> Any:
        if isinstance(work, op.Record):
            at.clock.move(14)
        return real(work)

    monkeypatch.setattr(at, "submit", submit)
    await at.carry()
    assert stage.calls == []
    assert statuses(at, name) == {"a": "intent"}


async def test_draining_hands_back_what_does_not_end_in_time_and_takes_nothing_new(
    at: Theatre, stage: Stage
) -> None:
    executor = at.executor()
    begun = asyncio.Event()

    async def linger() -> None:
        begun.set()
        await asyncio.Event().wait()

    stage.tell("b", lambda _: linger())
    name = at.start(at.push(chain("read", "keyed")))
    task = asyncio.create_task(at.carry(executor))
    await begun.wait()
    await executor.drain(0)
    await task
    assert at.segment(name, 0, "status", "deliveries", "tries") == ("ready", 0, 0)
    assert statuses(at, name) == {"a": "succeeded"}
    await executor.perform([(name, 0, "")])
    assert at.segment(name, 0, "status") == ("ready",)
    stage.tell("b", "done")
    await at.tick(0)
    assert (at.status(name), stage.calls) == ("succeeded", ["a", "b", "b"])


async def test_draining_waits_for_what_ends_in_time(at: Theatre, stage: Stage) -> None:
    executor = at.executor()
    begun = asyncio.Event()

    async def finish() -> str:
        begun.set()
        await asyncio.sleep(0.005)
        return "done"

    stage.tell("a", lambda _: finish())
    name = at.start(at.push(chain("read")))
    task = asyncio.create_task(at.carry(executor))
    await begun.wait()
    await executor.drain(5)
    await task
    assert at.status(name) == "succeeded"


async def test_draining_in_the_middle_of_an_effect_that_cannot_be_repeated_leaves_it_in_doubt(
    at: Theatre, stage: Stage
) -> None:
    executor = at.executor()
    begun = asyncio.Event()

    async def linger() -> None:
        begun.set()
        await asyncio.Event().wait()

    stage.tell("a", lambda _: linger())
    name = at.start(at.push(chain("once")))
    task = asyncio.create_task(at.carry(executor))
    await begun.wait()
    await executor.drain(0)
    await task
    assert at.segments(name) == {0: "uncertain"}


async def test_a_drain_hands_nothing_on_inline(at: Theatre, stage: Stage) -> None:
    executor = at.executor()
    body = document([vertex(each, "pure") for each in "abcd"], edges("a->b->d", "a->c->d"))
    stage.tell("a", lambda _: setattr(executor, "_stopping", True))
    name = at.start(at.push(body))
    await executor.perform(at.outlet.taken())
    assert stage.calls == ["a"]
    assert at.segments(name) == {0: "done", 1: "ready", 2: "ready"}


# Messages


async def test_a_message_twice_runs_an_effect_once(at: Theatre, stage: Stage) -> None:
    name = at.start(at.push(chain("once")))
    await asyncio.gather(*(at.executor().perform([(name, 0, ""), (name, 0, "")]) for _ in range(3)))
    assert stage.calls == ["a"]
    assert at.status(name) == "succeeded"


async def test_of_a_pure_segment_carried_twice_one_commit_wins(at: Theatre, stage: Stage) -> None:
    body = document([vertex(each, "pure") for each in "abcd"], edges("a->b->d", "a->c->d"))
    name = at.start(at.push(body))
    await asyncio.gather(*(at.executor().perform([(name, 0, "")]) for _ in range(3)))
    await at.carry()
    assert stage.calls.count("a") == 3
    assert at.status(name) == "succeeded"
    assert at.kinds(name).count("node.succeeded") == 4


async def test_a_message_of_nothing_that_is_left_to_do_is_done(at: Theatre, stage: Stage) -> None:
    name = await at.run(chain("pure"))
    await at.executor().perform([(name, 0, ""), ("exec_unknown", 0, "")])
    assert stage.calls == ["a"]


async def test_a_message_carries_on_with_others_when_one_of_them_breaks_inside_the_engine(
    at: Theatre, stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    active = at.push(chain("read"))
    broken, good = at.start(active), at.start(active)
    real = at.submit

    def submit(work: Any) -> Any:
        if isinstance(work, op.Settle) and work.execution == broken:
            raise FailpointError
        return real(work)

    monkeypatch.setattr(at, "submit", submit)
    await at.executor().perform([(broken, 0, ""), (good, 0, "")])
    assert at.status(good) == "succeeded"
    assert at.segments(broken) == {0: "running"}
    assert "failed inside the engine" in caplog.text


async def test_a_segment_whose_rows_cannot_be_read_is_put_before_a_person_and_the_others_are_carried(
    at: Theatre, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    active = at.push(chain("pure"))
    broken, good = at.start(active), at.start(active)
    at.connection.run("UPDATE execution SET trigger_event = '{' WHERE id = ?", (broken,))
    await at.executor().perform([(broken, 0, ""), (good, 0, "")])
    assert at.status(good) == "succeeded"
    assert at.segments(broken) == {0: "uncertain"}
    assert json.loads(at.segment(broken, 0, "reason")[0])["code"] == "segment.unreadable"
    await at.executor().perform([(broken, 0, "")])
    assert "cannot be read" in caplog.text


async def test_a_segment_that_cannot_be_read_and_is_held_by_another_is_left_to_him(at: Theatre) -> None:
    name = at.start(at.push(chain("pure")))
    at.connection.run("UPDATE execution SET trigger_event = '{'")
    real = at.submit

    def submit(work: Any) -> Any:
        at.ledger.step([op.Claim(name, 0, "", "other", NOW, NOW)])
        return real(work)

    at.submit = submit  # type: ignore[method-assign]  # another is quicker
    await at.executor().perform([(name, 0, "")])
    assert at.segment(name, 0, "status", "owner") == ("running", "other")


async def test_a_database_that_is_away_leaves_the_message_to_come_again(
    at: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = at.start(at.push(chain("read")))

    def away(_: Any) -> Any:
        raise Unavailable

    with monkeypatch.context() as patch:
        patch.setattr(at, "read", away)
        await at.executor().perform([(name, 0, "")])
    with monkeypatch.context() as patch:
        patch.setattr(at, "submit", away)
        await at.executor().perform([(name, 0, "")])
    assert at.segments(name) == {0: "ready"}


async def test_a_database_that_is_away_while_a_node_asks_it_for_something_is_no_failure_of_the_node(
    at: Theatre, stage: Stage
) -> None:
    stage.tell("a", Unavailable("The database cannot be reached."), "done")
    name = at.start(at.push(document([vertex("a", "read", on_error="continue")])))
    await at.executor().perform([(name, 0, "")])
    assert (at.segments(name), at.leases.held()) == ({0: "running"}, [])
    at.step(op.Lose(name, ((0, "", 1),), NOW, "late", 3))
    await at.executor().perform([(name, 0, "")])
    assert at.status(name) == "succeeded"
    assert at.output(name) == {"a": "done"}


async def test_a_claim_whose_past_cannot_be_read_is_not_held(
    at: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = at.start(at.push(chain("read")))
    at.step(op.Claim(name, 0, "", "other", NOW, NOW))
    at.step(op.Lose(name, ((0, "", 1),), NOW, "late", 3))
    real, reads = at.read, iter([False, True])

    async def read(query: Any) -> Any:
        if next(reads):
            raise Unavailable
        return await real(query)

    with monkeypatch.context() as patch:
        patch.setattr(at, "read", read)
        await at.executor().perform([(name, 0, "")])
    assert at.leases.held() == []
    assert at.segments(name) == {0: "running"}


async def test_a_successor_whose_past_cannot_be_read_is_not_held(
    at: Theatre, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "{{ nodes.a.output }}{{ nodes.b.output }}"
    body = document(
        [vertex("a", "pure"), vertex("b", "pure"), vertex("c", "read", {"text": text}), vertex("d", "pure")],
        [edge("a", "b", when="true"), edge("b", "c", when="true"), *edges("b->d")],
    )
    name = at.start(at.push(body))
    real = at.read
    reads = 0

    async def read(query: Any) -> Any:
        nonlocal reads
        reads += 1
        if reads > 1:
            raise Unavailable
        return await real(query)

    with monkeypatch.context() as patch:
        patch.setattr(at, "read", read)
        await at.executor().perform([(name, 0, "")])
    assert at.leases.held() == []


async def test_a_carrier_goes_on_inline_and_then_lets_others_have_their_turn(
    tmp_path: Path, stage: Stage
) -> None:
    at = theatre(tmp_path, limits=Limits(inline_segments=2))
    names = "abcdefg"
    body = document(
        [vertex(each, "pure") for each in names],
        [edge(one, two, when="true") for one, two in pairwise(names)],
    )
    at.start(at.push(body))
    await at.executor().perform(at.outlet.taken())
    assert stage.calls == ["a", "b", "c"]
    at.close()


async def test_a_carrier_that_has_taken_long_sends_what_follows(at: Theatre, stage: Stage) -> None:
    stage.tell("a", lambda _: at.clock.move(1))
    at.start(at.push(document([vertex("a", "pure"), vertex("b", "pure")], [edge("a", "b", when="true")])))
    await at.executor().perform(at.outlet.taken())
    assert stage.calls == ["a"]
    assert [queue for queue, _ in at.outlet.sent] == ["default"]


async def test_a_long_segment_lets_the_loop_go_round(at: Theatre, stage: Stage) -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    names = [f"n{index}" for index in range(200)]
    name = at.start(at.push(document([vertex(each, "pure") for each in names], edges("->".join(names)))))
    other = asyncio.create_task(turn())
    await at.carry()
    other.cancel()
    assert turns >= 3
    assert at.status(name) == "succeeded"


def test_what_is_drawn_is_the_same_on_every_replay_and_different_everywhere_else() -> None:
    from engine.performance import Draws

    one = Draws(b"k", "name", NOW)
    assert one.draw(1) == Draws(b"k", "name", NOW + 5).draw(1)
    assert (
        len({one.draw(1), one.draw(2), Draws(b"k", "other", NOW).draw(1), Draws(b"l", "name", NOW).draw(1)})
        == 4
    )
    assert len(one.draw(1)) == 16


async def test_a_hold_of_another_process_is_not_touched(at: Theatre, stage: Stage) -> None:
    hold = at.leases.hold(Hold("exec_other", 0, "", 1, 5000.0))
    await at.run(chain("read"))
    assert at.leases.held() == [hold]
    at.leases.drop(hold)


# What ends early


def body(
    nodes: list[dict[str, Any]], ways: list[dict[str, Any]] | None = None, **more: Any
) -> dict[str, Any]:
    return {"nodes": nodes, "edges": ways or [], **more}


def waiting(name: str, seconds: int) -> dict[str, Any]:
    return vertex(name, "wait", {"for": seconds})


@pytest.mark.parametrize(
    ("join", "left"), [("any", "waiting"), ({"mode": "any", "cancel_rest": True}, "succeeded")]
)
async def test_the_first_to_arrive_at_a_join_stops_the_rest_when_its_author_says_so(
    bench: Workbench, join: Any, left: str
) -> None:
    nodes = [waiting("a", 1), waiting("b", 60), vertex("c"), vertex("z", "merge", join=join)]
    name = bench.start(bench.push(document(nodes, edges("a->z", "b->c->z"))))
    await bench.carry()
    bench.clock.move(1)
    bench.poller().tick()
    await bench.carry()
    assert bench.status(name) == left


@pytest.mark.parametrize(
    ("scope", "expected"),
    [("loop", {"n": "at 3"}), ("l", {"n": "at 3"}), ("iteration", {"n": 5}), ("workflow", "at 3")],
)
async def test_an_exit_ends_what_it_names(bench: Workbench, scope: str, expected: Any) -> None:
    round_ = body(
        [
            vertex("i", "if", {"condition": "index == 3"}),
            vertex("x", "exit", {"scope": scope, "value": "at {{ index }}"}),
            vertex("y"),
        ],
        [edge("i", "x", port="true"), edge("i", "y", port="false")],
        output="{{ index }}",
    )
    loop = vertex("l", "scope", loop={"until": "index > 5"}, body=round_)
    last = vertex("n", "transform", {"expression": "nodes.l.output"})
    name = bench.start(bench.push(document([loop, last], edges("l->n"))))
    await bench.carry()
    assert (bench.status(name), bench.output(name)) == ("succeeded", expected)


async def test_an_exit_ends_a_branch_and_the_others_go_on(bench: Workbench) -> None:
    nodes = [vertex("x", "exit", {"scope": "branch"}), vertex("b", "fail", {"message": "no"}), vertex("c")]
    name = bench.start(bench.push(document(nodes, edges("x->b"))))
    await bench.carry()
    assert (bench.status(name), bench.output(name)) == ("succeeded", {"c": None})


async def test_an_exit_of_the_workflow_stops_what_waits(bench: Workbench) -> None:
    nodes = [waiting("w", 60), vertex("x", "exit", {"value": 7})]
    name = bench.start(bench.push(document(nodes)))
    await bench.carry()
    assert (bench.status(name), bench.output(name)) == ("succeeded", 7)
    assert "waiting" not in bench.segments(name).values()


@pytest.mark.parametrize(
    ("scope", "code"), [("elsewhere", "exit.nothing_to_end"), ("workflow", "exit.past_finally")]
)
async def test_an_exit_that_cannot_be_made_fails_its_node(bench: Workbench, scope: str, code: str) -> None:
    inner = body([vertex("x", "exit", {"scope": scope})])
    scopes = vertex(
        "s", "scope", body=inner, **{"finally": body([vertex("z")])} if scope == "workflow" else {}
    )
    name = bench.start(bench.push(document([scopes])))
    await bench.carry()
    assert (bench.status(name), bench.error(name)["code"]) == ("failed", code)


# Maps


def mapped(
    *body: Any, items: str = "xs", output: Any = None, after: Sequence[Any] = (), **rule: Any
) -> dict[str, Any]:
    """A map `m` of a chain of nodes a, b, ..., with what follows it."""
    inner: dict[str, Any] = chain(*body)["definition"]
    if output is not None:
        inner["output"] = output
    container = {"id": "m", "type": "scope", "for_each": {"items": items, **rule}, "body": inner}
    following = [{"id": each["id"], **each} for each in after]
    return document([container, *following], edges(*(f"m->{each['id']}" for each in following)))


def by_item(*acts: Any) -> Act:
    """Do as the item's own act says."""
    return lambda ctx: does(acts[int(ctx.item.rpartition(".")[2])])(ctx)


ITEMS = {"type": "pure", "config": {"text": "{{ [item, index] }}"}}


async def test_a_map_performs_its_body_for_each_item(at: Theatre, stage: Stage) -> None:
    last = {"type": "read", "config": {"text": "{{ nodes.a.output.by ~ item }}"}}
    name = await at.run(mapped(ITEMS, last, output="{{ [index, nodes.b.output.by] }}"), {"xs": [5, 6]})
    assert at.output(name) == {"m": [[0, "b"], [1, "b"]]}
    assert sorted(stage.seen, key=str) == [("a", [5, 0]), ("a", [6, 1]), ("b", "a5"), ("b", "a6")]


async def test_a_plain_node_is_performed_for_each_item(at: Theatre, stage: Stage) -> None:
    one = {"id": "a", "type": "keyed", "config": {"text": "{{ x }}"}, "for_each": {"items": "xs", "as": "x"}}
    keys: list[str] = []

    def act(ctx: Context) -> str:
        keys.append(ctx.idempotency_key)
        return f"{ctx.node_id} {ctx.item}"

    stage.tell("a@item", act)
    name = await at.run(document([one]), {"xs": ["p", "q"]})
    assert at.output(name) == {"a": ["a@item 0", "a@item 1"]}
    assert sorted(text for _, text in stage.seen) == ["p", "q"]
    assert len(set(keys)) == 2


async def test_cheap_items_are_performed_in_one_go(at: Theatre, stage: Stage) -> None:
    name = await at.run(mapped(ITEMS), {"xs": list(range(40))})
    assert len(stage.calls) == 40
    assert at.query("SELECT count(*), min(hi), max(hi) FROM segment WHERE item <> ''") == [(8, 4, 39)]
    assert at.output(name) == {"m": [{"by": "a"}] * 40}


async def test_a_failed_item_fails_its_map_and_stops_the_others(at: Theatre, stage: Stage) -> None:
    stage.tell("a", by_item(1, Fail("x.broken", "It broke."), Wait(NOW + 9_000)))
    name = await at.run(mapped("waits"), {"xs": [0, 0, 0]})
    assert at.status(name) == "failed"
    assert at.error(name) == {
        "node": "m",
        "code": "x.broken",
        "message": "Item 1 failed: It broke.",
        "details": {"item": 1, "failed": 1, "count": 3},
    }
    assert set(at.segments(name).values()) <= {"failed", "done", "cancelled"}


@pytest.mark.parametrize("node_type", ["pure", "read"])
@pytest.mark.parametrize(
    ("rule", "result"),
    [
        ({"on_item_error": "null"}, [0, None, 2]),
        ({"on_item_error": "drop"}, [0, 2]),
        ({"tolerate": {"count": 1}}, [0, None, 2]),
        ({"tolerate": {"percent": 34}}, [0, None, 2]),
    ],
)
async def test_failed_items_are_what_their_author_says(
    at: Theatre, stage: Stage, node_type: str, rule: dict[str, Any], result: Any
) -> None:
    stage.tell("a", by_item(0, Fail("x.broken", "It broke."), 2))
    name = await at.run(mapped(node_type, **rule), {"xs": [0, 0, 0]})
    assert at.output(name) == {"m": result}


async def test_a_partition_tells_the_good_from_the_bad(at: Theatre, stage: Stage) -> None:
    stage.tell("a", by_item(0, Fail("x.broken", "It broke."), 2))
    name = await at.run(mapped("read", on_item_error="partition"), {"xs": [0, 0, 0]})
    found = cast("Any", at.output(name))["m"]
    assert found["succeeded"] == [0, 2]
    assert [(each["index"], each["error"]["code"]) for each in found["failed"]] == [(1, "x.broken")]


async def test_no_more_items_are_under_way_than_the_author_allows(at: Theatre, stage: Stage) -> None:
    stage.tell("a", lambda _: Wait(at.clock.now() + 1_000, "v"))
    name = await at.run(mapped("waits", concurrency=2), {"xs": [0] * 5})
    waits = []
    for _ in range(3):
        waits.append(at.query("SELECT count(*) FROM segment WHERE status = 'waiting' AND item <> ''")[0][0])
        await at.tick(1)
    assert waits == [2, 2, 1]
    assert at.output(name) == {"m": ["v"] * 5}


async def test_batches_are_items(at: Theatre, stage: Stage) -> None:
    name = await at.run(mapped(ITEMS, batch=2), {"xs": [1, 2, 3]})
    assert stage.seen == [("a", [[1, 2], 0]), ("a", [[3], 1])]
    assert at.output(name) == {"m": [{"by": "a"}] * 2}


async def test_until_ends_a_map_though_some_items_failed_and_others_still_run(
    at: Theatre, stage: Stage
) -> None:
    stage.tell("a", by_item(Fail("x.broken", "It broke."), "v", Wait(NOW + 9_000), Wait(NOW + 9_000)))
    name = await at.run(mapped("waits", until="done >= 1", on_item_error="null"), {"xs": [0] * 4})
    assert at.output(name) == {"m": ["v"]}
    assert sorted(at.query("SELECT DISTINCT status FROM segment WHERE item IN ('2', '3')")) == [
        ("cancelled",)
    ]


async def test_until_does_not_wait_for_items_that_run_after_one_has_failed(at: Theatre, stage: Stage) -> None:
    async def never(_: Context) -> None:
        await asyncio.Event().wait()

    def other(ctx: Context) -> Any:
        return {"0": does(Fail("x.broken", "It broke.")), "1": does("v")}.get(ctx.item, never)(ctx)

    stage.tell("a", other)
    name = at.start(at.push(mapped("read", until="done >= 1", on_item_error="null")), {"xs": [0] * 3})
    (root,) = at.outlet.taken()
    await at.executor().perform([root])
    task = asyncio.create_task(at.executor().perform([each for each in at.outlet.taken() if each[2] == "2"]))
    while stage.calls.count("a") != 1:
        await asyncio.sleep(0)
    at.outlet.sent += [("default", (name, 2, each)) for each in "01"]
    await at.carry()
    assert at.output(name) == {"m": ["v"]}
    at.leases._look_for_cancels()
    await task
    assert at.query("SELECT status FROM segment WHERE item = '2'") == [("cancelled",)]


async def test_maps_inside_maps(at: Theatre, stage: Stage) -> None:
    inner = {
        "type": "pure",
        "config": {"text": "{{ [x, item, index] }}"},
        "for_each": {"items": "x.ys"},
    }
    name = await at.run(mapped(inner, **{"as": "x"}), {"xs": [{"ys": [1, 2]}, {"ys": []}, {"ys": [3]}]})
    assert at.output(name) == {"m": [[{"by": "a@item"}] * 2, [], [{"by": "a@item"}]]}
    assert sorted(text[1:] for _, text in stage.seen) == [[1, 0], [2, 1], [3, 0]]
    assert at.query("SELECT max(item) FROM segment") == [("2.0",)]


async def test_more_than_ten_items_keep_their_order(at: Theatre) -> None:
    name = await at.run(mapped("read", output="{{ item }}"), {"xs": list(range(130))})
    assert at.output(name) == {"m": list(range(130))}
    assert at.query("SELECT item FROM journal WHERE status = 'items' ORDER BY length(item), item") == [
        ("0",),
        ("64",),
        ("128",),
    ]


async def test_items_and_results_that_are_large_lie_in_blobs(at: Theatre, stage: Stage) -> None:
    stage.tell("a", lambda ctx: f"{ctx.item}{'y' * 40_000}")
    body = mapped("read", output="{{ [item | length, nodes.a.output | length] }}")
    name = await at.run(body, {"xs": ["x" * 40_000, "x" * 50_000]})
    assert at.output(name) == {"m": [[40_000, 40_001], [50_000, 40_001]]}
    chunked = await at.run(mapped(ITEMS, output="{{ item }}"), {"xs": ["x" * 40_000] * 20})
    assert at.output(chunked) == {"m": ["x" * 40_000] * 20}


async def test_items_that_fit_one_by_one_and_not_together_fail_the_map_and_do_not_come_for_ever(
    tmp_path: Path, stage: Stage
) -> None:
    at = theatre(tmp_path, limits=Limits(output_bytes=1_000))
    stage.tell("a", "y" * 300)
    name = await at.run(mapped("pure"), {"xs": [0] * 32})
    assert (at.status(name), at.error(name)["code"]) == ("failed", "node.output_too_large")
    at.close()


async def test_an_item_that_is_too_large_fails_alone(tmp_path: Path, stage: Stage) -> None:
    at = theatre(tmp_path, limits=Limits(output_bytes=1_000))
    stage.tell("a", by_item("y" * 3_000, "z"))
    name = await at.run(mapped("pure", on_item_error="drop"), {"xs": [0, 0]})
    assert at.output(name) == {"m": ["z"]}
    at.close()


async def test_an_attempt_at_a_cheap_item_has_its_time_too(at: Theatre, stage: Stage) -> None:
    async def never(_: Context) -> None:
        await asyncio.Event().wait()

    stage.tell("a", never)
    slow = {"type": "slow", "timeout": 0.01}
    async with asyncio.timeout(5):
        name = await at.run(mapped(slow), {"xs": [0]})
    assert (at.status(name), at.error(name)["code"]) == ("failed", "node.timeout")


@pytest.mark.parametrize(
    ("items", "code"), [("k", "map.items_not_a_list"), ("nothing", "expression.unknown_name")]
)
async def test_items_that_cannot_be_had_are_the_maps_failure(at: Theatre, items: str, code: str) -> None:
    name = await at.run(mapped("pure", items=items), {"k": 1})
    assert (at.error(name)["node"], at.error(name)["code"]) == ("m", code)


async def test_a_map_that_fails_may_be_gone_on_from(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Fail("x.broken", "It broke."))
    body = mapped("read", after=[vertex("z", "pure", {"text": "{{ nodes.m.error.code }}"})])
    body["definition"]["edges"][0]["on"] = "error"
    await at.run(body, {"xs": [0]})
    assert stage.seen[-1] == ("z", "x.broken")


async def test_a_claimed_container_sees_what_came_since_its_message_was_read(
    tmp_path: Path, stage: Stage
) -> None:
    """Its segment begins with an effect, so each look at it is a claim; a doubled message must not open it again."""
    at = theatre(tmp_path, limits=Limits(inline_segments=0))
    one = document(
        [vertex("a", "read"), {"id": "m", "type": "read", "for_each": {"items": "xs"}}], edges("a->m")
    )
    name = at.start(at.push(one), {"xs": [1, 2]})
    twice = at.executor(), at.executor(owner="elsewhere:2:1")
    reference = (name, 0, "")
    loaded = asyncio.Event()
    late = asyncio.create_task(_late(at, twice[1], reference, loaded))
    await asyncio.sleep(0)
    at.outlet.taken()
    await twice[0].perform([reference])
    for each in at.outlet.taken():
        if each[2]:
            await at.executor().perform([each])
    assert at.query("SELECT status FROM segment WHERE segment = 0") == [("ready",)]
    loaded.set()
    await late
    await at.carry()
    assert at.status(name) == "succeeded"
    assert stage.calls == ["a", "m@item", "m@item"]
    at.close()


async def _late(at: Theatre, executor: Executor, reference: Any, loaded: asyncio.Event) -> None:
    """Perform a segment as it was when its message was read, some time after."""
    read = at.read

    async def slow(query: Any) -> Any:
        found = await read(query)
        await loaded.wait()
        return found

    services = executor._services
    executor._services = dataclasses.replace(services, reader=cast("Any", SlowReader(slow)))
    await executor.perform([reference])


class SlowReader:
    """A reader whose answers are old."""

    def __init__(self, read: Any) -> None:
        self.read = read


# Effects inside items


async def test_an_effect_of_an_item_that_was_under_way_when_its_process_died_is_in_doubt_alone(
    tmp_path: Path, stage: Stage
) -> None:
    at = theatre(tmp_path, limits=Limits(inline_segments=0))
    stage.tell("a", lambda ctx: ctx.item)
    name = at.start(at.push(mapped("once")), {"xs": [0, 0]})
    await at.executor().perform(at.outlet.taken())
    first, second = at.outlet.taken()
    now = at.clock.now()
    at.ask(op.Claim(name, first[1], "0", "dead", now, now + 1_000))
    intent = (op.Entry("a", "intent", "once"),)
    at.ask(op.Record(name, first[1], "0", 1, pure=False, now=now, entries=intent))
    at.ask(op.Lose(name, ((first[1], "0", 1),), now, "dead", 3))
    at.outlet.sent += [("default", first), ("default", second)]
    await at.carry()
    assert at.status(name) == "waiting"
    assert at.query("SELECT item, status FROM segment WHERE segment = ? ORDER BY 1", first[1]) == [
        ("0", "uncertain"),
        ("1", "done"),
    ]
    payload = op.Payload('"it did"')
    at.ask(op.Resolve(name, first[1], "0", "done", now, "ann", payload, "a"))
    at.outlet.sent.append(("default", first))
    await at.carry()
    assert (at.output(name), stage.calls) == ({"m": ["it did", "1"]}, ["a"])
    at.close()


async def test_a_keyed_effect_of_an_item_is_repeated_under_its_key(at: Theatre, stage: Stage) -> None:
    keys: list[str] = []

    def call(ctx: Context) -> str:
        keys.append(ctx.idempotency_key)
        if len(keys) == 1:
            raise TryAgain("x.busy", "Not now.")
        return "v"

    stage.tell("a", call)
    retry = {"max_attempts": 2, "delay": 1, "jitter": 0}
    name = await at.run(mapped({"type": "keyed", "retry": retry}, concurrency=1), {"xs": [0, 0]})
    await at.tick(1)
    await at.tick(1)
    assert at.output(name) == {"m": ["v", "v"]}
    assert (keys[0] == keys[1], keys[1] == keys[2], len(keys)) == (True, False, 3)


async def test_a_chunk_that_kills_its_worker_is_performed_in_a_child_at_last(
    tmp_path: Path, stage: Stage
) -> None:
    at = theatre(tmp_path, limits=Limits(inline_segments=0))
    name = at.start(at.push(mapped("pure")), {"xs": [0, 0]})
    await at.executor().perform(at.outlet.taken()[:1])
    at.outlet.taken()
    at.connection.run("UPDATE segment SET deliveries = 2 WHERE item = '0'")
    at.outlet.sent += [("default", (name, 2, each)) for each in "01"]
    await at.carry()
    assert [node_ for node_, _, _ in at.children.asked] == ["a"]
    assert at.output(name) == {"m": [{"by": "a"}] * 2}
    at.close()


# People, while a map runs


async def test_a_pause_holds_the_items_and_letting_go_goes_on(at: Theatre, stage: Stage) -> None:
    stage.tell("a", lambda _: Wait(at.clock.now() + 1_000, "v"))
    name = await at.run(mapped("waits", concurrency=1), {"xs": [0, 0]})
    at.ask(op.Pause(name, at.clock.now()))
    await at.tick(5)
    assert at.status(name) == "waiting"
    at.ask(op.Pause(name, at.clock.now(), resume=True))
    for _ in range(3):
        await at.tick(1)
    assert at.output(name) == {"m": ["v", "v"]}


async def test_a_cancellation_ends_the_map_and_its_items(at: Theatre, stage: Stage) -> None:
    stage.tell("a", lambda _: Wait(at.clock.now() + 1_000, "v"))
    name = await at.run(mapped("waits", concurrency=1), {"xs": [0, 0]})
    at.ask(op.Cancel(name, at.clock.now()))
    assert at.status(name) == "cancelled"
    assert at.query("SELECT DISTINCT status FROM segment") == [("cancelled",)]


# Loops


async def test_a_loop_goes_on_with_what_the_last_iteration_came_to(at: Theatre, stage: Stage) -> None:
    stage.tell("a", lambda ctx: int(ctx.item) * 10)
    body = {"nodes": [vertex("a", "pure", {"text": "{{ [item, index] }}"})]}
    more = {"while": "index < 3", "initial": "{{ k }}"}
    name = await at.run(document([{"id": "l", "type": "scope", "loop": more, "body": body}]), {"k": 7})
    assert stage.seen == [("a", [7, 0]), ("a", [0, 1]), ("a", [10, 2])]
    assert at.output(name) == {"l": 20}


@pytest.mark.parametrize("node_type", ["pure", "read"])
async def test_a_loop_may_collect(at: Theatre, stage: Stage, node_type: str) -> None:
    stage.tell("l@item", lambda ctx: int(ctx.item))
    rule = {"until": "item == 11", "collect": True}
    name = await at.run(document([{"id": "l", "type": node_type, "loop": rule}]))
    assert at.output(name) == {"l": list(range(12))}


async def test_a_loop_without_an_end_is_ended(at: Theatre) -> None:
    rule = {"while": "true", "max_iterations": 3}
    name = await at.run(document([{"id": "l", "type": "pure", "loop": rule}]))
    assert (at.error(name)["node"], at.error(name)["code"]) == ("l", "loop.too_many_iterations")


async def test_a_loop_polls_with_a_wait_inside(at: Theatre, stage: Stage) -> None:
    stage.tell("w", lambda _: Wait(at.clock.now() + 1_000))
    stage.tell("a", "busy", "busy", "done")
    round_ = body([vertex("a", "read"), vertex("w", "waits")], edges("a->w"), output="{{ nodes.a.output }}")
    poll = {"id": "l", "type": "scope", "loop": {"until": "item == 'done'"}, "body": round_}
    name = await at.run(document([poll]))
    for _ in range(4):
        await at.tick(1)
    assert (at.output(name), stage.calls) == ({"l": "done"}, ["a", "w"] * 3)


# Scopes


def scoped(*body: Any, **more: Any) -> dict[str, Any]:
    return document([{"id": "s", "type": "scope", "body": chain(*body)["definition"], **more}])


def handled(*body: Any) -> dict[str, Any]:
    """A body whose nodes are named x, y, ..."""
    nodes = [{"id": name, **each} for name, each in zip("xyz", body, strict=False)]
    return {"nodes": nodes, "edges": edges("->".join("xyz"[: len(nodes)])) if len(nodes) > 1 else []}


async def test_a_failure_is_caught_and_told(at: Theatre, stage: Stage) -> None:
    stage.tell("b", Fail("x.broken", "It broke."))
    told = "{{ [nodes.s.error.code, nodes.s.error.node, nodes.a.output.by] }}"
    catch = [
        {"on": ["y.*"], "body": handled({"type": "pure"})["nodes"] and {"nodes": [vertex("w", "pure")]}},
        {"on": ["x.*"], "body": handled({"type": "pure", "config": {"text": told}})},
    ]
    last = {"nodes": [vertex("z", "pure")], "edges": []}
    name = await at.run(scoped("pure", "pure", catch=catch, **{"finally": last}))
    assert at.output(name) == {"s": {"by": "x"}}
    assert stage.calls == ["a", "b", "x", "z"]
    assert stage.seen[2] == ("x", ["x.broken", "b", "a"])


async def test_a_failure_that_nobody_catches_fails_the_scope_after_its_end(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Fail("x.broken", "It broke."))
    last = {"nodes": [vertex("z", "read")], "edges": []}
    name = await at.run(scoped("read", **{"finally": last}))
    assert stage.calls == ["a", "z"]
    assert at.error(name)["node"] == "s"
    assert at.error(name)["code"] == "x.broken"


async def test_what_succeeded_is_undone_the_last_first(at: Theatre, stage: Stage) -> None:
    def undone(name: str) -> dict[str, Any]:
        compensate = {"type": "keyed", "config": {"text": f"{{{{ nodes.{name}.output }}}}"}}
        return {"type": "keyed", "compensate": compensate}

    for each in "abc":
        stage.tell(each, f"{each} did")
    stage.tell("d", Fail("x.broken", "It broke."))
    body = [{"id": each, **undone(each)} for each in "cbad"]
    scope = {
        "id": "s",
        "type": "scope",
        "body": {"nodes": body, "edges": edges("a->b->c->d")},
    }
    name = await at.run(document([scope]))
    assert at.error(name)["code"] == "x.broken"
    assert stage.seen[4:] == [("c@undo", "c did"), ("b@undo", "b did"), ("a@undo", "a did")]


async def test_what_failed_and_was_gone_on_from_is_not_undone(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Fail("x.broken", "It broke."))
    stage.tell("b", Fail("x.broken", "It broke."))
    undo = {"compensate": {"type": "keyed"}}
    await at.run(scoped({"type": "keyed", "on_error": "continue", **undo}, {"type": "keyed", **undo}))
    assert stage.calls == ["a", "b"]


async def test_nothing_is_undone_while_something_that_may_have_to_be_still_runs(
    tmp_path: Path, stage: Stage
) -> None:
    at = theatre(tmp_path, limits=Limits(inline_segments=0))
    go = asyncio.Event()

    async def slow(_: Context) -> str:
        await go.wait()
        return "slow did"

    stage.tell("a", slow)
    stage.tell("b", Fail("x.broken", "It broke."))
    undo = {"type": "keyed", "compensate": {"type": "keyed"}}
    body = {"nodes": [{"id": "a", **undo}, {"id": "c", **undo}, vertex("b", "read")], "edges": edges("c->b")}
    name = at.start(at.push(document([{"id": "s", "type": "scope", "body": body}])))
    slowly: asyncio.Task[None] | None = None
    while references := at.outlet.taken():
        for each in references:
            if at.programs.plan(_version(at, name), at.connection).segments[each[1]].nodes[-1].id == "a":
                slowly = asyncio.create_task(at.executor().perform([each]))
                while "a" not in stage.calls:
                    await asyncio.sleep(0)
            else:
                await at.executor().perform([each])
    assert slowly is not None
    for _ in range(3):
        await at.tick(0.2)
    assert not [each for each in stage.calls if each.endswith("@undo")]
    go.set()
    await slowly
    for _ in range(3):
        await at.tick(0.2)
    assert stage.calls[-2:] == ["a@undo", "c@undo"]
    assert at.status(name) == "failed"
    at.close()


def _version(at: Theatre, name: str) -> str:
    return str(at.query("SELECT version_id FROM execution WHERE id = ?", name)[0][0])


async def test_a_repeated_scope_deals_with_the_failure_of_each_item_by_itself(
    at: Theatre, stage: Stage
) -> None:
    stage.tell("a", by_item("good"))
    stage.tell("b", lambda ctx: does(Fail("x.odd", "Odd.") if ctx.item.startswith("1") else "fine")(ctx))
    catch = [{"body": handled({"type": "pure", "config": {"text": "{{ [item, nodes.s.error.code] }}"}})}]
    undo = {"type": "keyed", "compensate": {"type": "keyed", "config": {"text": "{{ item }}"}}}
    body = scoped(undo, "read", catch=catch, for_each={"items": "xs"})
    name = await at.run(body, {"xs": ["p", "q"]})
    assert at.output(name) == {"s": ["fine", {"by": "x"}]}
    assert stage.seen[-2:] == [("a@undo", "q"), ("x", ["q", "x.odd"])]


async def test_a_scope_has_its_time(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Wait(NOW + 60_000))
    name = await at.run(scoped("waits", timeout=2))
    await at.tick(1)
    assert at.status(name) == "waiting"
    await at.tick(1)
    await at.tick(1)
    assert (at.status(name), at.error(name)["code"]) == ("failed", "node.timeout")
    assert at.query("SELECT status FROM segment WHERE item <> ''") == [("cancelled",)]


async def test_a_scope_that_took_too_long_is_undone_caught_and_followed_by_its_end(
    at: Theatre, stage: Stage
) -> None:
    stage.tell("b", Wait(NOW + 60_000))
    undo = {"type": "keyed", "compensate": {"type": "keyed"}}
    catch = [{"on": ["node.timeout"], "body": handled({"type": "pure"})}]
    last = {"nodes": [vertex("z", "pure")], "edges": []}
    name = await at.run(scoped(undo, "waits", timeout=2, catch=catch, **{"finally": last}))
    for _ in range(3):
        await at.tick(1)
    assert at.output(name) == {"s": {"by": "x"}}
    assert stage.calls == ["a", "b", "a@undo", "x", "z"]


async def test_of_two_failures_of_one_instance_the_first_counts(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Fail("x.first", "First."))
    stage.tell("b", Fail("x.second", "Second."))
    body = {"nodes": [vertex("a", "read"), vertex("b", "read")], "edges": []}
    name = at.start(at.push(document([{"id": "s", "type": "scope", "body": body}])))
    await at.carry()
    code = at.error(name)["code"]
    ((end,),) = at.query("SELECT error FROM journal WHERE node = 's@end'")
    assert json.loads(end)["code"] == code


async def test_a_large_plan_of_iterations_costs_no_losses(at: Theatre, stage: Stage) -> None:
    """A container that is looked at again and again is not the one that kills processes because it was unlucky once a day."""
    stage.tell("a", lambda _: Wait(at.clock.now() + 1_000))
    body = {"nodes": [vertex("a", "waits")]}
    rule = {"while": "index < 5"}
    name = await at.run(document([{"id": "l", "type": "scope", "loop": rule, "body": body}]))
    for _ in range(6):
        at.connection.run("UPDATE segment SET deliveries = 1 WHERE segment = 0 AND status = 'ready'")
        await at.tick(1)
    assert at.status(name) == "succeeded"
    assert at.segment(name, 0, "deliveries") == (0,)


# Waits that signals may end, and events


async def test_a_wait_for_nothing_fails_its_node(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Wait(None))
    name = await at.run(chain("waits"))
    assert at.error(name)["code"] == "node.wait_endless"


async def test_an_event_needs_a_declared_effect_and_is_published_once(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Emit("x"))
    name = await at.run(chain("pure"))
    assert at.error(name)["code"] == "node.emit_undeclared"
    name = await at.run(chain("keyed"))
    assert at.output(name) == {"a": {"id": at.query("SELECT id FROM event_log")[0][0]}}


async def test_a_port_for_the_time_is_taken_though_no_signal_was_awaited(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Wait(NOW + 5_000, 7, port="late"))
    name = await at.run(chain("waits"))
    await at.tick(5)
    assert at.output(name) == {"a": 7}


async def test_a_signal_between_two_rests_counts_though_the_second_listens_for_others(
    at: Theatre, stage: Stage
) -> None:
    stage.tell("a", Wait(NOW + 5_000, 7, (OnEvent("x"),), then=Wait(NOW + 9_000, 8, (OnCallback(),))))
    name = await at.run(chain("waits"))
    at.clock.move(5)
    at.poller().tick()
    assert at.ask(op.Signal(name, 0, "", "callback", "callback", NOW)) == op.Signalled(won=False)
    at.ask(op.Publish("evt_1", "proj_default", "x", "", NOW, NOW + 99_999, op.Payload("3")))
    await at.carry()
    assert at.output(name) == {"a": {"name": "event", "payload": 3, "at": "2030-03-17T17:46:40.000Z"}}


async def test_a_wait_that_was_looked_at_too_early_goes_on_waiting(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Wait(NOW + 5_000, 7, (OnCallback(),), then=Wait(NOW + 9_000, 8, (OnCallback(),))))
    name = await at.run(chain("waits"))
    at.connection.run("UPDATE segment SET status = 'ready', due = ?, epoch = epoch + 1", (NOW,))
    at.connection.run("UPDATE execution SET status = 'running', open = 1")
    at.outlet.sent.append(("default", (name, 0, "")))
    await at.carry()
    assert at.segment(name, 0, "status", "due") == ("waiting", NOW + 5_000)
    await at.tick(5)
    assert at.segment(name, 0, "status", "due") == ("waiting", NOW + 9_000)
    await at.tick(4)
    assert at.output(name) == {"a": 8}


# Answers


RESPOND = {"type": "waits"}


async def test_an_answer_is_kept_in_the_commit_of_its_node_and_told(at: Theatre, stage: Stage) -> None:
    stage.tell("b", Respond({"id": 7}, 201, {"Location": "/7"}))
    name = at.start(at.push(chain("pure", RESPOND, "keyed")), reply_to="me")
    await at.executor().perform(at.outlet.taken())
    assert at.answer(name) == {"status": 201, "headers": {"Location": "/7"}, "body": {"id": 7}}
    assert at.outlet.ended[0] == (name, "me")
    await at.carry()
    assert at.status(name) == "succeeded"
    assert at.outlet.ended == [(name, "me")] * 2
    told = [(node_, more) for kind, node_, _, more in at.events(name) if kind == "node.responded"]
    assert told == [("b", {"counts": True})]


async def test_the_first_answer_counts_and_a_later_one_changes_nothing(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Respond("first"))
    stage.tell("b", Respond("second"))
    name = await at.run(chain(RESPOND, RESPOND))
    assert at.answer(name)["body"] == "first"
    told = [(node_, more["counts"]) for kind, node_, _, more in at.events(name) if kind == "node.responded"]
    assert told == [("a", True), ("b", False)]
    assert at.output(name) == {"b": {"status": 200, "headers": {}, "body": "second"}}


async def test_of_answers_in_one_commit_one_counts(at: Theatre, stage: Stage) -> None:
    body = document([vertex("a", "waits"), vertex("b", "waits")])
    stage.tell("a", Respond("a"))
    stage.tell("b", Respond("b"))
    name = at.start(at.push(body))
    await at.executor().perform(at.outlet.taken())
    while references := at.outlet.taken():
        await asyncio.gather(*(at.executor().perform([each]) for each in references))
    assert at.answer(name)["body"] in ("a", "b")
    counts = sorted(more["counts"] for kind, _, _, more in at.events(name) if kind == "node.responded")
    assert counts == [False, True]


async def test_a_large_answer_is_stored_once_beside_the_rows(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Respond("x" * 40_000))
    name = await at.run(chain(RESPOND))
    ((answer, blob),) = at.query("SELECT answer, answer_blob FROM execution WHERE id = ?", name)
    assert answer is None
    assert blob in {each for (each,) in at.journal(name, "blob")}
    assert at.answer(name)["body"] == "x" * 40_000


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Respond(status=600), "from 200 to 599"),
        (Respond(headers={"Set-Cookie": "a"}), "cannot have the header field 'Set-Cookie'"),
        (Respond(headers={"Location": "a\nb"}), "on one line"),
    ],
)
async def test_what_is_no_answer_is_a_failure_of_the_node(
    at: Theatre, stage: Stage, answer: Respond, words: str
) -> None:
    stage.tell("a", answer)
    name = await at.run(chain(RESPOND))
    assert at.error(name)["code"] == "node.answer_invalid"
    assert words in at.error(name)["message"]
    assert at.answer(name) is None


async def test_a_type_that_does_not_declare_it_does_not_answer(at: Theatre, stage: Stage) -> None:
    stage.tell("a", Respond())
    name = await at.run(chain("pure"))
    assert (at.error(name)["code"], at.answer(name)) == ("node.wait_undeclared", None)


async def test_what_is_to_stop_answers_nothing(at: Theatre, stage: Stage) -> None:
    def cancels(_: Context) -> Any:
        at.ask(op.Cancel(name, at.clock.now()))
        return Respond("late")

    name = at.start(at.push(chain(RESPOND)))
    stage.tell("a", cancels)
    await at.carry()
    assert (at.status(name), at.answer(name)) == ("cancelled", None)


async def test_no_credential_leaves_with_an_answer(at: Theatre, stage: Stage) -> None:
    async def tells(ctx: Context) -> Any:
        await ctx.connect("bank")
        return Respond("s3cr3t-token", headers={"Location": "/s3cr3t-token"})

    stage.tell("a", tells)
    name = await at.run(chain({"type": "answers"}))
    assert "s3cr3t" not in json.dumps(at.answer(name))


# What meets at a join


def collecting(mode: str, collect: str, **more: Any) -> dict[str, Any]:
    nodes = [vertex("a", "keyed"), vertex("b", "keyed"), vertex("c", "keyed")]
    meets = vertex("m", "keyed", {"text": "{{ joined }}"}, join={"mode": mode, "collect": collect, **more})
    return document([*nodes, meets], [edge("b", "m"), edge("a", "m", when="k"), edge("c", "m", on="any")])


@pytest.mark.parametrize(
    ("collect", "joined"),
    [
        ("map", {"b": {"by": "b"}, "a": {"by": "a"}, "c": {"by": "c"}}),
        ("list", [{"by": "b"}, {"by": "a"}, {"by": "c"}]),
    ],
)
async def test_what_is_taken_meets_in_the_order_of_the_edges(
    at: Theatre, stage: Stage, collect: str, joined: Json
) -> None:
    await at.run(collecting("all", collect), {"k": True})
    name, met = stage.seen[-1]
    assert (name, json.dumps(met)) == ("m", json.dumps(joined))


async def test_what_is_not_taken_does_not_meet(at: Theatre, stage: Stage) -> None:
    await at.run(collecting("all", "map"), {"k": False})
    assert stage.seen[-1] == ("m", {"b": {"by": "b"}, "c": {"by": "c"}})


async def test_what_comes_after_the_start_is_never_seen(at: Theatre, stage: Stage) -> None:
    stage.tell("m", TryAgain("x.busy", "Busy."), "done")
    body = collecting("any", "list")
    body["definition"]["nodes"][3]["retry"] = {"max_attempts": 2, "delay": 1, "jitter": 0}
    name = at.start(at.push(body), {"k": True})
    await at.executor().perform(at.outlet.taken())
    first, *others = at.outlet.taken()
    await at.executor().perform([first])
    met = [text for node_, text in stage.seen if node_ == "m"]
    at.outlet.sent.extend(("default", each) for each in others)
    await at.carry()
    await at.tick(1)
    assert at.status(name) == "succeeded"
    assert [text for node_, text in stage.seen if node_ == "m"] == met * 2
    assert len(met[0]) == 1


async def test_a_failure_that_led_there_meets_as_null(at: Theatre, stage: Stage) -> None:
    stage.tell("b", Fail("x.no", "No."))
    nodes = [vertex("a", "pure"), vertex("b", "pure"), vertex("m", "pure", {"text": "{{ joined }}"})]
    nodes[2]["join"] = {"mode": "all", "collect": "map"}
    await at.run(document(nodes, [edge("a", "m"), edge("b", "m", on="error")]))
    assert stage.seen[-1] == ("m", {"a": {"by": "a"}, "b": None})


async def test_a_map_goes_through_what_has_met(at: Theatre, stage: Stage) -> None:
    nodes = [vertex("a", "pure"), vertex("b", "pure"), vertex("m", "pure", {"text": "{{ item.by }}"})]
    nodes[2] |= {"join": {"mode": "all", "collect": "list"}, "for_each": {"items": "joined"}}
    await at.run(document(nodes, edges("a->m", "b->m")))
    assert [text for node_, text in stage.seen if node_ == "m@item"] == ["a", "b"]
