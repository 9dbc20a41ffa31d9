from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from engine.errors import Misconfigured
from engine.settings import Settings
from engine.store.database import (
    PostgresConnection,
    PostgresDatabase,
    SqliteConnection,
    SqliteDatabase,
    open_database,
)
from engine.store.sql import Batched, Insert, columns

COLUMNS = columns("name count", count="bigint")
ADD = Insert("t", COLUMNS, "ON CONFLICT (name) DO NOTHING")
RAISE = Batched(
    "UPDATE t SET count = t.count + r.count FROM {rows} WHERE t.name = r.name RETURNING t.name, t.count",
    COLUMNS,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "file.db"
    connection = SqliteConnection(made)
    connection.run("CREATE TABLE t (name TEXT PRIMARY KEY, count INTEGER)")
    connection.close()
    return made


@pytest.fixture
def connection(path: Path) -> Any:
    made = SqliteDatabase(path).connect()
    yield made
    made.close()


def test_the_settings_choose_the_database(tmp_path: Path) -> None:
    sqlite = open_database(Settings(f"sqlite:///{tmp_path}/x.db", "", tmp_path))
    assert isinstance(sqlite, SqliteDatabase)
    assert sqlite.path == tmp_path / "x.db"
    postgres = open_database(Settings("postgresql://h/n", "", tmp_path))
    assert isinstance(postgres, PostgresDatabase)
    assert postgres.url == "postgresql://h/n"


def test_an_old_sqlite_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 37, 9))
    with pytest.raises(Misconfigured, match=r"3\.38 or newer"):
        SqliteDatabase(tmp_path / "x.db")


def test_a_file_survives_the_power_failing(connection: SqliteConnection) -> None:
    assert connection.run("PRAGMA journal_mode") == [("wal",)]
    assert connection.run("PRAGMA synchronous") == [(2,)]


def test_a_batch_is_one_statement_and_an_empty_one_none(connection: SqliteConnection) -> None:
    connection.insert(ADD, [("a", 1), ("b", 2), ("a", 9)])
    assert sorted(connection.batch(RAISE, [("a", 10), ("b", 10), ("c", 10)])) == [("a", 11), ("b", 12)]
    assert connection.batch(RAISE, []) == []
    connection.insert(ADD, [])
    assert connection.run("SELECT count FROM t WHERE name = ?", ("a",)) == [(11,)]


def test_what_is_rolled_back_never_was(connection: SqliteConnection) -> None:
    connection.begin()
    connection.insert(ADD, [("a", 1)])
    connection.rollback()
    connection.rollback()
    assert connection.run("SELECT * FROM t") == []


def test_writers_wait_in_line_for_one_another(path: Path, connection: SqliteConnection) -> None:
    connection.begin()
    connection.insert(ADD, [("first", 1)])
    other = SqliteDatabase(path).connect()
    begun = threading.Event()
    seen: list[Any] = []

    def write() -> None:
        begun.set()
        other.begin()
        seen.extend(other.run("SELECT name FROM t"))
        other.commit()

    thread = threading.Thread(target=write)
    thread.start()
    assert begun.wait(5)
    assert seen == []
    connection.commit()
    thread.join(5)
    assert seen == [("first",)]
    other.close()


def test_a_writer_that_could_not_begin_holds_no_one_up(path: Path, connection: SqliteConnection) -> None:
    connection.begin()
    with pytest.raises(sqlite3.OperationalError, match="within a transaction"):
        connection.begin()
    other = SqliteDatabase(path).connect()
    connection.rollback()
    other.begin()
    other.rollback()
    other.close()


def test_the_time_of_a_file_is_the_machines(connection: SqliteConnection) -> None:
    assert abs(connection.now() - time.time() * 1000) < 5_000


def test_a_copy_is_whole(tmp_path: Path, connection: SqliteConnection) -> None:
    connection.insert(ADD, [("a", 1)])
    connection.backup(tmp_path / "copy.db")
    copy = SqliteDatabase(tmp_path / "copy.db").connect()
    assert copy.run("SELECT * FROM t") == [("a", 1)]
    copy.close()


