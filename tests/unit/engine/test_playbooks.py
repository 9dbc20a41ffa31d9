"""Playbooks: what steps become, where their mistakes stand, and what is told of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from celeriac import Json
from engine import playbooks, queries
from engine.checking import problems
from engine.errors import NotFound
from engine.registry import Registry
from tests.builders import document as nodes_document
from tests.builders import node
from tests.workbench import Workbench

REGISTRY = Registry.load(["nodes"])


def playbook(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "w", "definition": {"steps": list(steps), **more}}


def step(action: str = "noop", **more: Any) -> dict[str, Any]:
    return {"action": action, **more}


def ways(document: dict[str, Any]) -> list[str]:
    body = playbooks.plain(document)["definition"]
    return [
        f"{each['from']}->{each['to']}{':' + each['port'] if 'port' in each else ''}"
        for each in body["edges"]
    ]


def found(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (each.code, each.pointer) for each in problems.check(document, REGISTRY) if each.severity == "error"
    ]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([step()], []),
        ([step(), step(), step()], ["step_1->step_2", "step_2->step_3"]),
        ([step(order=2), step(order=1)], ["step_1->step_2"]),
        ([step(order=1), step(order=2), step(order=2)], ["step_1->step_2", "step_1->step_2_2"]),
        ([step(order=1), step(order=1), step(order=5)], ["step_1->step_5", "step_1_2->step_5"]),
        ([step(id="look"), step(id="act")], ["look->act"]),
        ([step(), step(id="step_3"), step()], ["step_1->step_3", "step_3->step_3_2"]),
        (
            [step(), step(approval=True)],
            [
                "step_2_approval->step_2:approved",
                "step_2_approval->step_2_rejected:rejected",
                "step_1->step_2_approval",
            ],
        ),
    ],
)
def test_steps_follow_each_other_by_their_order(steps: list[dict[str, Any]], expected: list[str]) -> None:
    document = playbook(*steps)
    assert ways(document) == expected
    assert found(document) == []


def test_a_step_becomes_a_node_with_all_that_it_says() -> None:
    document = playbook(
        step("set", params={"values": {"a": 1}}, on_failure="continue", retry={"max_attempts": 2}, timeout=5),
        step(
            "fail", approval={"title": "Really?", "quorum": 2}, params={"message": "x"}, estimated_success=0.5
        ),
    )
    body = playbooks.plain(document)["definition"]
    assert body["nodes"][0] == {
        "id": "step_1",
        "type": "set",
        "config": {"values": {"a": 1}},
        "retry": {"max_attempts": 2},
        "timeout": 5,
        "on_error": "continue",
    }
    assert body["nodes"][1]["config"] == {"title": "Really?", "show": None, "quorum": 2}
    assert body["nodes"][2]["config"]["code"] == playbooks.REJECTED
    assert found(document) == []
    assert playbooks.plain(nodes_document([node("a")])) == nodes_document([node("a")])


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (playbook(step("nop")), [("definition.unknown_node_type", "/definition/steps/0/action")]),
        (playbook(step(), {"order": 1}), [("definition.missing_key", "/definition/steps/1")]),
        (playbook(step(order=-1)), [("definition.bad_value", "/definition/steps/0/order")]),
        (playbook(step(more=1)), [("definition.unknown_key", "/definition/steps/0/more")]),
        (
            playbook(step(estimated_success=2)),
            [("definition.bad_value", "/definition/steps/0/estimated_success")],
        ),
        (
            playbook(step("set", params={"valuez": 1})),
            [("definition.bad_config", "/definition/steps/0/params/valuez")],
        ),
        (playbook(step("set")), [("definition.missing_key", "/definition/steps/0")]),
        (
            playbook(step("log", params={"message": "{{ nodes.x.output }}"})),
            [("expression.unknown_node", "/definition/steps/0/params/message")],
        ),
        (
            playbook(step("log", approval=True, params={"message": "{{ nodes.x.output }}"})),
            [("expression.unknown_node", "/definition/steps/0/params/message")],
        ),
        (
            playbook(step(approval={"titel": "x"})),
            [("definition.bad_config", "/definition/steps/0/approval/titel")],
        ),
        (
            playbook(step("log", params={"message": "{{ nodes.step_2.output }}"}), step()),
            [("expression.not_before", "/definition/steps/0/params/message")],
        ),
        (playbook(), [("definition.bad_value", "/definition/steps")]),
        (
            playbook(step(), nodes=[node("a")]),
            [("definition.bad_value", "/definition/nodes")],
        ),
    ],
)
def test_a_mistake_is_told_where_the_author_made_it(document: dict[str, Any], expected: Any) -> None:
    assert found(document) == expected


def test_two_steps_of_one_name_are_told() -> None:
    document = playbook(step(id="a"), step(id="b"), step(id="a"))
    assert ("definition.duplicate_id", "/definition/steps/2/id") in found(document)


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    made = Workbench(tmp_path)
    yield made
    made.close()


async def test_a_playbook_runs_and_its_steps_are_told(bench: Workbench) -> None:
    steps = [
        step("set", params={"values": {"ip": "{{ ip }}"}}, estimated_success=0.9),
        step("fail", params={"message": "It is away."}, on_failure="continue", estimated_success=0.5),
        step("log", params={"message": "{{ nodes.step_1.output.ip }}"}),
    ]
    execution = bench.start(bench.push(playbook(*steps)), {"ip": "10.0.0.1"})
    await bench.carry()
    told: Any = queries.steps(bench.connection, execution)
    assert [each["status"] for each in told["steps"]] == ["succeeded", "continued", "succeeded"]
    assert told["steps"][0]["result"] == {"ip": "10.0.0.1"}
    assert told["steps"][1]["error"]["message"] == "It is away."
    assert told["steps"][0]["duration_ms"] == 0
    assert (told["estimated_success"], told["actual_success"]) == (0.45, 0.666667)
    assert told["status"] == "succeeded"


async def test_a_playbook_rests_until_people_have_agreed(bench: Workbench) -> None:
    execution = bench.start(
        bench.push(playbook(step(), step("set", approval=True, params={"values": {"a": 1}})))
    )
    await bench.carry()
    told: Any = queries.steps(bench.connection, execution)
    assert [each["status"] for each in told["steps"]] == ["succeeded", "awaiting_approval"]
    assert (told["estimated_success"], told["actual_success"]) == (None, 1.0)


def test_another_workflow_has_no_steps_to_tell_of(bench: Workbench) -> None:
    execution = bench.start(bench.push(nodes_document([node("a")])))
    with pytest.raises(NotFound):
        queries.steps(bench.connection, execution)


def test_a_report_of_nothing_yet_is_one() -> None:
    runs: list[dict[str, Json]] = []
    told: Any = playbooks.report(playbook(step(estimated_success=1), step()), runs)
    assert [each["status"] for each in told["steps"]] == ["pending", "pending"]
    assert (told["estimated_success"], told["actual_success"]) == (1.0, None)
