"""Variables of the project in a definition: read at the start, and the same until the end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine import catalog
from engine.access import variables
from engine.checking import problems
from engine.plan import Plan
from engine.settings import DEFAULT_PROJECT
from tests.builders import document, edges, node
from tests.workbench import NOW, Workbench, built_in

READS = [node("a", "set", {"values": {"sum": "{{ vars.limit + vars.own }}", "at": "{{ vars.region }}"}})]


def reading(**more: Any) -> dict[str, Any]:
    made = document(READS, name="w")
    shared = {"limit": 10, "region": None}
    made["definition"] |= {"project_variables": shared, "variables": {"own": 1}, **more}
    return made


def put(bench: Workbench, name: str, value: Any, project: str = DEFAULT_PROJECT) -> None:
    bench.ask(variables.put(project, name, value, NOW))


async def ran(bench: Workbench, active: catalog.Active) -> Any:
    name = bench.start(active)
    await bench.carry()
    return bench.output(name)


async def test_what_stands_in_the_definition_holds_where_the_project_says_nothing(bench: Workbench) -> None:
    active = bench.push(reading())
    assert await ran(bench, active) == {"a": {"sum": 11, "at": None}}
    put(bench, "limit", 5)
    put(bench, "region", {"name": "north"})
    put(bench, "other", "never read")
    put(bench, "limit", 7, "proj_other")
    fresh = catalog.active(bench.connection, "w")
    assert fresh.variables == '{"limit":5,"region":{"name":"north"}}'
    assert await ran(bench, fresh) == {"a": {"sum": 6, "at": {"name": "north"}}}


async def test_an_execution_keeps_what_it_began_with(bench: Workbench) -> None:
    made = document(
        [node("rest", "wait", {"for": 10}), node("a", "transform", {"expression": "vars.limit"})],
        edges("rest->a"),
    )
    made["definition"]["project_variables"] = {"limit": 1}
    active = bench.push(made)
    put(bench, "limit", 2)
    name = bench.start(catalog.active(bench.connection, "w"))
    await bench.carry()
    put(bench, "limit", 3)
    bench.clock.move(11)
    bench.poller().tick()
    await bench.carry()
    assert bench.output(name) == {"a": 2}
    assert active.variables is None


def test_versions_that_are_remembered_still_ask_for_the_values_of_now(bench: Workbench) -> None:
    bench.push(reading())
    kept = catalog.Versions()
    assert kept.active(bench.connection, "w").variables is None
    put(bench, "limit", 5)
    assert kept.active(bench.connection, "w").variables == '{"limit":5}'
    version = kept.active(bench.connection, "w").version
    assert kept.pinned(bench.connection, version).variables == '{"limit":5}'


def test_a_plan_keeps_which_ones_it_reads(bench: Workbench) -> None:
    active = bench.push(reading())
    ((text,),) = bench.query("SELECT plan FROM workflow_version WHERE id = ?", active.version)
    plan = Plan.from_json(json.loads(text))
    assert plan.shared == {"limit": 10, "region": None}
    bench.push(document([node("b")], name="plain"))
    ((text,),) = bench.query("SELECT plan FROM workflow_version ORDER BY id DESC LIMIT 1")
    assert "shared" not in json.loads(text)


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, []),
        ({"variables": {"own": 1, "limit": 2}}, [("/project_variables/limit", "definition.duplicate_id")]),
        (
            {"project_variables": {"limit": 1, "region": 2, "never": 3}},
            [("/project_variables/never", "flow.unused_variable")],
        ),
        (
            {"project_variables": {"limit": 1, "regoin": 2}},
            [("/nodes/0/config/values/at", "expression.unknown_variable")],
        ),
        (
            {"project_variables": {"limit": 1, "region": 2, "a-b": 3}},
            [("/project_variables/a-b", "definition.bad_id")],
        ),
        ({"project_variables": ["limit"]}, [("/project_variables", "definition.wrong_type")]),
    ],
)
def test_mistakes_are_told_before_anything_runs(more: dict[str, Any], wanted: list[tuple[str, str]]) -> None:
    found = [
        (each.pointer.removeprefix("/definition"), each.code)
        for each in problems.check(reading(**more), built_in())
    ]
    assert set(wanted) <= set(found)
    assert bool(found) == bool(wanted)


def test_a_value_in_the_definition_is_no_template(bench: Workbench) -> None:
    assert (
        problems.check(reading(project_variables={"limit": "{{ nonsense.x }", "region": 1}), built_in()) == []
    )
