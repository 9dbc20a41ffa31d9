from __future__ import annotations

from typing import Any

import pytest

from celeriac import Fail
from engine import programs
from engine.cutting import build
from engine.definition import Workflow
from engine.errors import NotFound
from engine.expressions import ExpressionError, Scope, derived_entropy
from engine.plan import Plan
from engine.programs import Program, Programs, Step
from engine.registry import Registry, UnknownNodeType
from tests.builders import document, edge, edges, node
from tests.workbench import Workbench, built_in


def scope(**values: Any) -> Scope:
    return Scope(values, derived_entropy(b"k", 0))


def planned(*nodes: dict[str, Any], ways: list[dict[str, Any]] | None = None, **more: Any) -> Plan:
    return build(Workflow.parse(document(nodes, ways or [], **more)), built_in())


def step_of(node_: dict[str, Any]) -> Step:
    """The compiled step of a workflow's only node."""
    return Program(planned(node_), built_in()).steps(0)[1]


def test_a_config_without_templates_is_validated_once() -> None:
    step = step_of(node("a", "set", {"values": {"x": 1}}))
    assert step.model is not None
    assert step.bind(scope()) is step.model


def test_a_template_is_rendered_and_validated_for_each_call() -> None:
    step = step_of(node("a", "set", {"values": {"x": "{{ k + 1 }}"}}))
    assert step.model is None
    assert [step.bind(scope(k=each)).model_dump()["values"]["x"] for each in (1, 2)] == [2, 3]


@pytest.mark.parametrize(
    ("config", "field"),
    [({"message": "{{ k }}"}, "message"), ({"message": 5}, "message"), ({"message": "m", "odd": 1}, "odd")],
)
def test_a_config_that_does_not_fit_fails_the_node_with_every_field(
    config: dict[str, Any], field: str
) -> None:
    with pytest.raises(Fail) as caught:
        step_of(node("a", "fail", config)).bind(scope(k=1))
    failure = caught.value
    assert failure.code == "node.config_invalid"
    assert failure.message.startswith(f"The config of a is not what fail@1 takes: {field}: ")
    assert [each["field"] for each in failure.details["fields"]] == [field]  # type: ignore[index, union-attr, call-overload]  # a list of objects


def test_a_config_that_is_wrong_as_a_whole_names_no_field() -> None:
    with pytest.raises(Fail, match="takes: config: "):
        step_of(node("a", "wait", {"for": 1, "until": 1})).bind(scope())


def test_an_expression_that_fails_is_an_expressions_error() -> None:
    with pytest.raises(ExpressionError):
        step_of(node("a", "set", {"values": {"x": "{{ nothing }}"}})).bind(scope())


def test_the_trigger_and_the_output_are_steps_without_a_type() -> None:
    first, last = Program(planned(), built_in()).steps(0)
    assert (first.type, last.type) == (None, None)


def test_steps_and_conditions_are_compiled_when_they_are_first_needed_and_once() -> None:
    plan = planned(node("a"), node("b"), node("c"), ways=[edge("a", "b", when="k > 1"), *edges("a->c")])
    program = Program(plan, built_in())
    assert program.steps(0) is program.steps(0)
    conditional, plain = program.conditions(0)
    assert program.conditions(0) is program.conditions(0)
    assert conditional is not None
    assert conditional.evaluate(scope(k=2)) is True
    assert plain is None


def test_the_authors_outputs_are_compiled() -> None:
    assert Program(planned(node("a")), built_in()).outputs is None
    outputs = Program(planned(node("a"), outputs={"x": "{{ k }}"}), built_in()).outputs
    assert outputs is not None
    assert outputs.render(scope(k=1)) == {"x": 1}


def test_a_type_that_this_process_lacks_is_named() -> None:
    with pytest.raises(UnknownNodeType, match="noop@1"):
        Program(planned(node("a")), Registry([])).steps(0)


def test_a_version_is_read_once(bench: Workbench) -> None:
    version = bench.push(document([node("a")])).version
    found = Programs(bench.registry)
    assert found.known(version) is None
    program = found.get(version, bench.connection)
    assert found.get(version, bench.connection) is program
    assert found.plan(version, bench.connection) is program.plan
    assert found.known(version) is program


def test_a_version_that_is_not_there_is_not_found(bench: Workbench) -> None:
    with pytest.raises(NotFound, match="ver_nowhere"):
        Programs(bench.registry).get("ver_nowhere", bench.connection)


def test_the_least_used_versions_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_KEPT", 2)
    found = Programs(built_in())
    for each in ("one", "two"):
        found.put(each, planned)
    assert found.known("one") is not None
    found.put("three", planned)
    assert [found.known(each) is not None for each in ("one", "two", "three")] == [True, False, True]
