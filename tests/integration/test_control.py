"""Forks, withdrawals and the items of maps on both real databases: the same stories, and who wins when two ask at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from celeriac import Fail
from engine import admission, bases
from engine.ledger import Ledger
from engine.settings import Settings
from engine.store.database import open_database
from tests.builders import document, edges
from tests.builders import node as vertex
from tests.unit.engine.test_execute import STAGE, Theatre, theatre
from tests.workbench import OWNER


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
