"""Instances of a map that succeeded in the base of a fork are not done again, as long as their items are the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac import Context, Fail, Json
from engine import operations as op
from engine import takeovers
from engine.plan import Region
from engine.settings import Limits
from engine.takeovers import Kept, take_over
from tests.builders import document, edges
from tests.builders import node as vertex
from tests.theatre import STAGE, Stage, Theatre
from tests.unit.engine.test_bases import fork, prepared, words

REGION = Region(1, "body", "m", "m", 0, 1, 1, 2, chunked=True)


def fails_on(*bad: Any) -> None:
    """Let each item come to itself, and some fail."""

    def act(_: Context) -> Any:
        item = STAGE.seen[-1][1]
        if item in bad:
            raise Fail("x.broken", "It broke.")
        return item

    STAGE.tell("m@item", act)


def mapping(kind: str, items: Any = "{{ list }}", **more: Any) -> dict[str, Any]:
    each = {"items": items, **more}
    return document(
        [
            vertex("first", "pure"),
            vertex("m", kind, {"text": "{{ item }}"}, for_each=each),
            vertex("z", "pure"),
        ],
        edges("first->m->z"),
        outputs="{{ nodes.m.output }}",
    )


def seen() -> list[Any]:
    return [text for name, text in STAGE.seen if name == "m@item"]


@pytest.mark.parametrize("kind", ["keyed", "pure"])
async def test_only_the_items_that_failed_are_done_again(at: Theatre, stage: Stage, kind: str) -> None:
    fails_on(3, 70)
    name = await at.run(mapping(kind, "list", tolerate={"count": 1}), {"list": list(range(130))})
    assert at.status(name) == "failed"
    done = len(seen())
    assert words(prepared(at, name, failure=True)) == {"first": "kept", "m": "again", "z": "again"}
    fails_on()
    made = await fork(at, name, failure=True)
    assert (at.status(made), at.output(made)) == ("succeeded", list(range(130)))
    assert {3, 70} <= set(seen())
    assert len(seen()) == 130 - (done - 2) if kind == "keyed" else len(seen()) < 70


@pytest.mark.parametrize("kind", ["keyed", "pure"])
async def test_a_fork_of_a_fork_keeps_what_both_have_done(at: Theatre, stage: Stage, kind: str) -> None:
    fails_on(3, 7)
    name = await at.run(mapping(kind, "list", tolerate={"count": 1}), {"list": list(range(10))})
    assert at.status(name) == "failed"
    first_run = set(seen())
    fails_on(7)
    second = await fork(at, name, failure=True)
    assert (at.status(second), {3, 7} <= set(seen())) == ("succeeded", True)
    if kind == "keyed":  # one that is done with others may have been told to stop, and then has said nothing
        assert set(seen()) == {3, 7} | (set(range(10)) - first_run)
    third = await fork(at, second, "z")
    assert seen() == []
    assert at.output(third) == at.output(second)


async def test_an_item_that_is_another_is_done_and_nothing_of_the_old_one_stays(
    at: Theatre, stage: Stage
) -> None:
    fails_on("bad")
    body = mapping("keyed", "nodes.first.output.items")
    stage.tell("first", {"items": [1, True, "x", "bad"]})
    name = await at.run(body)
    assert at.status(name) == "failed"
    changed = json.loads(json.dumps(body).replace("nodes.first.output.items", "[1, 1, 'x', 4, 5]"))
    at.push(changed)
    fails_on()
    made = await fork(at, name, failure=True, version="latest")
    assert (at.status(made), at.output(made)) == ("succeeded", [1, 1, "x", 4, 5])
    assert sorted(map(str, seen())) == ["1", "4", "5"]


async def test_fewer_items_than_before_leave_none_of_the_others_behind(at: Theatre, stage: Stage) -> None:
    fails_on("bad")
    body = mapping("keyed", "['bad', 2, 3]", tolerate={"count": 0}, concurrency=3)
    stage.tell("z", Fail("x.broken", "It broke."))
    at.push(body)
    name = await at.run(json.loads(json.dumps(body).replace('"count": 0', '"count": 3')))
    assert at.status(name) == "failed"
    stage.tell("z", 1)
    fails_on()
    at.push(json.loads(json.dumps(body).replace("['bad', 2, 3]", "['bad', 2]")))
    made = await fork(at, name, failure=True, version="latest")
    assert (at.status(made), at.output(made)) == ("succeeded", ["bad", 2])


async def test_a_map_that_is_named_is_done_again_as_a_whole(at: Theatre, stage: Stage) -> None:
    fails_on(2)
    name = await at.run(mapping("keyed", "[1, 2, 3]"))
    fails_on()
    made = await fork(at, name, "m")
    assert (at.status(made), sorted(seen())) == ("succeeded", [1, 2, 3])


async def test_another_body_keeps_no_item(at: Theatre, stage: Stage) -> None:
    fails_on(2)
    body = mapping("keyed", "[1, 2, 3]")
    name = await at.run(body)
    fails_on()
    at.push(json.loads(json.dumps(body).replace('"keyed"', '"read"')))
    made = await fork(at, name, failure=True, version="latest")
    assert (at.status(made), sorted(seen())) == ("succeeded", [1, 2, 3])


async def test_a_body_that_reads_what_is_done_again_keeps_no_item(at: Theatre, stage: Stage) -> None:
    fails_on(2)
    name = await at.run(mapping("keyed", "[1, 2, 3]"))
    fails_on()
    made = await fork(at, name, "first")
    assert (at.status(made), sorted(seen())) == ("succeeded", [1, 2, 3])


async def test_a_map_all_of_whose_items_are_there_is_over_at_once(at: Theatre, stage: Stage) -> None:
    fails_on()
    stage.tell("z", Fail("x.broken", "It broke."))
    body = mapping("keyed", "[1, 2, 3]")
    name = await at.run(body)
    at.push(json.loads(json.dumps(body).replace('"[1, 2, 3]"', '"[1, 2, 1 + 2]"')))
    stage.tell("z", 1)
    made = await fork(at, name, failure=True, version="latest")
    assert (at.status(made), at.output(made), seen()) == ("succeeded", [1, 2, 3], [])


# Purely


def test_runs_end_where_an_item_differs_or_failed() -> None:
    items: dict[int, Json] = dict(enumerate("abcdefg"))
    values: list[Json] = ["a", "b", "X", "d", "e", "f"]
    kept = [
        Kept(0, op.Payload(), list("ABCDE"), frozenset({3})),
        Kept(5, op.Payload('"F"')),
        Kept(6, op.Payload('"G"')),
    ]
    found = take_over(REGION, values, items, kept, 1, Limits())
    assert found.ranges == [[0, 1], [4, 5]]
    assert [(each.item, each.status, each.output.text) for each in found.entries] == [
        ("0", "chunk", '["A","B"]'),
        ("4", "chunk", '["E"]'),
        ("5", "succeeded", '"F"'),
    ]


def test_at_most_so_many_ranges_are_kept() -> None:
    many = 3 * takeovers.MOST_RANGES
    items: dict[int, Json] = {each: each for each in range(many)}
    kept = [Kept(each, op.Payload("1")) for each in range(0, many, 2)]
    found = take_over(REGION, list(range(many)), items, kept, 1, Limits())
    assert len(found.ranges) == takeovers.MOST_RANGES


@given(st.lists(st.sampled_from([1, 1.0, True, "1", None]), max_size=8), st.data())
def test_what_is_taken_over_is_equal_to_the_letter(before: list[Any], data: st.DataObject) -> None:
    after = data.draw(st.lists(st.sampled_from([1, 1.0, True, "1", None]), max_size=8))
    kept = [Kept(index, op.Payload(json.dumps(index))) for index in range(len(before))]
    found = take_over(REGION, after, dict(enumerate(before)), kept, 1, Limits())
    same = [
        index
        for index in range(min(len(before), len(after)))
        if json.dumps(before[index]) == json.dumps(after[index])
    ]
    assert [int(each.item or "") for each in found.entries] == same
    assert [index for first, last in found.ranges for index in range(first, last + 1)] == same
