from __future__ import annotations

from engine.store.sql import Batched, Insert, as_arrays, as_document, columns

COLUMNS = columns("name count", count="bigint")


def test_columns_are_text_unless_said_otherwise() -> None:
    assert COLUMNS == (("name", "text"), ("count", "bigint"))


def test_a_batch_is_one_document_for_sqlite_and_arrays_for_postgresql() -> None:
    statement = Batched("SELECT * FROM {rows} WHERE r.count > 1 {lock}", COLUMNS)
    assert statement.for_sqlite == (
        "SELECT * FROM (SELECT json_extract(value, '$[0]') AS name, json_extract(value, '$[1]') AS count "
        "FROM json_each(?)) AS r WHERE r.count > 1 "
    )
    assert statement.for_postgres == (
        "SELECT * FROM unnest(%s::text[], %s::bigint[]) AS r(name, count) WHERE r.count > 1 FOR UPDATE"
    )


def test_an_insertion_is_one_row_for_sqlite_and_arrays_for_postgresql() -> None:
    statement = Insert("t", COLUMNS, "ON CONFLICT DO NOTHING")
    assert statement.for_sqlite == "INSERT INTO t (name, count) VALUES (?, ?) ON CONFLICT DO NOTHING"
    assert statement.for_postgres == (
        "INSERT INTO t (name, count) SELECT * FROM unnest(%s::text[], %s::bigint[]) ON CONFLICT DO NOTHING"
    )


def test_rows_become_a_document_or_columns() -> None:
    rows = [("a", 1), ("b", None)]
    assert as_document(rows) == '[["a",1],["b",null]]'
    assert as_arrays(rows) == ['{"a","b"}', "{1,NULL}"]
