"""A map that runs gets more items, loses some, or goes on with what has finished; none is done twice and none is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from celeriac import Context, Json, Wait
from engine import operations as op
from engine.withdrawals import Refusal
from tests.builders import document
from tests.builders import node as vertex
from tests.theatre import STAGE, Stage, Theatre
from tests.unit.engine.test_withdrawals import plan_of, withdraw
from tests.workbench import NOW

ERROR = '{"code":"node.cancelled","message":"No."}'


def change(at: Theatre, name: str, *, item: str = "", most: int = 1000, add: Any = (), **more: Any) -> Any:
    """Ask, and send what is ready then."""
    number = plan_of(at, name).segment_of["m"]
    texts = tuple(json.dumps(each) for each in add)
    asked = op.ChangeItems(
        name, number, item, "m", NOW, texts, error=ERROR, most=most, blob_from=32_768, **more
    )
    answer = at.ask(asked)
    if isinstance(answer, op.ItemsChanged):
        at.outlet.send(name, answer.ready)
    return answer


async def rest(at: Theatre) -> None:
    await at.tick(10)
    await at.carry()


def waiting(items: list[Any], kind: str = "waits", **more: Any) -> dict[str, Any]:
    """A map whose items wait for ten seconds and come to themselves."""

    def act(_: Context) -> Any:
        return Wait(NOW + 10_000, STAGE.seen[-1][1])

    STAGE.tell("m@item", act)
    each = {"items": json.dumps(items), **more}
    return document(
        [vertex("m", kind, {"text": "{{ item }}"}, for_each=each)], outputs="{{ nodes.m.output }}"
    )


async def test_items_are_added_while_the_map_runs(at: Theatre, stage: Stage) -> None:
    name = await at.run(waiting([1, 2]))
    assert change(at, name, add=[3, {"x": 4}]).count == 4
    await at.carry()
    await rest(at)
    assert (at.status(name), at.output(name)) == ("succeeded", [1, 2, 3, {"x": 4}])
    assert stage.calls == ["m@item"] * 4


@pytest.mark.parametrize("count", [62, 63, 64, 65, 128])
async def test_items_are_added_at_the_edges_of_slices(at: Theatre, stage: Stage, count: int) -> None:
    name = await at.run(waiting(list(range(count)), concurrency=7))
    assert change(at, name, add=list(range(count, count + 70))).count == count + 70
    await at.carry()
    for _ in range(40):
        at.clock.ms = NOW + 10_000
        at.poller().tick()
        await at.carry()
    assert (at.status(name), at.output(name)) == ("succeeded", list(range(count + 70)))


@pytest.mark.parametrize("added", [1, 3, 40])
async def test_items_are_added_to_a_map_that_does_many_in_one_go(
    at: Theatre, stage: Stage, added: int
) -> None:
    stage.tell("m@item", lambda _: STAGE.seen[-1][1])
    each = {"items": json.dumps(list(range(21))), "concurrency": 3}
    body = document(
        [vertex("m", "pure", {"text": "{{ item }}"}, for_each=each)], outputs="{{ nodes.m.output }}"
    )
    name = at.start(at.push(body))
    held = at.outlet.taken()
    opening = at.executor()
    opening._stopping = True  # so that it goes on with nothing itself
    await opening.perform(held)
    assert len(at.outlet.sent) == 1
    assert change(at, name, add=list(range(21, 21 + added))).count == 21 + added
    await at.carry()
    assert (at.status(name), at.output(name)) == ("succeeded", list(range(21 + added)))


async def test_added_items_are_batched_as_the_others_are(at: Theatre, stage: Stage) -> None:
    name = await at.run(waiting([1, 2, 3], batch=2))
    assert change(at, name, add=[4, 5, 6]).count == 4
    await at.carry()
    await rest(at)
    assert at.output(name) == [[1, 2], [3], [4, 5], [6]]


async def test_a_map_goes_on_with_what_has_finished(at: Theatre, stage: Stage) -> None:
    stage.tell("m@item", 1, Wait(NOW + 10_000))
    body = document(
        [vertex("m", "waits", for_each={"items": "[1, 2, 3, 4]", "concurrency": 2})],
        outputs="{{ nodes.m.output }}",
    )
    name = await at.run(body)
    assert change(at, name, complete=True).count == 4
    await at.carry()
    assert (at.status(name), at.output(name)) == ("succeeded", [1])
    assert {status for _, status in at.query("SELECT item, status FROM segment WHERE item <> ''")} <= {
        "done",
        "cancelled",
    }
    assert at.query("SELECT open FROM execution") == [(0,)]
    assert change(at, name, complete=True) is Refusal.ENDED


async def test_items_are_cancelled_whether_they_have_begun_or_not(at: Theatre, stage: Stage) -> None:
    name = await at.run(waiting([0, 1, 2, 3, 4], concurrency=2, on_item_error="null"))
    answer = change(at, name, cancel=(1, 3))
    assert answer.cancelled == (1, 3)
    await at.carry()
    for _ in range(5):
        await rest(at)
    assert (at.status(name), at.output(name)) == ("succeeded", [0, None, 2, None, 4])
    assert stage.calls == ["m@item"] * 4


async def test_cancelling_more_than_is_tolerated_fails_the_map(at: Theatre, stage: Stage) -> None:
    name = await at.run(waiting([0, 1, 2], concurrency=2))
    change(at, name, cancel=(2,))
    await at.carry()
    assert (at.status(name), at.error(name)["code"]) == ("failed", "node.cancelled")
    assert at.query("SELECT open FROM execution") == [(0,)]


async def test_every_item_that_is_left_may_be_cancelled(at: Theatre, stage: Stage) -> None:
    name = await at.run(waiting([0, 1, 2], concurrency=1, on_item_error="partition"))
    change(at, name, cancel=(0, 1, 2))
    await at.carry()
    output: Json = at.output(name)
    assert isinstance(output, dict)
    assert (output["succeeded"], len(output["failed"])) == ([], 3)  # type: ignore[arg-type]


async def test_what_has_ended_is_not_cancelled(at: Theatre, stage: Stage) -> None:
    stage.tell("m@item", 1, Wait(NOW + 10_000, 2))
    name = await at.run(
        document([vertex("m", "waits", for_each={"items": "[1, 2]"})], outputs="{{ nodes.m.output }}")
    )
    assert change(at, name, cancel=(0,)).cancelled == ()
    await at.carry()
    await rest(at)
    assert at.output(name) == [1, 2]


async def test_who_looks_at_a_map_that_is_changed_has_no_word_any_more(at: Theatre, stage: Stage) -> None:
    name = await at.run(waiting([1]))
    at.clock.move(10)
    at.poller().tick()
    executor = at.executor()
    executor._stopping = True  # so that it goes on with nothing itself
    number = plan_of(at, name).segment_of["m"]
    while at.segment(name, number, "status") == ("waiting",):
        await executor.perform(at.outlet.taken())
    assert at.segment(name, number, "status") == ("ready",)
    seen = at.segment(name, number, "epoch")[0]
    assert change(at, name, add=[2]).count == 2
    assert at.ask(op.Settle(name, number, "", seen, pure=True, now=NOW, taken=())) is None
    await at.carry()
    await rest(at)
    assert (at.status(name), at.output(name)) == ("succeeded", [1, 2])


@pytest.mark.parametrize(
    ("more", "refusal"),
    [
        ({"add": [1], "most": 2}, Refusal.TOO_MANY),
        ({"cancel": (2,)}, Refusal.NO_ITEM),
        ({"cancel": (-1,)}, Refusal.NO_ITEM),
        ({"item": "3", "complete": True}, Refusal.NO_MAP),
    ],
)
async def test_a_change_that_cannot_be_made_is_refused(
    at: Theatre, stage: Stage, more: Any, refusal: Refusal
) -> None:
    name = await at.run(waiting([1, 2]))
    assert change(at, name, **more) is refusal


async def test_only_a_map_that_runs_is_changed(at: Theatre, stage: Stage) -> None:
    name = at.start(at.push(waiting([1, 2])))
    assert change(at, name, add=[1]) is Refusal.NO_MAP
    await at.carry()
    withdraw(at, name, "m")
    assert change(at, name, add=[1]) is Refusal.NO_MAP
    chunked = document([vertex("m", "pure", for_each={"items": "[1, 2]"})])
    other = at.start(at.push(chunked))
    executor = at.executor()
    executor._stopping = True
    await executor.perform([(other, 0, "")])
    assert change(at, other, cancel=(0,)) is Refusal.IN_CHUNK
