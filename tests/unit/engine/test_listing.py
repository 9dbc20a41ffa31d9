from __future__ import annotations

import pytest

from engine.errors import Invalid
from engine.listing import LONGEST_FILTER, MOST_FILTERS, Column, conditions, order

COLUMNS = {
    "name": Column("t.name", "text"),
    "at": Column("t.at", "number"),
    "on": Column("t.on_", "flag"),
}


@pytest.mark.parametrize(
    ("text", "clause", "values"),
    [
        ("name:eq:x", "t.name = ?", ["x"]),
        ("name:x", "t.name = ?", ["x"]),
        ("name:a:b", "t.name = ?", ["a:b"]),
        ("name:eq:a:b", "t.name = ?", ["a:b"]),
        ("name:eq:", "t.name = ?", [""]),
        ("name:ne:x", "t.name <> ?", ["x"]),
        ("name:starts:o'r", "substr(t.name, 1, ?) = ?", [3, "o'r"]),
        ("at:gte:17", "t.at >= ?", [17]),
        ("at:lt:9223372036854775807", "t.at < ?", [2**63 - 1]),
        ("on:true", "t.on_ = ?", [1]),
        ("on:ne:false", "t.on_ <> ?", [0]),
    ],
)
def test_a_filter_is_a_condition_with_its_values_bound(text: str, clause: str, values: list[object]) -> None:
    assert conditions([text], COLUMNS) == ([clause], values)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "nmae:x",
        "t.name:x",
        "at:eq:x",
        "at:eq:-1",
        "at:eq:1e3",
        "at:9223372036854775808",
        "at:eq:²",
        "on:1",
        "at:starts:1",
        "name:\0",
        "name:eq:" + "x" * LONGEST_FILTER,
    ],
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        conditions([text], COLUMNS)


def test_filters_are_as_many_and_as_long_as_is_said_and_no_more() -> None:
    longest = "name:" + "x" * (LONGEST_FILTER - 5)
    assert len(conditions([longest] * MOST_FILTERS, COLUMNS)[0]) == MOST_FILTERS
    with pytest.raises(Invalid):
        conditions(["name:x"] * (MOST_FILTERS + 1), COLUMNS)


def test_a_list_is_sorted_by_a_field_and_then_by_id() -> None:
    assert order("at:desc", COLUMNS, "name").clause("t.id") == "t.at DESC, t.id DESC"
    up = order(None, COLUMNS, "name")
    assert (str(up), up.clause("t.id")) == ("name:asc", "t.name ASC, t.id ASC")
    assert up.behind("t.id", ("x", "t_1")) == ("(t.name, t.id) > (?, ?)", ["x", "t_1"])
    assert order("at:desc", COLUMNS, "name").behind("t.id", (7, "t_1"))[0] == "(t.at, t.id) < (?, ?)"


@pytest.mark.parametrize("text", ["x", "at:down", "at:desc:x", "at; DROP TABLE t"])
def test_what_no_list_is_sorted_by_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        order(text, COLUMNS, "name")


def test_a_misspelt_field_is_told_the_right_one() -> None:
    with pytest.raises(Invalid) as refused:
        order("nmae", COLUMNS, "name")
    assert refused.value.hint == "Did you mean name?"
