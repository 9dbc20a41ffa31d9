from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from celeriac import Effect
from engine.checking import problems
from engine.cutting import build
from engine.definition import SCHEMA_ID, Workflow
from engine.plan import Plan
from engine.registry import Registry

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.stem for path in (EXAMPLES / "expected").glob("*.json"))
REGISTRY = Registry.load(["nodes"])


def document(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    return found


def plan(name: str) -> Plan:
    return build(Workflow.parse(document(name)), REGISTRY)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_has_no_problem_and_names_its_schema(name: str) -> None:
    text = (EXAMPLES / f"{name}.json").read_bytes()
    assert problems.check_text(text, REGISTRY) == (document(name), [])
    assert document(name)["$schema"] == SCHEMA_ID


@pytest.mark.parametrize("folder", ["inputs", "expected"])
def test_each_example_has_an_input_and_an_expectation_and_there_are_no_others(folder: str) -> None:
    assert sorted(path.stem for path in (EXAMPLES / folder).glob("*.json")) == NAMES


def test_every_example_is_introduced_on_the_page_about_them() -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"[`{name}`]({name}.json)" not in page] == []


def test_every_example_for_an_office_is_introduced_with_what_it_says_of_itself() -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in sorted((EXAMPLES / "office").glob("*.json")):
        described = json.loads(path.read_text(encoding="utf-8"))["description"]
        assert f"| [`{path.stem}`](office/{path.name}) | {described} |" in page


def test_what_is_generated_is_what_is_committed() -> None:
    spec = importlib.util.spec_from_file_location("generate", EXAMPLES / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    files: dict[str, str] = generate.files()
    assert {name: (EXAMPLES / name).read_text(encoding="utf-8") for name in files} == files


def test_the_examples_have_the_shapes_they_are_named_after() -> None:
    counts = {name: len(document(name)["definition"]["nodes"]) for name in ("wide", "thousand")}
    assert counts == {"wide": 202, "thousand": 1000}
    assert len(plan("chain").segments) == 1
    assert max(len(each.exits) for each in plan("wide").segments) == 200
    edges = {(each["from"], each["to"]) for each in document("cross")["definition"]["edges"]}
    assert edges == {("count", "bake"), ("count", "buy"), ("orders", "buy")}
    nodes = [node for segment in plan("retry").segments for node in segment.nodes]
    assert [node.effect for node in nodes if node.retry.max_attempts > 1] == [Effect.KEYED]
