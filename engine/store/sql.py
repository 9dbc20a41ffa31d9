"""One text of SQL for both databases. A statement works on a whole batch of rows, which it knows as `r`.

PostgreSQL gets the batch as arrays (`unnest`), SQLite as one JSON document (`json_each`), so that a batch of one and a
batch of a thousand are the same prepared statement and one round trip.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

Row = tuple[Any, ...]
ColumnType = Literal["text", "bigint", "double precision", "bytea"]


@dataclass(frozen=True)
class Batched:
    """A statement with `{rows}` where the batch stands as a table `r`; `columns` are names and types in order.

    `{lock}` locks what is selected, `{lock_free}` what of it nobody else has locked; the others are left out.
    """

    text: str
    columns: tuple[tuple[str, ColumnType], ...]

    @cached_property
    def for_sqlite(self) -> str:
        """The text with the batch as one JSON parameter."""
        fields = ", ".join(
            f"json_extract(value, '$[{index}]') AS {name}" for index, (name, _) in enumerate(self.columns)
        )
        return (
            self.text.replace("{rows}", f"(SELECT {fields} FROM json_each(?)) AS r")
            .replace("{lock}", "")
            .replace("{lock_free}", "")
        )

    @cached_property
    def for_postgres(self) -> str:
        """The text with the batch as one array a column."""
        arrays = ", ".join(f"%s::{type_}[]" for _, type_ in self.columns)
        names = ", ".join(name for name, _ in self.columns)
        text = self.text.replace("{rows}", f"unnest({arrays}) AS r({names})").replace("{lock}", "FOR UPDATE")
        return text.replace("{lock_free}", "FOR UPDATE SKIP LOCKED")


@dataclass(frozen=True)
class Insert:
    """Plain insertion of a batch, with what follows the values (`ON CONFLICT ...`)."""

    table: str
    columns: tuple[tuple[str, ColumnType], ...]
    suffix: str = ""

    @cached_property
    def for_sqlite(self) -> str:
        """The text for one row of many."""
        names = ", ".join(name for name, _ in self.columns)
        marks = ", ".join("?" for _ in self.columns)
        return f"INSERT INTO {self.table} ({names}) VALUES ({marks}) {self.suffix}"

    @cached_property
    def for_postgres(self) -> str:
        """The text for the whole batch."""
        names = ", ".join(name for name, _ in self.columns)
        arrays = ", ".join(f"%s::{type_}[]" for _, type_ in self.columns)
        return f"INSERT INTO {self.table} ({names}) SELECT * FROM unnest({arrays}) {self.suffix}"


def columns(text: str, **types: ColumnType) -> tuple[tuple[str, ColumnType], ...]:
    """Return columns named in `text`: text unless `types` says otherwise."""
    return tuple((name, types.get(name, "text")) for name in text.split())


_ENCODER = json.JSONEncoder(separators=(",", ":"))


def as_document(rows: Sequence[Row]) -> str:
    """Return a batch as SQLite gets it."""
    return _ENCODER.encode(rows)


def as_arrays(rows: Sequence[Row]) -> list[str]:
    """Return a batch as PostgreSQL gets it: the text of one array a column, which the statement's casts give a type.

    The driver's own way from lists to arrays looks at every element several times, and costs seventeen times as much.
    """
    return [f"{{{','.join(map(_element, column))}}}" for column in zip(*rows, strict=True)]


def _element(value: object) -> str:
    """Return a value as it stands in the text of an array. Source: PostgreSQL manual, 8.15.6."""
    if isinstance(value, str):
        escaped = value.replace("\\", r"\\").replace('"', r"\"")
        return f'"{escaped}"'
    return "NULL" if value is None else str(value)
