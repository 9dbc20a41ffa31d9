"""The pages about nodes, connections and declarations: every type is there, and every example is what it says it is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from celeriac import ConnectionType, Effect, NodeType
from engine.checking import problems
from engine.declared.loading import type_of
from engine.registry import Registry

DOCS = Path(__file__).parents[2] / "docs"
REGISTRY = Registry.load(["nodes", "nodes.code"])
ELSEWHERE = {each.name for each in REGISTRY if each.run.__module__.startswith(("nodes.flow.", "nodes.ai."))}
PAGE = (DOCS / "integrations.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
DECLARATIONS = re.findall(
    r"^```json\n(.*?)^```$", (DOCS / "declarations.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)


def test_every_node_type_has_a_section_and_every_section_a_node_type() -> None:
    assert set(SECTIONS) == set(REGISTRY.names()) - ELSEWHERE


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_the_example_of_a_section_is_a_good_node_of_its_type(name: str) -> None:
    examples = re.findall(r"^```json\n(.*?)^```$", SECTIONS[name], re.MULTILINE | re.DOTALL)
    assert examples
    for text in examples:
        written: dict[str, Any] = json.loads(text)
        nodes = [written]
        needed = re.findall(r"nodes\.(\w+)\.", text)
        nodes += [{"id": each, "type": "noop"} for each in dict.fromkeys(needed)]
        edges = [{"from": each, "to": written["id"]} for each in dict.fromkeys(needed)]
        document: Any = {"name": "w", "definition": {"nodes": nodes, "edges": edges}}
        assert written["type"] == name
        assert [each.message for each in problems.check(document, REGISTRY)] == []


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_a_section_says_what_the_effect_is_and_which_connection_it_takes(name: str) -> None:
    node_type = REGISTRY.get(name)
    if isinstance(node_type.effect, Effect) and node_type.effect is not Effect.NONE:
        assert f"`{node_type.effect}`" in SECTIONS[name]
    if "connection" in node_type.config_schema().get("required", []):
        assert "Connection:" in SECTIONS[name]


def test_every_kind_of_connection_is_in_the_table_with_its_fields() -> None:
    page = (DOCS / "connections.md").read_text(encoding="utf-8")
    rows = [row.split(" | ") for row in re.findall(r"^\| (`.*) \|$", page, re.MULTILINE)]
    told = {
        kind: set(re.findall(r"`(\w+)`", fields))
        for kinds, _, fields in rows
        for kind in re.findall(r"`(\w+)`", kinds)
    }
    assert told == {
        each.name: set(each.schema()["properties"])  # type: ignore[arg-type]  # an object
        for each in REGISTRY.connections.values()
    }


@pytest.mark.parametrize("text", DECLARATIONS)
def test_a_declaration_on_the_page_is_one(text: str) -> None:
    assert isinstance(type_of(json.loads(text), "declarations.md"), NodeType | ConnectionType)
