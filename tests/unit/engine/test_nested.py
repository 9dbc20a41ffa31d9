"""Where definitions are written inside calls, and what they are called."""

from __future__ import annotations

from typing import Any

from engine import nested
from engine.definition import Workflow
from tests.builders import document, node

INSIDE = {"nodes": [node("x")]}


def call(name: str, **more: Any) -> dict[str, Any]:
    return node(name, "workflow", {"definition": INSIDE}, **more)


def test_every_definition_inside_a_workflow_has_a_name_of_its_own() -> None:
    scope = {
        "id": "scope",
        "type": "scope",
        "body": {"nodes": [call("inner")]},
        "catch": [{"body": {"nodes": [call("caught")]}}],
        "finally": {"nodes": [call("last")]},
    }
    undone = node("done", compensate={"type": "workflow@1", "config": {"definition": INSIDE}})
    body = document([call("one"), scope, undone, node("plain", "workflow", {"workflow": "other"})])
    found = dict(nested.definitions(Workflow.parse(body)))
    assert list(found) == ["@one", "@inner", "@caught", "@last", "@done@undo"]
    assert all(each == INSIDE for each in found.values())


def test_a_call_refers_to_its_definition_by_name() -> None:
    one, other = Workflow.parse(document([call("one"), node("other", "workflow", {"workflow": "x"})])).nodes
    assert nested.named(one) == {"workflow": "@one"}
    assert nested.named(other) == {"workflow": "x"}


def test_only_calls_have_definitions() -> None:
    config = {"definition": INSIDE}
    assert nested.written_in("workflow@1", config) == INSIDE
    for kind, given in (("set", config), ("workflow", {"definition": 7}), ("workflow", 7), (None, config)):
        assert nested.written_in(kind, given) is None
    assert nested.without("workflow", config) == {"definition": {}}
    assert nested.without("set", config) is config
