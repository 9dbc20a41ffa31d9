"""What a performance came to against what was expected of it: every difference, each with its code. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from celeriac import Json
from engine.checking.finding import did_you_mean
from engine.checking.source import Path, pointer
from engine.nearest import nearest
from engine.rehearsal.cast import UNMOCKED, unmocked_hint, unmocked_words
from engine.rehearsal.stage import Performance
from engine.rehearsal.trial import Expectation
from engine.remedies import remedy

_SHOWN = 5
_LONG = 80


@dataclass(frozen=True, slots=True)
class Miss:
    """One thing that is not as expected."""

    code: str
    message: str
    hint: str | None = None

    def to_json(self) -> dict[str, Json]:
        """Return the form every surface shows."""
        body: dict[str, Json] = {"code": self.code, "message": self.message}
        return body if self.hint is None else {**body, "hint": self.hint}


def misses(expect: Expectation, seen: Performance) -> list[Miss]:
    """Return every difference; none, when the test passes. Without a mock that is needed, nothing else is told."""
    if seen.part.unmocked:
        return [
            Miss(UNMOCKED, unmocked_words(name, effect), unmocked_hint(name))
            for name, effect in seen.part.unmocked.items()
        ]
    return [
        *_status(expect, seen),
        *_answer(expect, seen),
        *_output(expect, seen),
        *_error(expect, seen),
        *_nodes(expect, seen),
    ]


def _status(expect: Expectation, seen: Performance) -> Iterator[Miss]:
    if seen.status == expect.status:
        return
    message = f"The execution is {seen.status}, and was expected to be {expect.status}."
    if seen.error is None:
        yield Miss("test.status", message)
        return
    where = f"{seen.error['node']}: " if "node" in seen.error else ""
    hint = remedy(str(seen.error.get("code")))
    yield Miss(
        "test.status", f"{message} {where}{seen.error.get('message')} ({seen.error.get('code')})", hint
    )
    for each in seen.error.get("details", {}).get("errors", ()):
        yield Miss("test.status", f"input{each['pointer']}: {each['message']}")


def _output(expect: Expectation, seen: Performance) -> Iterator[Miss]:
    if not expect.has_output or seen.status != "succeeded":
        return
    for path, words in islice(differences(expect.output, seen.output, (), partial=expect.partial), _SHOWN):
        yield Miss("test.output", f"output{pointer(path)} {words}.")


def _answer(expect: Expectation, seen: Performance) -> Iterator[Miss]:
    """Compare what was answered; only the keys of an answer that are written down."""
    if expect.answer is None:
        return
    if not isinstance(seen.answer, dict):
        yield Miss("test.answer", "Nothing was answered.", "A node of the type respond answers.")
        return
    for key, wanted in expect.answer.items():
        found = differences(wanted, seen.answer[key], (key,), partial=expect.partial)
        for path, words in islice(found, _SHOWN):
            yield Miss("test.answer", f"answer{pointer(path)} {words}.")


def _error(expect: Expectation, seen: Performance) -> Iterator[Miss]:
    if expect.error is None or (seen.error is None and seen.status != expect.status):
        return
    actual = seen.error or {}
    for key, wanted in expect.error.items():
        given = actual.get(key)
        if given != wanted:
            words = "is not there" if given is None else f"is {_shown(given)}"
            yield Miss("test.error", f"error.{key} {words}, and was expected to be {_shown(wanted)}.")


def _nodes(expect: Expectation, seen: Performance) -> Iterator[Miss]:
    path = seen.path
    if expect.path is not None:
        wanted = list(dict.fromkeys(expect.path))
        missing, more = (
            [each for each in wanted if each not in path],
            [each for each in path if each not in wanted],
        )
        if missing:
            yield Miss("test.path", f"These nodes did not run, and were expected to: {', '.join(missing)}.")
        if more:
            yield Miss("test.path", f"These nodes ran, and are not in the path: {', '.join(more)}.")
        if expect.ordered and not missing and not more and wanted != path:
            yield Miss(
                "test.path", f"The order was {', '.join(path)}, and was expected to be {', '.join(wanted)}."
            )
    if ran := [each for each in expect.not_run if each in path]:
        yield Miss("test.not_run", f"These nodes ran, and were expected not to: {', '.join(ran)}.")
    for node, wanted in (expect.calls or {}).items():
        yield from _calls(node, wanted, seen)


def _calls(node: str, wanted: Any, seen: Performance) -> Iterator[Miss]:
    """Compare how often a node was called, or what with: of each config only the keys that are written down."""
    made = [each.config_json() for each in seen.part.calls if each.node == node]
    count = wanted if isinstance(wanted, int) else len(wanted)
    if len(made) != count:
        yield Miss(
            "test.calls",
            f"The node {node} was called {_times(len(made))}, and not {_times(count)} as expected.",
        )
    elif not isinstance(wanted, int):
        for number, (config, actual) in enumerate(zip(wanted, made, strict=True), 1):
            for path, words in islice(differences(config, actual, (), partial=True), _SHOWN):
                yield Miss("test.calls", f"Call {number} of {node}: config{pointer(path)} {words}.")


def differences(expected: Json, actual: Json, path: Path, *, partial: bool) -> Iterator[tuple[Path, str]]:
    """Yield where two values differ, and how. A partial match lets objects have more keys than are expected."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key, each in expected.items():
            if key in actual:
                yield from differences(each, actual[key], (*path, key), partial=partial)
            else:
                meant = did_you_mean(nearest(key, actual))
                yield (*path, key), f"is not there{'' if meant is None else f' ({meant})'}"
        if not partial:
            for key in actual.keys() - expected.keys():
                yield (*path, key), f"is {_shown(actual[key])}, and was not expected"
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for index, (each, other) in enumerate(zip(expected, actual, strict=True)):
            yield from differences(each, other, (*path, index), partial=partial)
    elif isinstance(expected, list) and isinstance(actual, list):
        yield path, f"has {len(actual)} items, and was expected to have {len(expected)}"
    elif isinstance(expected, bool) is not isinstance(actual, bool) or expected != actual:
        yield path, f"is {_shown(actual)}, and was expected to be {_shown(expected)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONG else f"{text[:_LONG]}..."


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def summary(seen: Performance) -> Mapping[str, Json]:
    """Return what a performance came to, for whoever looks at a test that failed."""
    body: dict[str, Json] = {"status": seen.status, "path": list(seen.path), "passed_ms": seen.passed}
    if seen.answer is not None:
        body["answer"] = seen.answer
    if seen.error is not None:
        body["error"] = dict(seen.error)
    if seen.status == "succeeded":
        body["output"] = seen.output
    return body
