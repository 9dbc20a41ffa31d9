"""Lists that people sort and narrow down: which columns may be named, and what is asked of them. Pure.

Nothing that anybody writes becomes SQL: names are looked up in a table of columns, operators in a table of operators, and
values are bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from celeriac import Json
from engine.errors import Invalid
from engine.nearest import nearest

MOST_FILTERS: Final = 10
LONGEST_FILTER: Final = 300

Kind = Literal["text", "number", "flag"]

Body = dict[str, Json]
"""What is shown of one thing."""

Position = tuple[int, str]
"""(created_at, id) of the last execution of a page: the next page starts behind it."""

_OPERATORS: Final[Mapping[str, str]] = {
    "eq": "=",
    "ne": "<>",
    "lt": "<",
    "lte": "<=",
    "gt": ">",
    "gte": ">=",
    "starts": "starts",
}
_FLAGS: Final[Mapping[str, int]] = {"true": 1, "false": 0}
_LARGEST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, and where the next one starts; nothing when this is the last."""

    rows: list[Body]
    following: Json | Position


@dataclass(frozen=True, slots=True)
class Column:
    """What a field of a list is called in SQL, and of which kind its values are."""

    sql: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Order:
    """By which field a list is sorted; rows with the same value come by their id."""

    field: str
    column: Column
    down: bool

    def __str__(self) -> str:
        return f"{self.field}:{'desc' if self.down else 'asc'}"

    def clause(self, id_: str) -> str:
        """Return what stands behind ORDER BY."""
        way = "DESC" if self.down else "ASC"
        return f"{self.column.sql} {way}, {id_} {way}"

    def behind(self, id_: str, position: tuple[Json, str]) -> tuple[str, list[Any]]:
        """Return the condition that a row comes behind a position, with its values."""
        return f"({self.column.sql}, {id_}) {'<' if self.down else '>'} (?, ?)", [*position]


def order(text: str | None, columns: Mapping[str, Column], default: str) -> Order:
    """Return the order that `field`, `field:asc` or `field:desc` names. Raises `Invalid`."""
    name, _, way = (text or default).partition(":")
    column = _column(name, columns)
    if way not in ("", "asc", "desc"):
        message = f"A list is sorted `asc` or `desc`, and not {way[:30]!r}."
        raise Invalid(message)
    return Order(name, column, way == "desc")


def conditions(filters: Sequence[str], columns: Mapping[str, Column]) -> tuple[list[str], list[Any]]:
    """Return the conditions, with their values, of filters that are written `field:operator:value` or `field:value`.

    Operators are eq, ne, lt, lte, gt, gte and, for texts, starts. All filters hold. Raises `Invalid`.
    """
    if len(filters) > MOST_FILTERS:
        message = f"There are {len(filters)} filters; {MOST_FILTERS} are allowed."
        raise Invalid(message)
    clauses: list[str] = []
    values: list[Any] = []
    for each in filters:
        if len(each) > LONGEST_FILTER or "\0" in each:
            message = f"A filter has at most {LONGEST_FILTER} characters, and none of them is NUL."
            raise Invalid(message)
        name, separator, rest = each.partition(":")
        operator, more, value = rest.partition(":")
        if not more or operator not in _OPERATORS:
            operator, value = "eq", rest
        if not separator:
            message = f"{name!r} is no filter."
            raise Invalid(message, hint="Write field:operator:value, like name:starts:order.")
        column = _column(name, columns)
        if operator == "starts":
            if column.kind != "text":
                message = f"{name} is no text, and starts with nothing."
                raise Invalid(message)
            clauses.append(f"substr({column.sql}, 1, ?) = ?")
            values += [len(value), value]
        else:
            clauses.append(f"{column.sql} {_OPERATORS[operator]} ?")
            values.append(_value(name, value, column.kind))
    return clauses, values


def _column(name: str, columns: Mapping[str, Column]) -> Column:
    found = columns.get(name)
    if found is None:
        near = nearest(name, tuple(columns))
        hint = f"Did you mean {near}?" if near else f"There are: {', '.join(columns)}."
        message = f"This list has no field {name[:64]!r}."
        raise Invalid(message, hint=hint)
    return found


def _value(name: str, text: str, kind: Kind) -> Any:
    if kind == "text":
        return text
    if kind == "flag":
        if text not in _FLAGS:
            message = f"{name} is true or false."
            raise Invalid(message)
        return _FLAGS[text]
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= _LARGEST):
        message = f"{name} is a whole number; times are milliseconds since 1970."
        raise Invalid(message)
    return int(text)
