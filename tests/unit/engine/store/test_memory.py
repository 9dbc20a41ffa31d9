from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.store.memory import MemoryDatabase


@pytest.fixture
def database() -> Iterator[MemoryDatabase]:
    made = MemoryDatabase()
    made.connection.script("CREATE TABLE a (x); INSERT INTO a VALUES (1);")
    yield made
    made.connection.end()


def rows(database: MemoryDatabase) -> list[object]:
    return [row[0] for row in database.connect().run("SELECT x FROM a")]


def test_all_share_one_connection_that_none_of_them_closes(database: MemoryDatabase) -> None:
    database.connect().close()
    assert database.connect() is database.connection
    assert rows(database) == [1]


def test_a_transaction_counts_when_it_is_committed(database: MemoryDatabase) -> None:
    connection = database.connection
    for end, found in ((connection.rollback, [1]), (connection.commit, [1, 2])):
        connection.begin()
        connection.run("INSERT INTO a VALUES (2)")
        end()
        assert rows(database) == found
    connection.rollback()


def test_what_was_copied_comes_back(database: MemoryDatabase) -> None:
    other = MemoryDatabase()
    database.connection.copy_to(other.connection)
    database.connection.run("DELETE FROM a")
    assert (rows(database), rows(other)) == ([], [1])
    other.connection.copy_to(database.connection)
    assert rows(database) == [1]
    other.connection.end()
