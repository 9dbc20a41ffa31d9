"""Where a plan cuts. Random graphs are cut in tests/property."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from celeriac import Context, Effect, Json, Retry, node
from engine.cutting import build
from engine.definition import Join, OnError, RetryPolicy, Workflow
from engine.plan import OUTPUT, Exit, Plan, PlanNode
from engine.registry import Registry, UnknownNodeType
from tests.builders import document, edge, edges
from tests.builders import node as vertex


class Config(BaseModel):
    """Anything."""

    text: Any = None


def declared(name: str, **more: Any) -> Any:
    @node(name, **more)
    def run(config: Config, _ctx: Context) -> Json:
        """Return nothing."""

    return run


REGISTRY = Registry(
    [
        declared("noop"),
        declared("wait", waits=True),
        declared("compute", process=True, queue="cpu"),
        declared("read", effect=Effect.READ, timeout=7.0),
        declared("once", effect=Effect.ONCE, retry=Retry(3, on=(ConnectionError, "http.*"))),
        declared("branch", ports=("true", "false")),
        declared("chosen", effect=lambda config: Effect.READ if config["text"] == "GET" else Effect.ONCE),
    ]
)


def planned(nodes: list[dict[str, Any]], ways: list[dict[str, Any]] | None = None, **more: Any) -> Plan:
    return build(Workflow.parse(document(nodes, ways or [], **more)), REGISTRY)


def cut(plan: Plan) -> list[list[str]]:
    """The nodes of each segment."""
    return [[each.id for each in segment.nodes] for segment in plan.segments]


def only(plan: Plan, name: str) -> PlanNode:
    (found,) = (each for segment in plan.segments for each in segment.nodes if each.id == name)
    return found


def test_a_definition_without_nodes_is_the_trigger_and_the_output() -> None:
    plan = planned([])
    assert cut(plan) == [["trigger", OUTPUT]]
    assert plan.root.ends


def test_a_chain_is_one_segment() -> None:
    assert cut(planned([vertex("a"), vertex("b")], edges("a->b"))) == [["trigger", "a", "b", OUTPUT]]


def test_a_segment_ends_at_a_fan_out_and_begins_at_a_join() -> None:
    plan = planned([vertex(each) for each in "abcd"], edges("a->b->d", "a->c->d"))
    assert cut(plan) == [["trigger", "a"], ["b"], ["c"], ["d", OUTPUT]]
    assert plan.segments[3].entries == 2
    assert plan.segments[0].exits == (Exit(1, None, "success", None), Exit(2, None, "success", None))


@pytest.mark.parametrize(
    "way",
    [
        edge("a", "b", when="trigger"),
        edge("a", "b", on="error"),
        edge("a", "b", on="any"),
        edge("a", "b", port="error"),
    ],
    ids=["condition", "error", "any", "port"],
)
def test_a_segment_ends_where_something_decides_what_follows(way: dict[str, Any]) -> None:
    assert cut(planned([vertex("a"), vertex("b")], [way]))[0] == ["trigger", "a"]


def test_a_segment_ends_at_a_choice_of_ports_and_at_a_durable_wait() -> None:
    assert cut(planned([vertex("a", "branch"), vertex("b")], [edge("a", "b", port="true")]))[0] == [
        "trigger",
        "a",
    ]
    assert cut(planned([vertex("a", "wait"), vertex("b")], edges("a->b"))) == [
        ["trigger", "a"],
        ["b", OUTPUT],
    ]


def test_a_segment_begins_at_a_node_that_counts_even_a_single_edge() -> None:
    plan = planned([vertex("a"), vertex("b", join={"mode": "n", "count": 1})], edges("a->b"))
    assert cut(plan) == [["trigger", "a"], ["b"], [OUTPUT]]
    assert plan.segments[1].join == Join("n", 1)


def test_a_segment_ends_where_the_queue_changes_and_neutral_nodes_go_along() -> None:
    plan = planned(
        [vertex("a"), vertex("b", "compute"), vertex("c"), vertex("d", queue="io"), vertex("e", "read")],
        edges("a->b->c->d->e"),
    )
    assert cut(plan) == [["trigger", "a", "b", "c"], ["d"], ["e", OUTPUT]]
    assert [each.queue for each in plan.segments] == ["cpu", "io", "default"]


def test_the_queue_of_a_workflow_holds_for_nodes_that_name_none() -> None:
    plan = planned([vertex("a"), vertex("b", queue="io")], edges("a->b"), queue="mine")
    assert [each.queue for each in plan.segments] == ["mine", "io"]


def test_a_segment_is_pure_when_nothing_in_it_has_an_effect_or_a_process() -> None:
    assert planned([vertex("a")]).root.pure
    assert not planned([vertex("a", "read")]).root.pure
    assert not planned([vertex("a", "compute")]).root.pure


def test_a_node_whose_only_way_on_is_a_join_in_haste_is_awaited_by_the_output() -> None:
    plan = planned([vertex(each) for each in "ab"] + [vertex("z", join="any")], edges("a->z", "b->z"))
    output = plan.segments[plan.segment_of[OUTPUT]]
    assert output.entries == 3


def test_the_leaves_are_what_nothing_regular_follows() -> None:
    plan = planned(
        [vertex(each) for each in "abc"], [edge("a", "b", on="error"), edge("a", "c", port="error")]
    )
    assert plan.leaves == ("a", "b", "c")
    assert planned([vertex("a"), vertex("b")], [edge("a", "b", on="any")]).leaves == ("b",)


def test_the_output_needs_what_its_template_reads() -> None:
    plan = planned([vertex("a"), vertex("b")], edges("a->b"), outputs={"x": "{{ nodes.a.output }}"})
    assert plan.leaves == ("a",)


def test_a_segment_needs_the_nodes_outside_that_its_configs_and_conditions_read() -> None:
    plan = planned(
        [
            vertex("a"),
            vertex("b", config={"text": "{{ nodes.a.output + trigger.payload }}"}),
            vertex("c", config={"text": "{{ nodes.b.output }}"}),
            vertex("d", "wait"),
            vertex("e"),
            vertex("f"),
        ],
        [*edges("a->d", "a->b->c"), edge("c", "e", when="nodes.d.output > nodes.c.output"), edge("d", "f")],
    )
    assert plan.segments[plan.segment_of["b"]].needs == ("a", "d")
    assert only(plan, "b").needs == ("a",)


def test_a_node_chosen_at_run_time_may_be_any() -> None:
    plan = planned([vertex("a"), vertex("b", config={"text": "{{ nodes[trigger.payload] }}"})], edges("a->b"))
    assert only(plan, "b").needs == ("a", "b")


def test_the_trigger_is_nothing_that_has_to_be_read() -> None:
    plan = planned(
        [vertex("a"), vertex("b", "wait"), vertex("c", config={"text": "{{ nodes.trigger.output }}"})],
        edges("a->b->c"),
    )
    assert only(plan, "c").needs == ("trigger",)
    assert plan.segments[-1].needs == ()


def test_what_a_node_does_not_say_its_workflow_says_and_then_its_type() -> None:
    policy = {"max_attempts": 9, "on": ["x.*"]}
    plain = planned([vertex("a", "once")])
    assert only(plain, "a").retry == RetryPolicy(max_attempts=3, on=("ConnectionError", "http.*"))
    assert (only(plain, "a").attempt_timeout, only(plain, "a").total_timeout) == (300.0, None)
    assert only(plain, "a").on_error == OnError("fail")
    general = planned([vertex("a", "read")], retry=policy, on_error="continue")
    assert only(general, "a").retry == RetryPolicy(max_attempts=9, on=("x.*",))
    assert (only(general, "a").on_error, only(general, "a").attempt_timeout) == (OnError("continue"), 7.0)
    own = planned(
        [
            vertex(
                "a",
                "read",
                retry={"max_attempts": 2},
                on_error="fail",
                timeout={"total": "1m"},
                effect="keyed",
                on_uncertain="retry",
            )
        ],
        retry=policy,
        on_error="continue",
    )
    assert only(own, "a").retry == RetryPolicy(max_attempts=2)
    assert only(own, "a").on_error == OnError("fail")
    assert (only(own, "a").attempt_timeout, only(own, "a").total_timeout) == (7.0, 60.0)
    assert (only(own, "a").effect, only(own, "a").on_uncertain) == (Effect.KEYED, "retry")
    assert only(planned([vertex("a", timeout=3)]), "a").attempt_timeout == 3.0


def test_what_must_not_be_repeated_is_repeated_only_when_it_says_so_itself() -> None:
    plan = planned(
        [vertex("a", "once"), vertex("b", "once", retry={"max_attempts": 2, "on": ["x.y"]})],
        retry={"max_attempts": 5},
    )
    assert only(plan, "a").retry.on == ("TryAgain",)
    assert only(plan, "b").retry.on == ("x.y",)


def test_the_effect_may_follow_from_the_config() -> None:
    plan = planned([vertex("a", "chosen", {"text": "GET"}), vertex("b", "chosen", {"text": "POST"})])
    assert (only(plan, "a").effect, only(plan, "b").effect) == (Effect.READ, Effect.ONCE)


@pytest.mark.parametrize("way", [{"on": "error"}, {"on": "timeout"}, {"port": "error"}])
def test_a_failure_with_an_edge_of_its_own_branches_whatever_else_is_said(way: dict[str, Any]) -> None:
    plan = planned([vertex("a", on_error="continue"), vertex("b")], [edge("a", "b", **way)])
    assert only(plan, "a").branches
    assert only(plan, "a").on_error == OnError("branch")


def test_the_output_stays_alone_behind_a_node_that_may_be_skipped() -> None:
    plan = planned([vertex("a", "branch"), vertex("b")], [edge("a", "b", port="true")])
    assert cut(plan) == [["trigger", "a"], ["b"], [OUTPUT]]


def test_a_join_that_counts_is_certain_when_enough_of_its_predecessors_are() -> None:
    nodes = [vertex(each) for each in "abc"]
    ways = [*edges("a->b"), edge("a", "c", when="trigger")]
    few = planned([*nodes, vertex("z", join={"mode": "n", "count": 1})], [*ways, *edges("b->z", "c->z")])
    many = planned([*nodes, vertex("z", join={"mode": "n", "count": 2})], [*ways, *edges("b->z", "c->z")])
    assert few.segment_of["z"] != few.segment_of[OUTPUT]
    assert many.segment_of["z"] != many.segment_of[OUTPUT]


def test_a_type_that_is_not_installed_is_refused() -> None:
    with pytest.raises(UnknownNodeType):
        planned([vertex("a", "nowhere")])


def test_variables_outputs_and_the_time_limit_are_kept() -> None:
    plan = planned([vertex("a")], variables={"v": 1}, outputs="{{ vars.v }}", timeout="1m")
    assert (plan.variables, plan.outputs, plan.timeout) == ({"v": 1}, "{{ vars.v }}", 60.0)
    assert Plan.from_json(plan.to_json()) == plan
