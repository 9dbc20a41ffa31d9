"""Forks, withdrawals and the items of maps on both real databases: the same stories, and who wins when two ask at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from celeriac import Fail, Wait
from engine import admission, bases, queries
from engine import operations as op
from engine.ledger import Ledger
from engine.settings import Settings
from engine.store.database import open_database
from engine.transitions import Rules
from engine.withdrawals import Refusal, place
from tests.builders import document, edges
from tests.builders import node as vertex
from tests.theatre import STAGE, Theatre, theatre
from tests.workbench import NOW, OWNER


@pytest.fixture
async def at(store: Settings, tmp_path: Path) -> AsyncIterator[Theatre]:
    """The heart on a real database."""
    folder = tmp_path / "unused"
    folder.mkdir()
    made = theatre(folder)
    made.close()
    made.settings, made.database = store, cast("Any", open_database(store))
    made.ledger = Ledger(made.database, made.rules, OWNER, made.clock, pause=made.clock.move)
    made.connection = made.database.connect()
    for each in (STAGE.acts, STAGE.calls, STAGE.seen):
        each.clear()
    yield made
    STAGE.acts.clear()
    made.close()


def prepared(at: Theatre, name: str, *again: str, failure: bool = False, **more: Any) -> bases.Prepared:
    wanted = bases.Wanted(None if failure else again, **more)
    return bases.prepare(at.connection, at.programs.plan, name, wanted, at.clock.now(), at.settings.limits)


async def fork(at: Theatre, name: str, *again: str, **more: Any) -> str:
    """Start a fork and carry it as far as it goes."""
    STAGE.calls.clear()
    found = prepared(at, name, *again, **more)
    asked = admission.Request(found.active, found.payload, base=name, fork=found.start)
    started = at.ask(admission.operation(cast("Any", at), asked))
    at.outlet.sent.extend((queue, (started.execution, number, item)) for number, item, queue in started.ready)
    await at.carry()
    return str(started.execution)


DIAMOND = document(
    [
        vertex("a", "keyed"),
        vertex("p", "pure"),
        vertex("b", "keyed", {"text": "{{ nodes.a.output | length }}"}),
        vertex("c", "keyed"),
        vertex("d", "keyed", {"text": "{{ nodes.p.output.by }}{{ nodes.b.output.by }}"}),
    ],
    edges("a->p->b->d", "p->c->d"),
)


async def test_a_fork_keeps_what_had_ended_well(at: Theatre) -> None:
    STAGE.tell("a", "x" * 40_000)
    STAGE.tell("c", Fail("x.broken", "It broke."), {"by": "c"})
    name = await at.run(DIAMOND)
    made = await fork(at, name, failure=True)
    assert (at.status(made), STAGE.calls) == ("succeeded", ["c", "d"])
    assert STAGE.seen[-1] == ("d", "pb")
    again = await fork(at, made, "b", version="latest", outputs={"c": 7})
    assert (at.status(again), STAGE.calls) == ("succeeded", ["b", "d"])
    assert STAGE.seen[-2] == ("b", 40_000)


async def test_a_fork_of_what_has_been_forgotten_is_refused(at: Theatre) -> None:
    STAGE.tell("c", Fail("x.broken", "It broke."))
    name = await at.run(DIAMOND)
    found = prepared(at, name, failure=True)
    asked = admission.Request(found.active, found.payload, base=name, fork=found.start)
    start = admission.operation(cast("Any", at), asked)
    at.query("DELETE FROM journal WHERE node = 'a' RETURNING node")
    (refused,) = at.step(start)
    assert getattr(refused, "code", None) == "request.not_found"
    assert at.query("SELECT 1 FROM execution WHERE id = ?", start.execution) == []


def withdrawal(at: Theatre, name: str, node: str, item: str = "", **more: Any) -> op.Withdraw:
    plan = at.programs.plan(queries.version_of(at.connection, name), at.connection)
    segment, known = place(plan, node, item)
    return op.Withdraw(name, segment, item, known, at.clock.now(), **more)


async def withdraw(at: Theatre, name: str, node: str, item: str = "", **more: Any) -> None:
    answer = at.ask(withdrawal(at, name, node, item, **more))
    assert not isinstance(answer, Refusal)
    at.outlet.send(name, answer)
    await at.carry()


async def test_a_node_run_is_skipped_with_an_output_or_without(at: Theatre) -> None:
    STAGE.tell("b", Wait(NOW + 10_000))
    body = document(
        [vertex("b", "waits"), vertex("c", "keyed", {"text": "{{ nodes.b.output }}"})], edges("b->c")
    )
    skipped, given = await at.run(body), await at.run(body)
    await withdraw(at, skipped, "b")
    await withdraw(at, given, "b", output=op.Payload("7"))
    assert [at.status(each) for each in (skipped, given)] == ["succeeded", "succeeded"]
    assert (STAGE.calls, STAGE.seen[-1]) == (["b", "b", "c"], ("c", 7))


async def test_a_cancelled_scope_undoes_what_it_did(at: Theatre) -> None:
    STAGE.tell("y", Wait(NOW + 10_000))
    inner = {
        "nodes": [vertex("x", "keyed", compensate={"type": "keyed"}), vertex("y", "waits")],
        "edges": edges("x->y"),
    }
    name = await at.run(document([vertex("s", "scope", body=inner)]))
    await withdraw(at, name, "s", error='{"code":"node.cancelled","message":"No."}')
    assert (at.status(name), len(STAGE.calls)) == ("failed", 3)


async def test_a_skip_and_the_nodes_own_end_from_two_writers_have_one_winner(at: Theatre) -> None:
    at.rules = Rules(at.programs.plan, 500, at.room)
    for number in range(12):
        name = at.start(at.push(document([vertex("a", "keyed")], name=f"race-{number}")))
        claimed = at.ask(op.Claim(name, 0, "", OWNER, NOW, NOW + 15_000))
        entry = op.Entry("a", "succeeded", "keyed", output=op.Payload("1"), started_at=NOW, ended_at=NOW)
        end = op.Settle(
            name,
            0,
            "",
            claimed.epoch,
            False,
            NOW,
            (entry,),
            owner=OWNER,
            lease=15_000,
            output=op.Payload("1"),
        )
        skip = withdrawal(at, name, "a")
        other = Ledger(at.database, at.rules, "other", at.clock, pause=lambda _: None)
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(at.ledger.step, [end])
            second = pool.submit(other.step, [skip])
            (settled,), (withdrawn,) = first.result(), second.result()
        other.close()
        assert (settled is None) != isinstance(withdrawn, Refusal)
        status, open_ = at.query("SELECT status, open FROM execution WHERE id = ?", name)[0]
        assert (status, open_) == (("succeeded", 0) if settled is not None else ("running", 1))
    at.outlet.taken()


async def test_a_map_that_runs_gets_items_and_loses_some(at: Theatre) -> None:
    STAGE.tell("m@item", Wait(NOW + 10_000, "x"))
    each = {"items": "[1, 2, 3]", "concurrency": 2, "on_item_error": "null"}
    name = await at.run(document([vertex("m", "waits", for_each=each)], outputs="{{ nodes.m.output }}"))
    number = at.query("SELECT segment FROM segment WHERE fan IS NOT NULL AND execution_id = ?", name)[0][0]

    def change(**more: Any) -> op.ItemsChanged:
        asked = op.ChangeItems(
            name, number, "", "m", NOW, error='{"code":"x","message":"x"}', most=99, blob_from=40, **more
        )
        changed: op.ItemsChanged = at.ask(asked)
        at.outlet.send(name, changed.ready)
        return changed

    assert change(add=('"a"', '"' + "b" * 60 + '"'), cancel=(0, 2)).cancelled == (0, 2)
    await at.carry()
    for _ in range(4):
        await at.tick(10)
    assert (at.status(name), at.output(name)) == ("succeeded", [None, "x", None, "x", "x"])


async def test_a_map_goes_on_without_the_rest(at: Theatre) -> None:
    STAGE.tell("m@item", 1, Wait(NOW + 10_000))
    each = {"items": "[1, 2, 3]", "concurrency": 2}
    name = await at.run(document([vertex("m", "waits", for_each=each)], outputs="{{ nodes.m.output }}"))
    number = at.query("SELECT segment FROM segment WHERE fan IS NOT NULL AND execution_id = ?", name)[0][0]
    changed = at.ask(op.ChangeItems(name, number, "", "m", NOW, complete=True, most=99))
    at.outlet.send(name, changed.ready)
    await at.carry()
    assert (at.status(name), at.output(name)) == ("succeeded", [1])


@pytest.mark.parametrize("kind", ["keyed", "pure"])
async def test_the_items_of_a_map_that_succeeded_are_kept(at: Theatre, kind: str) -> None:
    bad = {3, 70}

    def act(_: Any) -> Any:
        item = STAGE.seen[-1][1]
        if item in bad:
            raise Fail("x.broken", "It broke.")
        return item

    STAGE.tell("m@item", act)
    each = {"items": "list", "tolerate": {"count": 1}}
    body = document(
        [vertex("m", kind, {"text": "{{ item }}"}, for_each=each)], outputs="{{ nodes.m.output }}"
    )
    name = await at.run(body, {"list": list(range(100))})
    assert at.status(name) == "failed"
    before = len(STAGE.calls)
    bad.clear()
    made = await fork(at, name, failure=True)
    assert (at.status(made), at.output(made)) == ("succeeded", list(range(100)))
    assert len(STAGE.calls) < 100 if kind == "pure" else len(STAGE.calls) == 100 - (before - 2)