class Cursor:
    """A cursor that keeps what it is given."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.description: Any = None
        self.rows: list[Any] = []
        self.error: Exception | None = None

    def execute(self, text: str, parameters: Any = None) -> None:
        self.done.append((text, parameters))
        if self.error is not None:
            raise self.error

    def fetchall(self) -> list[Any]:
        return self.rows


class Raw:
    """A connection of the driver."""

    def __init__(self) -> None:
        self.made = Cursor()
        self.closed = False

    def cursor(self) -> Cursor:
        return self.made

    def pipeline(self) -> nullcontext[Raw]:
        return nullcontext(self)

    def sync(self) -> None:
        self.made.done.append(("sync", None))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def raw() -> Raw:
    return Raw()


@pytest.fixture
def postgres(raw: Raw) -> PostgresConnection:
    return PostgresConnection(cast("Any", raw))


def test_a_statement_is_written_in_the_drivers_marks(postgres: PostgresConnection, raw: Raw) -> None:
    for _ in range(2):
        assert postgres.run("SELECT x % 2 WHERE a = ?", (1,)) == []
    assert raw.made.done == [("SELECT x %% 2 WHERE a = %s", (1,))] * 2


def test_a_batch_goes_to_the_server_as_arrays(postgres: PostgresConnection, raw: Raw) -> None:
    raw.made.description, raw.made.rows = "some", [("a", 1)]
    assert postgres.batch(RAISE, [("a", 1), ("b", 2)]) == [("a", 1)]
    postgres.insert(ADD, [("a", 1)])
    assert [parameters for _, parameters in raw.made.done] == [['{"a","b"}', "{1,2}"], ['{"a"}', "{1}"]]
    assert (postgres.batch(RAISE, []), len(raw.made.done)) == ([], 2)
    postgres.insert(ADD, [])
    assert len(raw.made.done) == 2


def test_a_transaction_is_told_and_its_end_may_find_nobody(postgres: PostgresConnection, raw: Raw) -> None:
    postgres.begin()
    postgres.commit()
    raw.made.error = psycopg.OperationalError("gone")
    postgres.rollback()
    assert [text for text, _ in raw.made.done] == ["BEGIN", "COMMIT", "ROLLBACK"]
    postgres.close()
    assert raw.closed


def test_each_journey_of_a_transaction_ends_with_a_sync_and_takes_along_what_has_no_rows(
    postgres: PostgresConnection, raw: Raw
) -> None:
    raw.made.description = "some"
    postgres.begin()
    postgres.run("SELECT 1")
    postgres.insert(ADD, [("a", 1)])
    assert [text for text, _ in raw.made.done] == ["BEGIN", "SELECT 1", "sync"]
    postgres.run("SELECT 2")
    postgres.insert(ADD, [("b", 1)])
    postgres.rollback()
    told = [text.split()[0] for text, _ in raw.made.done]
    assert told == ["BEGIN", "SELECT", "sync", "INSERT", "SELECT", "sync", "ROLLBACK"]


def test_the_time_of_a_server_is_its_own(postgres: PostgresConnection, raw: Raw) -> None:
    raw.made.description, raw.made.rows = "some", [(17,)]
    assert postgres.now() == 17


def test_a_connection_is_opened_with_limits_that_keep_a_dead_peer_from_holding_a_lock(
    monkeypatch: pytest.MonkeyPatch, raw: Raw
) -> None:
    asked: dict[str, Any] = {}

    def connect(url: str, **more: Any) -> Raw:
        asked.update(more, url=url)
        return raw

    monkeypatch.setattr(psycopg, "connect", connect)
    PostgresDatabase("postgresql://h/n", 7_000).connect()
    assert (asked["url"], asked["autocommit"], asked["connect_timeout"]) == ("postgresql://h/n", True, 5)
    assert "-c lock_timeout=10s" in asked["options"]
    assert "-c idle_in_transaction_session_timeout=7000" in asked["options"]
