"""The compile target: what remains compiles alike however it came to remain, and grows with the plan and no faster."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from celery.canvas import Signature
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine import canvas as target
from engine.canvas import join, segment
from engine.plan import Plan
from tests.builders import document, edges, node
from tests.chaos.dags import Case, Taste, cases, orders
from tests.chaos.reference import interpret
from tests.property.test_plan import WITH_EFFECTS, Walk, planned

WITH_REGIONS = Taste(sink="http://sink", nodes=20, regions=0.4, depth=4)


def tree(canvas: Any) -> Iterator[Any]:
    """Every signature in a canvas, itself included."""
    yield canvas
    for name in ("tasks", "header", "body"):
        inner = canvas["kwargs"].get(name) or ()
        for each in [inner] if isinstance(inner, dict) else inner:
            yield from tree(each)


def segments(canvas: Any) -> list[int]:
    """The segments that stand in a canvas, mentions not counted."""
    return [each["show"]["segment"] for each in tree(canvas) if "segment" in each.get("show", {})]


def walked(case: Case, rng: random.Random, limit: int) -> Walk:
    walk = Walk(planned(case.document), case, interpret(case.document, case.payload, case.answers), rng)
    walk.run(limit)
    return walk


def remaining(plan: Plan, done: dict[int, tuple[bool, ...]]) -> str:
    canvas = target.compile(plan, done, execution="exec_x")
    return json.dumps(canvas, sort_keys=True, default=str)


def ladder(steps: int) -> Plan:
    """A diamond behind a diamond: 2^steps ways from end to end."""
    names = [f"{letter}{index}" for index in range(steps) for letter in "abcd"]
    ways = [f"a{i}->b{i}->d{i}" for i in range(steps)] + [f"a{i}->c{i}->d{i}" for i in range(steps)]
    ways += [f"d{i}->a{i + 1}" for i in range(steps - 1)]
    return planned(document([node(each) for each in names], edges(*ways)))


@settings(max_examples=200, deadline=None)
@given(case=cases(WITH_EFFECTS) | cases(WITH_REGIONS))
def test_every_segment_stands_in_the_whole_canvas_once(case: Case) -> None:
    plan = planned(case.document)
    canvas = target.compile(plan)
    assert sorted(segments(canvas)) == [each.id for each in plan.segments]


@settings(max_examples=200, deadline=None)
@given(case=cases(WITH_EFFECTS), rng=orders(), limit=st.integers(1, 20))
def test_the_same_remainder_compiles_alike_whatever_the_order_that_led_to_it(
    case: Case, rng: random.Random, limit: int
) -> None:
    walk = walked(case, rng, limit)
    assume(not walk.ended and walk.done)
    shuffled = list(walk.done.items())
    rng.shuffle(shuffled)
    plan = planned(case.document)
    assert remaining(plan, walk.done) == remaining(Plan.from_json(plan.to_json()), dict(shuffled))


@settings(max_examples=200, deadline=None)
@given(case=cases(WITH_EFFECTS), rng=orders(), limit=st.integers(1, 20))
def test_a_remainder_holds_nothing_that_is_done(case: Case, rng: random.Random, limit: int) -> None:
    walk = walked(case, rng, limit)
    canvas = target.compile(planned(case.document), walk.done)
    if canvas is not None:
        assert not walk.done.keys() & set(segments(canvas))


@settings(max_examples=200, deadline=None)
@given(case=cases(WITH_EFFECTS), rng=orders(), limit=st.integers(0, 20))
def test_a_canvas_survives_json_and_keeps_its_types(case: Case, rng: random.Random, limit: int) -> None:
    canvas = target.compile(planned(case.document), walked(case, rng, limit).done if limit else None)
    if canvas is None:
        return
    text = json.dumps(canvas)
    read = Signature.from_dict(json.loads(text))
    assert isinstance(read, Signature)
    assert read["subtask_type"] == canvas["subtask_type"]
    assert json.loads(json.dumps(read)) == json.loads(text)


@settings(max_examples=200, deadline=None)
@given(case=cases(WITH_EFFECTS), rng=orders(), limit=st.integers(0, 20))
def test_no_canvas_holds_a_stock_chord(case: Case, rng: random.Random, limit: int) -> None:
    canvas = target.compile(planned(case.document), walked(case, rng, limit).done if limit else None)
    if canvas is None:
        return
    for each in tree(canvas):
        assert each.get("subtask_type") in ("celeriac.segment", "celeriac.join", "chain", "group")
        assert each["task"] != "celery.chord" or isinstance(each, join)
        assert isinstance(each, Signature)
        assert isinstance(each, segment) == (each["subtask_type"] == "celeriac.segment")


def test_a_ladder_of_thirty_diamonds_compiles_to_what_stands_in_it() -> None:
    small, large = (len(json.dumps(target.compile(ladder(steps)))) for steps in (15, 30))
    assert large < small * 2.5
    assert sorted(segments(target.compile(ladder(30)))) == [each.id for each in ladder(30).segments]


def test_a_wide_plan_compiles_to_what_stands_in_it() -> None:
    names = [f"n{index}" for index in range(1000)]
    ways = edges(*(f"first->{each}->last" for each in names))
    plan = planned(document([node("first"), *map(node, names), node("last")], ways))
    assert sorted(segments(target.compile(plan))) == [each.id for each in plan.segments]


@settings(max_examples=100, deadline=None)
@given(case=cases(WITH_REGIONS))
def test_a_canvas_with_regions_survives_json_and_holds_no_stock_chord(case: Case) -> None:
    plan = planned(case.document)
    canvas = target.compile(plan, execution="exec_x")
    text = json.dumps(canvas)
    assert json.dumps(Signature.from_dict(json.loads(text))) == text
    kinds = {each.get("subtask_type") for each in tree(canvas)}
    assert kinds <= {"celeriac.segment", "celeriac.join", "chain", "group"}
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert json.dumps(target.compile(again, execution="exec_x")) == text


def test_the_first_segment_of_each_region_names_it() -> None:
    scopes: list[dict[str, Any]] = [
        {"id": f"s{index}", "type": "scope", "body": {"nodes": [node(f"b{index}")], "edges": []}}
        for index in range(50)
    ]
    canvas = target.compile(planned(document(scopes)))
    named = [each["show"]["region"] for each in tree(canvas) if "region" in each.get("show", {})]
    assert sorted(named) == sorted(each["id"] for each in scopes)
