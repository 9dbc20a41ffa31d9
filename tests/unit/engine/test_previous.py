"""A field that is left out is what the node before came to: decided when a version is cut, and written in its plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, JsonValue

from celeriac import Context, Json, node
from celeriac.contract import PREVIOUS
from engine.cutting import build
from engine.definition import Workflow
from engine.registry import Registry
from nodes import NODE_TYPES
from tests.builders import document, edges
from tests.builders import node as vertex
from tests.workbench import Workbench


class Config(BaseModel):
    """What to say."""

    text: JsonValue = Field(None, json_schema_extra={PREVIOUS: True})


@node("say", output={})
def say(config: Config, _: Context) -> Json:
    """Say it."""
    return config.text


REGISTRY = Registry([*NODE_TYPES, say])
A, B = vertex("a", "set", {"values": {"x": 1}}), vertex("b", "set", {"values": {"x": 2}})


def scope(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "s", "type": "scope", "body": {"nodes": list(nodes), "edges": []}, **more}


def text_of(nodes: list[dict[str, Any]], ways: list[dict[str, Any]]) -> object:
    plan = build(Workflow.parse(document(nodes, ways)), REGISTRY)
    (found,) = (each for segment in plan.segments for each in segment.nodes if each.type.startswith("say@"))
    return found.config.get("text", "nothing")


@pytest.mark.parametrize(
    ("nodes", "ways", "expected"),
    [
        ([A, vertex("c", "say")], "a->c", "{{ nodes.a.output }}"),
        ([vertex("c", "say")], "", "{{ trigger.payload }}"),
        ([A, B, vertex("c", "say")], "a->c b->c", "nothing"),
        ([A, vertex("c", "say", {"text": "mine"})], "a->c", "mine"),
        ([A, vertex("c", "say", {"text": None})], "a->c", None),
        ([vertex("c", "say", for_each={"items": "{{ xs }}"})], "", "{{ item }}"),
        ([scope(vertex("c", "say"), for_each={"items": "{{ xs }}"})], "", "{{ item }}"),
        ([scope(vertex("c", "say"))], "", "nothing"),
    ],
)
def test_what_comes_before_is_filled_in(nodes: list[dict[str, Any]], ways: str, expected: object) -> None:
    pairs = [edges(each)[0] for each in ways.split()]
    assert text_of(nodes, pairs) == expected


async def test_it_is_read_when_it_runs(tmp_path: Path) -> None:
    bench = Workbench(tmp_path, registry=REGISTRY)
    active = bench.push(
        document([A, vertex("c", "say")], edges("a->c"), outputs={"said": "{{ nodes.c.output }}"})
    )
    execution = bench.start(active)
    await bench.carry()
    assert bench.output(execution) == {"said": {"x": 1}}
    bench.close()
