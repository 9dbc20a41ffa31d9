"""The parts of a process, put together and taken apart again, with Celery's in-memory broker."""

from __future__ import annotations

import dataclasses
import threading
import uuid
from pathlib import Path
from typing import Any, cast

import pytest

from engine import identity, runtime
from engine.admission import Request, accept
from engine.errors import SchemaMissing, Unavailable
from engine.settings import Settings, Timing
from engine.store.database import SqliteConnection
from tests.builders import document, node
from tests.workbench import Workbench, built_in

TIMING = Timing(poll=5, canary=5, grace=10)


def settings(bench: Workbench) -> Settings:
    return dataclasses.replace(bench.settings, timing=TIMING)


def names(without: set[threading.Thread] | None = None) -> set[str]:
    """The kinds of threads there are; other tests may have left some, which are not meant."""
    return {each.name.partition("_")[0] for each in set(threading.enumerate()) - (without or set())}


async def test_what_is_accepted_is_in_the_database_and_in_the_broker(bench: Workbench) -> None:
    queue = f"q{uuid.uuid4().hex}"
    active = bench.push(document([node("a")], queue=queue))
    made = runtime.assemble(settings(bench), poll=False, registry=built_in())
    try:
        assert made.owner == identity.owner()
        accepted = await accept(made, Request(active, {"k": 1}))
        assert bench.status(accepted.execution) == "created"
        found = await made.reader.read(lambda connection: connection.run("SELECT id FROM execution"))
        assert found == [(accepted.execution,)]
    finally:
        made.close()
    with made.app.connection_for_read() as connection:
        message = cast("Any", connection.default_channel).basic_get(queue, no_ack=True)
    assert message is not None
    assert message.decode()[0] == [[[accepted.execution, 0, ""]]]


def test_a_poller_comes_with_it_unless_it_is_not_wanted(bench: Workbench) -> None:
    before = set(threading.enumerate())
    made = runtime.assemble(settings(bench), registry=built_in())
    assert made.poller is not None
    assert {"ledger", "dispatcher", "poller"} <= names(before)
    made.close()
    assert not {"ledger", "dispatcher", "poller", "reader"} & names(before)


def test_after_the_end_nothing_is_taken(bench: Workbench) -> None:
    made = runtime.assemble(settings(bench), poll=False)
    made.close()
    with pytest.raises(Unavailable):
        made.ledger.ask(lambda connection: connection.run("SELECT 1"))


def test_a_database_that_was_not_migrated_is_refused_and_nothing_is_started(tmp_path: Path) -> None:
    before = names()
    with pytest.raises(SchemaMissing):
        runtime.assemble(Settings(f"sqlite:///{tmp_path}/x.db", "memory://", tmp_path))
    assert names() == before


def test_the_clock_goes_by_the_databases(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    class Server(SqliteConnection):
        """A database on another machine, whose clock is an hour ahead."""

        def now(self) -> int:
            return super().now() + 3_600_000

    class Elsewhere:
        dialect = "sqlite"

        def connect(self) -> Any:
            return Server(bench.database.path)

    monkeypatch.setattr(runtime, "open_database", lambda _: Elsewhere())
    elsewhere = dataclasses.replace(settings(bench), database_url="postgresql://elsewhere/x")
    made = runtime.assemble(elsewhere, poll=False)
    made.close()
    assert abs(made.clock.now() - bench.connection.now() - 3_600_000) < 5_000
