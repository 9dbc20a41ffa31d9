from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from engine.errors import SchemaMissing, SchemaTooNew
from engine.settings import DEFAULT_PROJECT, Settings
from engine.store import schema
from engine.store.database import SqliteConnection
from engine.store.tables import metadata
from tests.workbench import NOW, Workbench


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[SqliteConnection]:
    made = SqliteConnection(tmp_path / "empty.db")
    yield made
    made.close()


def test_the_newest_migration_is_the_one_that_is_named() -> None:
    names = sorted(path.name for path in (schema._MIGRATIONS / "versions").glob("[0-9]*.py"))
    assert names[-1].partition("_")[0] == schema.HEAD


def test_the_migrations_come_to_the_tables(bench: Workbench) -> None:
    with schema.engine_for(bench.settings).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_migrated_database_is_accepted_and_has_its_project(bench: Workbench) -> None:
    assert schema.revision(bench.connection) == schema.HEAD
    schema.check(bench.connection)
    assert bench.query("SELECT id, name, created_at FROM project") == [(DEFAULT_PROJECT, "default", NOW)]


def test_migrating_again_changes_nothing(bench: Workbench) -> None:
    assert schema.migrate(bench.settings, NOW + 5) == schema.HEAD
    assert bench.query("SELECT created_at FROM project") == [(NOW,)]


def test_a_new_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "celeriac.db"
    schema.migrate(Settings(f"sqlite:///{path}", "", tmp_path), NOW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    connection = SqliteConnection(path)
    assert connection.run("PRAGMA journal_mode") == [("wal",)]
    connection.close()


def test_an_empty_database_is_refused_with_the_remedy(empty: SqliteConnection) -> None:
    with pytest.raises(SchemaMissing) as caught:
        schema.check(empty)
    assert "schema nothing" in caught.value.message
    assert caught.value.hint == "Run: celeriac migrate"


def test_a_database_of_a_newer_version_is_refused(bench: Workbench) -> None:
    bench.connection.run("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaTooNew, match="9999"):
        schema.check(bench.connection)
    with pytest.raises(SchemaTooNew):
        schema.is_at_head(bench.settings)


def test_a_database_of_a_known_older_version_is_to_be_migrated(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "HEAD", "9999")
    with pytest.raises(SchemaMissing, match="needs 9999"):
        schema.check(bench.connection)
    assert not schema.is_at_head(bench.settings)


def test_whether_there_is_something_to_migrate(bench: Workbench, tmp_path: Path) -> None:
    assert schema.is_at_head(bench.settings)
    assert not schema.is_at_head(Settings(f"sqlite:///{tmp_path}/none.db", "", tmp_path))


def test_postgresql_is_asked_in_its_own_words() -> None:
    asked: list[str] = []

    class Server:
        dialect = "postgresql"

        def run(self, sql: str) -> list[Any]:
            asked.append(sql)
            return [("0001",)]

    assert schema.revision(cast("Any", Server())) == "0001"
    assert "to_regclass" in asked[0]


def test_the_driver_of_postgresql_is_named_for_sqlalchemy(tmp_path: Path) -> None:
    engine = schema.engine_for(Settings("postgresql://u@h/n", "", tmp_path))
    assert engine.url.drivername == "postgresql+psycopg"
    engine.dispose()
