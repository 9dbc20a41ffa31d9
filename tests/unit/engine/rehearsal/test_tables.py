from pathlib import Path

from engine.rehearsal import tables
from engine.store.database import SqliteConnection


def test_the_committed_text_is_what_the_migrations_come_to() -> None:
    """After a migration: python -m engine.rehearsal.tables."""
    assert tables.TEXT.read_text(encoding="utf-8") == tables.written()


def test_a_database_is_made_of_it(tmp_path: Path) -> None:
    connection = tables.make(tmp_path / "a.db").connect()
    assert isinstance(connection, SqliteConnection)
    assert connection.run("SELECT id FROM project") == [("proj_default",)]
    assert connection.run("PRAGMA synchronous") == [(0,)]
    connection.close()
