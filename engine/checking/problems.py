"""Validation: every mistake of a definition in one answer, each with its place, its code and its remedy.

The checks do not wait for each other. What is well formed is asked everything, whatever is wrong elsewhere,
so that an author comes back once and not once for every mistake.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from pydantic import ValidationError

from celeriac import Json, NodeType
from engine import nested, playbooks
from engine.checking import source
from engine.checking.entrances import entrances
from engine.checking.finding import Finding, Guesses, Severity
from engine.checking.foresight import foresight
from engine.checking.names import Names
from engine.checking.outline import BODY, Outline, Vertex, Work
from engine.checking.schemas import in_config
from engine.checking.shape import misfits
from engine.checking.source import Path, Source, Spot, pointer
from engine.checking.tests import TESTS, file_of_tests, tests
from engine.checking.timeouts import timeouts
from engine.checking.wiring import wiring
from engine.config import schema_of
from engine.registry import Registry
from engine.settings import Limits

LIMITS = Limits()

MOST: Final = 10_000
"""The mistakes in one answer. A definition with more was made by a program, and its author reads the first ones."""

_WORDED: Final = ("value_error", "assertion_error")


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `pointer` is an RFC 6901 pointer; line and column count from 1, where a text was read.

    A warning does not keep a definition from being used.
    """

    pointer: str
    code: str
    message: str
    hint: str | None
    line: int | None
    column: int | None
    severity: Severity

    def to_json(self) -> dict[str, Json]:
        """Return the form every surface shows."""
        body: dict[str, Json] = {"pointer": self.pointer, "code": self.code, "message": self.message}
        if self.hint is not None:
            body["hint"] = self.hint
        if self.line is not None:
            body |= {"line": self.line, "column": self.column}
        return {**body, "severity": self.severity}


def check(document: Json, registry: Registry, limits: Limits = LIMITS) -> list[Problem]:
    """Return every mistake of a definition that came as a value, in the order of the document."""
    order = _Order(document)
    return [_problem(each, None) for each in sorted(_found(document, registry, limits), key=order.of)]


def check_text(
    text: str | bytes, registry: Registry, limits: Limits = LIMITS
) -> tuple[Json | None, list[Problem]]:
    """Return the value of a definition's text, and every mistake in it, in the order of the text.

    There is no value when the text has mistakes of its own (a key that stands twice, say): what it means is in doubt.
    """
    read = source.read(text, max_bytes=limits.definition_bytes)
    found = [] if read.broken else _found(read.value, registry, limits)
    return _told(read, found)


def check_tests(
    text: str | bytes, document: Mapping[str, Json], registry: Registry, limits: Limits = LIMITS
) -> tuple[Json | None, list[Problem]]:
    """Return the value of a file of tests, and every mistake in it. `document` is the definition it tests, and has none."""
    read = source.read(text, max_bytes=limits.definition_bytes)
    found: list[Finding] = []
    if not read.broken:
        found = list(file_of_tests(read.value))
        if isinstance(read.value, dict) and TESTS in read.value:
            together = {**document, TESTS: read.value[TESTS]}
            found += [each for each in _found(together, registry, limits) if each.path[:1] == (TESTS,)]
    return _told(read, found)


def _told(read: Source, found: list[Finding]) -> tuple[Json | None, list[Problem]]:
    """Return a text's value, if it has one, and what was found in it, each at its place."""
    places = read.positions(Spot(each.path, each.key, each.inside) for each in found)
    problems = [_problem(each, place) for each, place in zip(found, places, strict=True)]
    for flaw in read.flaws:
        finding = Finding(flaw.path, flaw.code, flaw.message, flaw.hint)
        problems.append(_problem(finding, read.position(flaw.at)))
    problems.sort(key=lambda each: (each.line or 0, each.column or 0, each.pointer, each.code))
    return None if read.flaws else read.value, problems


def _found(document: Json, registry: Registry, limits: Limits) -> list[Finding]:
    """Return the findings, as many as somebody may want to read."""
    found = list(islice(_findings(document, registry, limits), MOST + 1))
    if len(found) > MOST:
        message = f"There are more than {MOST:,} mistakes; these are the first that were met."
        found[MOST] = Finding((), "definition.too_many_mistakes", message, "Correct these, and check again.")
    return found


def _findings(document: Json, registry: Registry, limits: Limits) -> Iterator[Finding]:
    """Yield what is wrong with what is written; if that is nothing, what would go wrong when it runs."""
    if source.deeper_than(source.MAX_DEPTH, document):
        message = f"Lists and objects are nested in more than {source.MAX_DEPTH} levels."
        yield Finding((), "definition.too_deep", message, "Flatten the value.")
        return
    if playbooks.is_one(document):
        yield from _of_steps(document, registry, limits)
        return
    outline = Outline(document, registry)
    oversized = list(_sizes(outline, limits))
    if oversized:
        yield from oversized
        return
    guesses = Guesses(len(outline.vertices))
    names = Names(outline, guesses)
    sound = True
    for finding in _written(document, outline, registry, limits, guesses, names):
        sound = sound and finding.severity != "error"
        yield finding
    if sound:
        yield from foresight(outline, names)


def _of_steps(document: Any, registry: Registry, limits: Limits) -> Iterator[Finding]:
    """Check a playbook: its steps, and then the nodes that are made of them, whose mistakes are led back to the steps."""
    steps = document["definition"][playbooks.STEPS]
    guesses = Guesses(len(steps) if isinstance(steps, list) else 0)
    unfit = misfits(document, Outline(document, registry), registry, guesses, MOST + 1)
    yield from unfit
    if unfit:
        return
    made = playbooks.expanded(document)
    told = set()
    for each in _findings(dict(made.document), registry, limits):
        back = made.back(each.path)
        shorter = len(back) < len(each.path) - 1
        found = replace(
            each, path=back, key=each.key and not shorter, inside=None if shorter else each.inside
        )
        if found not in told:  # what an approval shows is the step's own params once more
            told.add(found)
            yield found


