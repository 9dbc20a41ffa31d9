"""What is wrong with tests besides their shape: names that stand twice, nodes that are not there, times that are none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from celeriac import Json
from engine.checking.finding import Finding, Guesses, did_you_mean
from engine.checking.outline import Outline
from engine.checking.source import Path
from engine.definition import SCOPE
from engine.rehearsal.mocks import EVERY
from engine.rehearsal.trial import instant

TESTS = "tests"
_FILE_KEYS = frozenset({"$schema", TESTS})


def tests(document: Json, outline: Outline, guesses: Guesses) -> Iterator[Finding]:
    """Yield the mistakes in the tests of a document."""
    written = document.get(TESTS) if isinstance(document, dict) else None
    names: dict[str, int] = {}
    known = {*outline.ids, *(f"{each.id}@undo" for each in outline.vertices if each.undoing is not None)}
    for index, each in enumerate(written if isinstance(written, list) else ()):
        if isinstance(each, dict):
            yield from _name((TESTS, index), each, names)
            yield from _now((TESTS, index), each)
            for path, node, key in _mentions((TESTS, index), each):
                if isinstance(node, str) and node not in known:
                    hint = did_you_mean(guesses.nearest(node, known), "Use the id of a node.")
                    yield Finding(path, "test.unknown_node", f"There is no node {node[:64]}.", hint, key=key)
            yield from _scopes((TESTS, index), each, outline)


def file_of_tests(value: Json) -> Iterator[Finding]:
    """Yield what keeps the value of a file from being one of tests."""
    if not isinstance(value, dict):
        message = "A file of tests is an object with the key `tests`."
        yield Finding((), "definition.wrong_type", message, 'Write {"tests": [...]}.')
        return
    if TESTS not in value:
        message = "A file of tests needs the key `tests`."
        yield Finding((), "definition.missing_key", message, 'Write {"tests": [...]}.')
    for key in value.keys() - _FILE_KEYS:
        message = f"A file of tests has no key `{key[:64]}`."
        yield Finding((key,), "definition.unknown_key", message, "It can have `tests` only.", key=True)


def _name(path: Path, test: Mapping[str, Any], names: dict[str, int]) -> Iterator[Finding]:
    name, number = test.get("name"), int(path[-1]) + 1
    if isinstance(name, str) and names.setdefault(name, number) != number:
        message = f"The name is taken: test {names[name]} has it already."
        yield Finding((*path, "name"), "test.duplicate_name", message, "Say what makes this one different.")


def _scopes(path: Path, test: Mapping[str, Any], outline: Outline) -> Iterator[Finding]:
    mocks = test.get("mocks")
    for node in mocks if isinstance(mocks, dict) else ():
        if node in outline.ids and outline.ids[node].written.get("type") == SCOPE:
            message = f"The scope {node} calls nothing itself, so nothing can stand in for it."
            yield Finding(
                (*path, "mocks", node), "test.mocked_scope", message, "Mock the nodes in its body.", key=True
            )


def _now(path: Path, test: Mapping[str, Any]) -> Iterator[Finding]:
    now = test.get("now")
    if isinstance(now, str):
        try:
            instant(now)
        except (ValueError, OverflowError):
            message = f"`now` is {now[:40]!r}, which is no time."
            yield Finding(
                (*path, "now"), "definition.bad_value", message, "Write it like 2031-05-04T09:00:00+02:00."
            )


def _mentions(path: Path, test: Mapping[str, Any]) -> Iterator[tuple[Path, Any, bool]]:
    """Yield every place that names a node, the name, and whether it is a key."""
    mocks, expect = test.get("mocks"), test.get("expect")
    for node in mocks if isinstance(mocks, dict) else ():
        if node != EVERY:
            yield (*path, "mocks", node), node, True
    if not isinstance(expect, dict):
        return
    for key in ("path", "not_run"):
        listed = expect.get(key)
        for index, node in enumerate(listed if isinstance(listed, list) else ()):
            yield (*path, "expect", key, index), node, False
    calls = expect.get("calls")
    for node in calls if isinstance(calls, dict) else ():
        yield (*path, "expect", "calls", node), node, True
