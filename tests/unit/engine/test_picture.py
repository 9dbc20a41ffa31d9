from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

from engine import picture
from engine.cutting import build
from engine.definition import Workflow
from engine.plan import Plan
from tests.builders import document, edge, edges, node
from tests.workbench import built_in


def parsed(drawn: str) -> ET.Element:
    return ET.fromstring(drawn)  # noqa: S314  it is what we have drawn


def plan(nodes: list[Any], ways: list[Any], **more: Any) -> Plan:
    return build(Workflow.parse(document(nodes, ways, **more)), built_in())


def boxes(drawn: str) -> dict[str, tuple[float, float, float, float]]:
    found = {}
    for group in parsed(drawn).iter("{http://www.w3.org/2000/svg}g"):
        rect = group.find("{http://www.w3.org/2000/svg}rect")
        assert rect is not None
        x, y, width, height = (float(rect.attrib[each]) for each in ("x", "y", "width", "height"))
        found[group.attrib["id"]] = (x, y, x + width, y + height)
    return found


def test_no_box_lies_on_another_and_each_is_below_those_that_lead_to_it() -> None:
    drawn_plan = plan(
        [node(name) for name in "abcdefg"],
        edges("a->b->e", "a->c->e", "a->d->f->e", "e->g"),
    )
    drawn = picture.svg(drawn_plan)
    assert drawn is not None
    found = boxes(drawn)
    assert len(found) == len(drawn_plan.segments)
    places = [*found.values()]
    for number, (left, top, right, bottom) in enumerate(places):
        for other in places[number + 1 :]:
            apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
            assert apart
    for segment in drawn_plan.segments:
        for exit_ in segment.exits:
            assert found[f"s{segment.id}"][3] < found[f"s{exit_.target}"][1]


def test_what_an_author_writes_is_text_in_it_and_nothing_else() -> None:
    ways = [edge("a", "b", when="{{ x < '<script>' }}"), edge("a", "c", on="error")]
    drawn = picture.svg(plan([node("a"), node("b"), node("c")], ways, name='<script>"&'))
    assert drawn is not None
    assert "<script" not in drawn
    assert not re.search(r"\b(on\w+|style|href)=", drawn)
    texts = [each.text for each in parsed(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert {"b: noop", "when", "error"} <= {str(each) for each in texts}


def test_circles_and_bodies_are_drawn_too() -> None:
    body = {"nodes": [node("inside")]}
    nodes = [node("a"), {"id": "s", "type": "scope", "body": body}, node("b")]
    drawn_plan = plan(nodes, edges("a->s->b"))
    drawn = picture.svg(drawn_plan)
    assert drawn is not None
    assert len(boxes(drawn)) == len(drawn_plan.segments)
    assert "stroke-dasharray" in drawn
    assert 'subgraph r1["s"]' in picture.mermaid(drawn_plan)
    circle = {0: [2], 1: [0], 2: [1]}
    assert sorted(picture._layers(circle).values()) == [0, 1, 2]


def test_a_plan_at_the_limit_is_drawn_and_one_past_it_is_told_only() -> None:
    for count, shown in ((picture.LARGEST, True), (picture.LARGEST + 1, False)):
        # the root, the branches, and what they lead to
        branches = [node(f"n{number}") for number in range(count - 2)]
        ways = [edge("trigger", each["id"]) for each in branches]
        wide = plan([*branches], ways)
        assert len(wide.segments) == count
        assert (picture.svg(wide) is not None) == shown
        assert picture.mermaid(wide).startswith("flowchart TD\n")