def _written(
    document: Json,
    outline: Outline,
    registry: Registry,
    limits: Limits,
    guesses: Guesses,
    names: Names,
) -> Iterator[Finding]:
    unfit = misfits(document, outline, registry, guesses, MOST + 1)
    yield from unfit
    flawed = _around([each.path for each in unfit])
    yield from entrances(outline, guesses)
    yield from wiring(outline, flawed, guesses)
    yield from timeouts(outline)
    yield from tests(document, outline, guesses)
    yield from names.around()
    for vertex in outline.vertices:
        for work in vertex.works:
            findings, live = names.of_work(vertex, work)
            yield from findings
            if work.type is not None and not live and work.path not in flawed:
                yield from _refused_by_model(work, work.type)
            yield from in_config(work)
            yield from _inside(vertex, work, registry, limits)


def _inside(vertex: Vertex, work: Work, registry: Registry, limits: Limits) -> Iterator[Finding]:
    """Check the definition that is written in a call, and lead what is found to where it stands."""
    written = vertex.written if work is vertex.work else vertex.written["compensate"]
    definition = nested.written_in(written.get("type"), written.get("config"))
    if definition is not None:
        document: Json = {"name": "inside", "definition": dict(definition)}
        for each in _findings(document, registry, limits):
            yield replace(each, path=(*work.path, "config", *each.path))


def _around(paths: Iterable[Path]) -> set[Path]:
    """Return the places with everything that holds them."""
    return {path[:length] for path in paths for length in range(1, len(path) + 1)}


def _sizes(outline: Outline, limits: Limits) -> Iterator[Finding]:
    scopes = outline.regions[1:]
    nodes = sum(len(each.nodes) for each in outline.regions)
    edges = sum(len(each.edges) for each in outline.regions)
    hint = "Repeat nodes with a map, or call other workflows."
    for number, limit, name, code, key in (
        (nodes, limits.nodes, "nodes", "definition.too_many_nodes", "nodes"),
        (edges, limits.edges, "edges", "definition.too_many_edges", "edges"),
        (len(scopes), limits.scopes, "bodies of scopes", "definition.too_many_scopes", "nodes"),
    ):
        if number > limit:
            message = f"The definition has {number:,} {name}; at most {limit:,} are accepted."
            yield Finding((*BODY, key), code, message, hint)
    for each in scopes:
        if each.depth == limits.scope_depth + 1:
            message = f"Scopes are nested more than {limits.scope_depth} deep here."
            yield Finding(
                each.path, "definition.scopes_too_deep", message, "Flatten them, or call another workflow."
            )


def _refused_by_model(work: Work, node_type: NodeType) -> Iterator[Finding]:
    """Ask the node type itself about a config that will not change any more, because it holds no expression.

    Its model knows what no schema can say, and would say it only when the node runs.
    """
    try:
        node_type.config.model_validate(work.config)
    except ValidationError as error:
        fields = schema_of(node_type).get("properties", {})
        for path, reason in _reasons(error, work.config).items():
            place = ".".join(map(str, ("config", *path)))
            message = f"`{place}` of {work.words} does not fit: {reason}."
            about = fields.get(path[0], {}).get("description") if path else node_type.summary
            yield Finding((*work.path, "config", *path), "definition.bad_config", message, about)


def _reasons(error: ValidationError, config: Json) -> dict[Path, str]:
    """Return one reason for each place. Of the alternatives a model tried there, the one a person wrote words for."""
    found: dict[Path, str] = {}
    for each in sorted(
        error.errors(include_url=False, include_input=False), key=lambda each: each["type"] in _WORDED
    ):
        found[_within(config, each["loc"])] = each["msg"].removeprefix("Value error, ").rstrip(".")
    return found


def _within(value: Json, path: Path) -> Path:
    """Return the part of a model's path that leads somewhere; models add the names of alternatives to it."""
    found: list[str | int] = []
    for key in path:
        if (isinstance(value, dict) and key in value) or (isinstance(value, list) and isinstance(key, int)):
            value = value[key]  # type: ignore[index]  # looked at just now
            found.append(key)
    return tuple(found)


class _Order:
    """Where findings stand in a document: at each level, the how-manieth."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self._numbers: dict[int, dict[str, int]] = {}

    def of(self, finding: Finding) -> tuple[tuple[int, ...], str]:
        """Return what a finding is sorted by."""
        order: list[int] = []
        here = self._document
        for key in finding.path:
            if isinstance(here, dict) and key in here:
                order.append(self._number(here, str(key)))
                here = here[str(key)]
            elif isinstance(here, list) and isinstance(key, int):
                order.append(key)
                here = here[key]
        return (*order, *(finding.inside or ())), finding.code

    def _number(self, members: dict[str, Json], key: str) -> int:
        """Return the number of a key among its neighbours, numbering these once: an object may have many."""
        if id(members) not in self._numbers:
            self._numbers[id(members)] = {name: number for number, name in enumerate(members)}
        return self._numbers[id(members)][key]


def _problem(finding: Finding, place: tuple[int, int] | None) -> Problem:
    line, column = place or (None, None)
    return Problem(
        pointer(finding.path), finding.code, finding.message, finding.hint, line, column, finding.severity
    )
