from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from engine import states, transitions

PAGE = (Path(__file__).parents[2] / "docs" / "lifecycle.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))

Moves = set[tuple[str, str]]


def in_code(name: str) -> Moves:
    table: Mapping[Any, frozenset[Any]] = (
        states.EXECUTION_MOVES if name == "Executions" else states.SEGMENT_MOVES
    )
    return {(str(before), str(after)) for before, every in table.items() for after in every}


def rows(name: str) -> list[list[str]]:
    found = re.findall(r"^\| (.*) \|$", SECTIONS[name], re.MULTILINE)
    return [[cell.strip() for cell in row.split(" | ")] for row in found[1:]]


@pytest.mark.parametrize("name", ["Executions", "Segments"])
def test_the_table_has_every_move_once(name: str) -> None:
    moves = [(before, after) for before, after, _, _ in rows(name)]
    assert len(moves) == len(set(moves))
    assert set(moves) == in_code(name)


@pytest.mark.parametrize("name", ["Executions", "Segments"])
def test_the_picture_shows_every_move_and_the_ends(name: str) -> None:
    drawn = set(re.findall(r"^    (\w+) --> (\w+)$", SECTIONS[name], re.MULTILINE))
    assert drawn == in_code(name)
    ends = set(re.findall(r"^    (\w+) --> \[\*\]$", SECTIONS[name], re.MULTILINE))
    final = states.EXECUTION_FINAL if name == "Executions" else states.SEGMENT_FINAL
    assert ends == {str(each) for each in final}


@pytest.mark.parametrize("name", ["Executions", "Segments"])
def test_every_move_is_made_by_transitions_of_the_pen(name: str) -> None:
    named = {each for row in rows(name) for each in re.findall(r"`(\w+)`", row[2])}
    assert {each for each in named if not callable(getattr(transitions, each, None))} == set()


def test_every_transition_of_the_pen_is_on_the_page() -> None:
    names = {each.__name__ for each in transitions._TRANSITIONS.values()}
    assert {each for each in names if f"`{each}`" not in PAGE} == set()
