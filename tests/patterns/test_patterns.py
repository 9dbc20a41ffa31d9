"""Every pattern runs on both databases, in many orders and through crashes, and comes to one of the traces it allows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.builders import prepared
from tests.chaos import dags
from tests.chaos.world import opened, outlive
from tests.patterns.pattern import NAMES, PATTERNS, Case, Pattern
from tests.patterns.stage import Stage
from tests.patterns.trace import History
from tests.servers import Postgres

SEEDS = 8
MOST_SEEDS = 100
"""How many are tried at most until what has to show somewhere has shown."""
SEEDS_ON_A_SERVER = 3
STEPS = 250
pytestmark = pytest.mark.timeout(120)

labelled = pytest.mark.parametrize("pattern", PATTERNS, ids=lambda each: each.label)


@dataclass(frozen=True)
class Place:
    """Where patterns are played: in a folder, on a file, or on a fresh database that a server gives each time."""

    folder: Path
    database: Callable[[], AbstractContextManager[str | None]] = nullcontext


@pytest.fixture
def file(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def server(postgres: Postgres, tmp_path: Path) -> Place:
    template = postgres.template("patterns", lambda url: _migrate(tmp_path, url))
    return Place(tmp_path, lambda: postgres.database(template))


def _migrate(folder: Path, url: str) -> None:
    prepared({"CELERIAC_DATA": str(folder), "DATABASE_URL": url, "BROKER_URL": "memory://"})


def play(
    place: Place, seed: int, document: Mapping[str, Any], cases: Sequence[Case]
) -> tuple[list[History | None], list[str]]:
    """Play all cases at once in the world of one seed. Returns their histories, and what is left over.

    A history is missing when its execution does not end.
    """
    with place.database() as url, opened(Stage(place.folder, seed, url)) as stage:
        for number, case in enumerate(cases):
            stage.accept(dags.Case(dict(document), case.input, {}), f"case-{number}")
            stage.meanwhile(str(stage.ops[-1].execution), case.meanwhile)
        asyncio.run(outlive(stage, STEPS * len(cases)))
        found = [stage.history(str(each.execution)) for each in stage.ops]
        left = stage.left_over()
    for each in place.folder.iterdir():
        each.unlink()
    return found, left


def verdicts(
    pattern: Pattern, place: Place, seeds: Iterable[int], document: Mapping[str, Any] | None = None
) -> Iterator[str]:
    """Yield what is wrong with a pattern, or with a document in its place, seed by seed."""
    for seed in seeds:
        histories, left = play(place, seed, document or pattern.document, pattern.cases)
        yield from (f"{pattern.label}, seed {seed}: {each}" for each in left)
        for number, (case, history) in enumerate(zip(pattern.cases, histories, strict=True)):
            told = f"{pattern.label}, case {number}, seed {seed}:"
            if history is None:
                yield f"{told} it does not end"
                continue
            yield from (f"{told} {each}" for each in case.complaints(history, pattern.tasks))


def unseen(pattern: Pattern, place: Place, document: Mapping[str, Any] | None = None) -> list[str]:
    """Return which orders show nowhere, though the pattern says that they have to."""
    missing = {(number, each) for number, case in enumerate(pattern.cases) for each in case.seen}
    for seed in range(MOST_SEEDS):
        if not missing:
            break
        histories, _ = play(place, seed, document or pattern.document, pattern.cases)
        missing -= {(number, each) for number, each in missing if (h := histories[number]) and each.shows(h)}
    return [f"{pattern.label}, case {number}: nowhere {each.text}" for number, each in missing]


@labelled
def test_a_pattern_comes_to_a_trace_it_allows_on_a_file(pattern: Pattern, file: Place) -> None:
    assert list(verdicts(pattern, file, range(SEEDS))) == []


@labelled
def test_nothing_waits_for_what_it_need_not(pattern: Pattern, file: Place) -> None:
    assert unseen(pattern, file) == []


@labelled
def test_a_pattern_comes_to_a_trace_it_allows_on_a_server(pattern: Pattern, server: Place) -> None:
    assert list(verdicts(pattern, server, range(SEEDS_ON_A_SERVER))) == []


@labelled
def test_a_change_of_meaning_does_not_go_unseen(pattern: Pattern, file: Place) -> None:
    for change in pattern.wrong:
        document = pattern.changed(change)
        shown = next(verdicts(pattern, file, range(MOST_SEEDS // 4), document), None)
        assert shown or unseen(pattern, file, document), change


@labelled
def test_a_file_is_named_as_the_pattern_is_and_its_traces_are_about_its_tasks(pattern: Pattern) -> None:
    assert pattern.name == NAMES[pattern.number]
    named = {each for case in pattern.cases for trace in case.traces for each in trace.nodes}
    assert named <= {*pattern.tasks}
