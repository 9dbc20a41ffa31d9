"""`celeriac verify` sees every kind of broken promise, on both databases, and nothing while everything goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from celeriac.cli import app
from engine.store.database import Connection
from engine.verify import verify, violations
from tests.builders import document, edges, node, prepared
from tests.chaos.agree import Place, drawn
from tests.chaos.drafts import Case
from tests.chaos.society import Society
from tests.chaos.town import Town
from tests.chaos.world import SINK, opened, outlive
from tests.servers import Postgres

pytestmark = pytest.mark.timeout(300)

CALL = {
    "method": "POST",
    "url": f"{SINK}/effect?node=call",
    "idempotent": True,
    "body": {"execution": "{{ execution.id }}", "node": "call", "value": 1},
}
CASES = {
    name: Case(
        document([node("call", "http_request", CALL), node("after")], edges("call->after"), name), {}, {}
    )
    for name in ("one", "two")
}
FIRST, SECOND = "(SELECT min(id) FROM execution)", "(SELECT max(id) FROM execution)"
OPEN = f"UPDATE execution SET finished_at = NULL, status = 'running' WHERE id = {FIRST}"
SLOT = """UPDATE execution SET trigger_event = '{"schedule": "sched_1", "scheduled_at": "2031-05-04T09:00:00.000Z"}'"""
SIGNAL = (
    "INSERT INTO signal (execution_id, segment, item, project_id, name, source, event_id, at) "
    "SELECT id, {}, '', project_id, 'x', 'event', 'evt_1', 1 FROM execution WHERE id = " + FIRST
)
HOLD = (
    "INSERT INTO hold (execution_id, segment, item, project_id, key, most, granted, rank, place) "
    "SELECT id, {}, '', project_id, 'k', 1, 1, 0, 0 FROM execution WHERE id = " + FIRST
)
APPROVAL = (
    "INSERT INTO approval (id, project_id, execution_id, segment, item, node, title, shown_hash, approvers, quorum, "
    "rule, status, created_at) SELECT 'apr_1', project_id, id, 0, '', 'n', 't', 'h', '[]', 1, 'any', 'open', 1 "
    "FROM execution WHERE id = " + FIRST
)
AGAIN = (
    "INSERT INTO event (execution_id, project_id, seq, count, epoch, at, body) "
    """SELECT id, project_id, seq + 1, 1, 9, 1, '[["node.succeeded", "after", 1, {}]]' FROM execution WHERE id = """
    + FIRST
)

BROKEN: dict[str, tuple[str, ...]] = {
    "I1 a key that started two": (
        "DROP INDEX execution_key",
        "UPDATE execution SET idempotency_key = 'same'",
    ),
    "I2 nothing moves": (OPEN,),
    "I2 nobody looks": (
        OPEN,
        "UPDATE segment SET status = 'backing_off', due = NULL WHERE execution_id = " + FIRST,
    ),
    "I2 a call that has told": (
        OPEN,
        f"UPDATE execution SET parent_execution = {FIRST}, told = 1 WHERE id = {SECOND}",
        f"UPDATE segment SET status = 'waiting', child = {SECOND} WHERE execution_id = {FIRST}",
    ),
    "I3 more arrivals than edges": ("UPDATE segment SET pending = -1",),
    "I3 two ends of a node": (AGAIN, f"UPDATE execution SET seq = seq + 1 WHERE id = {FIRST}"),
    "I3 a value that is gone": ("UPDATE journal SET blob = 'gone'",),
    "I3 an output that is gone": ("UPDATE execution SET output_blob = 'gone'",),
    "I3 a value that was altered": (
        "INSERT INTO blob (hash, body, size, created_at) VALUES ('0', '1', 1, 1)",
    ),
    "I7 a fence that went back": ("UPDATE segment SET epoch = 0",),
    "I8 an owner of what does not run": ("UPDATE segment SET owner = 'somebody'",),
    "I10 an event that is gone": (f"DELETE FROM event WHERE seq = 1 AND execution_id = {FIRST}",),
    "I10 events that never came": ("UPDATE execution SET seq = seq + 1",),
    "I10 an end that is not told": (f"UPDATE execution SET status = 'failed' WHERE id = {FIRST}",),
    "I10 a history that cannot be read": ("UPDATE event SET body = '['",),
    "I10 an end without a time": (f"UPDATE execution SET finished_at = NULL WHERE id = {FIRST}",),
    "I10 rows of nothing": (f"DELETE FROM execution WHERE id = {FIRST}",),
    "I11 a count that is wrong": (OPEN, f"UPDATE execution SET open = 7 WHERE id = {FIRST}"),
    "I12 a slot that started two": (SLOT,),
    "I14 an event that ended two waits": (SIGNAL.format(0), SIGNAL.format(1)),
    "I14 a question after the end": (APPROVAL,),
    "I16 another definition": (
        "UPDATE workflow_version SET document = replace(document, 'after', 'afterwards')",
    ),
    "I16 a definition that cannot be read": ("UPDATE workflow_version SET document = '{'",),
    "I16 the version of another": (f"UPDATE execution SET version_id = 'ver_0' WHERE id = {FIRST}",),
    "I17 a key that two hold": (OPEN, HOLD.format(0), HOLD.format(1)),
    "I18 a key that is kept": (HOLD.format(-1),),
    "I18 a segment that is left": (f"UPDATE segment SET status = 'waiting' WHERE execution_id = {FIRST}",),
    "I19 the project of another": (f"UPDATE execution SET project_id = 'proj_0' WHERE id = {FIRST}",),
    "I19 an event of another's": ("UPDATE event SET project_id = 'proj_0'",),
}


def migrate(folder: Path, url: str) -> None:
    prepared({"CELERIAC_DATA": str(folder), "DATABASE_URL": url, "BROKER_URL": "memory://"})


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | None]:
    if request.param == "sqlite":
        yield None
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    with postgres.database(postgres.template("verify", lambda url: migrate(tmp_path, url))) as made:
        yield made


@contextmanager
def ended(folder: Path, url: str | None) -> Iterator[Society]:
    """A world in which two executions have come to their ends."""
    with opened(Society(folder, 1, url)) as world:
        for name, case in CASES.items():
            world.accept(case, f"key-{name}")
        assert asyncio.run(outlive(world, 0))
        yield world


def test_every_kind_of_damage_is_seen(tmp_path: Path, url: str | None) -> None:
    (folder := tmp_path / "world").mkdir()
    with ended(folder, url) as world:
        connection = world.database.connect()
        found = verify(connection)
        assert found.sound, found.violations
        assert found.executions == len(CASES)
        unseen = [name for name, damage in BROKEN.items() if name.split()[0] not in seen(connection, damage)]
        assert not unseen
        assert verify(connection).sound
        connection.close()


def seen(connection: Connection, damage: tuple[str, ...]) -> set[str]:
    """Do some damage, look, and undo it."""
    connection.begin()
    try:
        for each in damage:
            connection.run(each)
        found = list(violations(connection))
        assert all(each.place and each.text and each.remedy for each in found)
        return {each.invariant for each in found}
    finally:
        connection.rollback()


class Watched(Town):
    """A town that is looked at while everything goes on and wrong."""

    async def run(self, steps: int) -> None:
        for _ in range(10):
            await super().run(steps // 10)
            self.look()

    async def heal(self) -> bool:
        came = await super().heal()
        self.look()
        return came

    def look(self) -> None:
        connection = self.database.connect()
        found = verify(connection)
        connection.close()
        assert found.sound, found.violations


def test_nothing_is_seen_while_everything_goes_on(tmp_path: Path, url: str | None) -> None:
    place = Place(tmp_path)
    worlds = range(8) if url is None else [0]
    for seed in worlds:
        with opened(Watched(place.folder, seed, url)) as world:
            cast = drawn(seed, 0, 3)
            for each in cast.called.values():
                world.save(each)
            for name, case in cast.cases.items():
                world.accept(case, f"key-{name}")
            assert asyncio.run(outlive(world, 300))
        for path in [each for each in tmp_path.iterdir() if each.is_file()]:
            path.unlink()


def test_the_command_says_what_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder := tmp_path / "world").mkdir()
    with ended(folder, None) as world:
        monkeypatch.setenv("CELERIAC_DATA", str(folder))
        monkeypatch.setenv("DATABASE_URL", world.settings.database_url)
        monkeypatch.setenv("BROKER_URL", "memory://")
        sound = CliRunner().invoke(app, ["verify"])
        assert (sound.exit_code, sound.stdout) == (0, "2 executions keep every promise\n")
        connection = world.database.connect()
        connection.run("UPDATE segment SET pending = -1")
        connection.close()
        broken = CliRunner().invoke(app, ["verify"])
        assert broken.exit_code == 1
        assert "more has arrived at its segment" in broken.stdout
        told = json.loads(CliRunner().invoke(app, ["verify", "--json"]).stdout)
        assert not told["sound"]
        assert told["counts"] == {"I3": len(told["violations"])}
