"""Which names an expression may use, and whether they can have a value where it stands.

What is found here is found before anything runs: a node that does not exist, or that cannot have run by then.
Keys of the payload are the sender's business, unless the definition declares its `inputs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from celeriac import Json
from engine.checking.finding import Finding, Guesses, did_you_mean, listed
from engine.checking.mentions import mentions
from engine.checking.outline import BODY, Outline, Vertex
from engine.checking.source import Path
from engine.config import with_braces
from engine.definition import TRIGGER
from engine.expressions import ExpressionError, Reference, compile_expression
from engine.nearest import nearest

MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "trigger": ("payload", "type", "id"),
    "execution": ("id", "workflow_id", "version", "started_at"),
}
"""The roots that are objects of a fixed shape."""

NODE_MEMBERS: Final = ("output", "error")

_ROOTS: Final = ("nodes", "vars", "trigger", "execution")
"""The roots a payload's key is mistaken for; `item`, `index` and `env` are ordinary enough names of keys."""

_BRACES: Final = len("{{ ")
_MARKS: Final = ("{{", "{%", "{#")


_Words = tuple[str, str, str | None]
"""Code, message and hint."""


@dataclass(frozen=True, slots=True)
class _Where:
    """Where an expression stands. `words` name the place; the rest says which nodes may have run by then.

    `reader` is the node that must not have started yet when it reads; with `done` it has just ended itself.
    Without a reader either every node has run or, at the `start`, none.
    """

    words: str
    reader: str | None = None
    done: bool = False
    start: bool = False


_OUTPUTS: Final = _Where("`outputs`")
_VARIABLES: Final = _Where("a variable", start=True)
_FIRST_EDGE: Final = _Where("an edge from trigger", start=True)


class Names:
    """The names of one definition, and the checks of whoever uses them."""

    def __init__(self, outline: Outline, guesses: Guesses) -> None:
        self._outline = outline
        self._guesses = guesses
        variables = outline.body.get("variables")
        self._variables: Mapping[str, Any] = variables if isinstance(variables, dict) else {}
        self._payload = _declared(outline.body.get("inputs"))
        self._roots: dict[tuple[str, str | int | None], _Words | None] = {}

    def around(self) -> Iterator[Finding]:
        """Yield what is wrong with the expressions outside the nodes: variables, edges and outputs."""
        for name, value in self._variables.items():
            for path, text, _ in _live((*BODY, "variables", name), value, value):
                yield from self._template(path, text, _VARIABLES)
        outputs = self._outline.body.get("outputs")
        for path, text, _ in _live((*BODY, "outputs"), outputs, outputs):
            yield from self._template(path, text, _OUTPUTS)
        for way in self._outline.ways:
            if way.when is not None:
                where = _Where(f"the edge {way.source} -> {way.target}", way.source, done=True)
                where = _FIRST_EDGE if way.source == TRIGGER else where
                yield from self._check((*way.path, "when"), way.when, _read_by_expression, where)

    def of_config(self, vertex: Vertex) -> tuple[list[Finding], bool]:
        """Return what is wrong with the expressions in a node's config, and whether there are any."""
        found: list[Finding] = []
        live = False
        braced: Json = vertex.config if vertex.type is None else with_braces(vertex.config, vertex.type)
        where = _Where(vertex.id, vertex.id)
        for path, text, shift in _live((*vertex.path, "config"), vertex.config, braced):
            live = True
            found.extend(self._template(path, text, where, shift))
        return found, live

    def _template(self, path: Path, text: str, where: _Where, shift: int = 0) -> Iterator[Finding]:
        return self._check(path, text, mentions, where, shift)

    def _check(
        self,
        path: Path,
        text: str,
        read: Callable[[str], tuple[Reference, ...]],
        where: _Where,
        shift: int = 0,
    ) -> Iterator[Finding]:
        """Look at every name that a text reads. `shift` is what was put in front of what the author wrote."""
        try:
            references = read(text)
        except ExpressionError as error:
            inside = _unshifted(error.line, error.column, shift)
            yield Finding(path, error.code, error.message, error.hint, inside=inside)
            return
        for reference in references:
            words = self._wrong(reference, where)
            if words is not None:
                inside = _unshifted(reference.line, reference.column, shift)
                yield Finding(path, *words, inside=inside)

    def _wrong(self, reference: Reference, where: _Where) -> _Words | None:
        """Return code, message and hint for a name that has no value there; None for one that can have
        one.
        """
        root, *rest = reference.path
        match root:
            case "nodes":
                return self._wrong_node(rest, where)
            case "vars":
                return self._wrong_variable(rest, where)
            case "trigger" | "execution":
                return self._wrong_member(root, rest, MEMBERS[root])
            case "item" | "index":
                message = f"`{root}` has a value only inside a map, and {where.words} is in none."
                return "expression.unavailable_name", message, _payload_hint(root)
            case "env":
                message = "`env` is reserved: the environment of a worker is not for definitions to read."
                return (
                    "expression.unavailable_name",
                    message,
                    "Use `variables` for values, a connection for secrets.",
                )
            case _:
                return None if reference.guarded else self._wrong_root(str(root), *rest[:1])

    def _wrong_node(self, rest: Sequence[str | int], where: _Where) -> _Words | None:
        if not rest:
            return None
        name = str(rest[0])
        ids = self._outline.ids
        if name not in ids:
            hint = did_you_mean(self._guesses.nearest(name, ids), f"There are {listed(list(ids))}.")
            return "expression.unknown_node", f"There is no node {name} to read from.", hint
        if where.start:
            message = f"{where.words} is computed before any node runs, so it cannot read from {name}."
            return "expression.not_before", _begun(message), "Read it in a node that follows."
        if where.reader is not None and not self._may_have_run(name, where):
            if name == where.reader:
                message = f"{name} cannot read its own output: it has none before it has run."
                return "expression.not_before", message, "Read from a node before it."
            message = f"{_begun(where.words)} reads from {name}, and no edges lead from {name} to it."
            return (
                "expression.not_before",
                message,
                f"Let {where.reader} follow {name}, or read it further on.",
            )
        if len(rest) > 1 and rest[1] not in NODE_MEMBERS:
            hint = did_you_mean(
                self._guesses.nearest(str(rest[1]), NODE_MEMBERS), f"Write nodes.{name}.output.{rest[1]}."
            )
            return "expression.unknown_key", f"A node has `output` and `error`, and no `{rest[1]}`.", hint
        return None

    def _may_have_run(self, name: str, where: _Where) -> bool:
        """Whether edges lead from a node to the reader. An edge with a lost end may be the one that is
        missing.
        """
        reader = where.reader
        graph = self._outline.graph
        if reader not in graph.successors:
            return True
        return (
            (where.done and name == reader)
            or (name != reader and graph.precedes(name, reader))
            or name in self._leading_astray
            or reader in self._coming_from_nowhere
        )

    @cached_property
    def _leading_astray(self) -> set[str]:
        ids = self._outline.ids
        return self._outline.graph.leading_to(
            each.source for each in self._outline.ways if each.target not in ids
        )

    @cached_property
    def _coming_from_nowhere(self) -> set[str]:
        known = {*self._outline.ids, TRIGGER}
        return self._outline.graph.reachable(
            each.target for each in self._outline.ways if each.source not in known
        )

    def _wrong_variable(self, rest: Sequence[str | int], where: _Where) -> _Words | None:
        if where is _VARIABLES:
            message = "A variable cannot be made from variables: all of them are computed at once."
            return "expression.unavailable_name", message, "Compute it in a `set` node."
        if not rest or rest[0] in self._variables:
            return None
        names = list(self._variables)
        otherwise = f"There are {listed(names)}." if names else "Declare it in `variables`."
        hint = did_you_mean(self._guesses.nearest(str(rest[0]), names), otherwise)
        return "expression.unknown_variable", f"There is no variable {rest[0]}.", hint

    def _wrong_member(self, root: str, rest: Sequence[str | int], members: tuple[str, ...]) -> _Words | None:
        if not rest or rest[0] in members:
            return None
        otherwise = f"It has {listed(list(members))}."
        if root == TRIGGER:
            otherwise = f"What was sent is in trigger.payload: write trigger.payload.{rest[0]}."
        hint = did_you_mean(self._guesses.nearest(str(rest[0]), members), otherwise)
        return "expression.unknown_key", f"`{root}` has no `{rest[0]}`.", hint

    def _wrong_root(self, name: str, following: str | int | None = None) -> _Words | None:
        """Return what is wrong with a name that has to be a key of the payload. Asked once for each use of it."""
        use = (name, following)
        if use not in self._roots:
            self._roots[use] = self._no_key_of_payload(name, following)
        return self._roots[use]

    def _no_key_of_payload(self, name: str, following: str | int | None) -> _Words | None:
        if self._payload is not None:
            if name in self._payload:
                return None
            meant = self._guesses.nearest(name, {*self._payload, *_ROOTS})
            hint = did_you_mean(
                meant, f"Declare it in `inputs`, or use {listed(sorted(self._payload)) or 'a root name'}."
            )
            return (
                "expression.unknown_name",
                f"There is no `{name}`: the payload's keys are declared in `inputs`.",
                hint,
            )
        for root in _ROOTS:
            if _misspells(name, root) or (self._fits(root, following) and nearest(name, _ROOTS) == root):
                message = f"There is no `{name}`, and `{root}` is a name of its own."
                return "expression.unknown_name", message, f"Did you mean {root}? {_payload_hint(name)}"
        return None

    def _fits(self, root: str, following: str | int | None) -> bool:
        """Whether what follows a name belongs to a root, which makes a similar name a misspelling of it."""
        return following in {
            "nodes": self._outline.ids,
            "vars": self._variables,
        }.get(root, MEMBERS.get(root, ()))


def _declared(inputs: Any) -> frozenset[str] | None:
    """Return the payload's keys, where the definition names them."""
    properties = inputs.get("properties") if isinstance(inputs, dict) else None
    return frozenset(properties) if isinstance(properties, dict) else None


def _read_by_expression(text: str) -> tuple[Reference, ...]:
    return compile_expression(text).references


def _live(path: Path, value: Json, braced: Json) -> Iterator[tuple[Path, str, int]]:
    """Yield path and text of every string that is evaluated, and how many characters were put in front of
    it.
    """
    if isinstance(braced, str):
        if any(mark in braced for mark in _MARKS):
            yield path, braced, 0 if braced == value else _BRACES
    elif isinstance(braced, dict) and isinstance(value, dict):
        for key, each in braced.items():
            yield from _live((*path, key), value[key], each)
    elif isinstance(braced, list) and isinstance(value, list):
        for index, (raw, each) in enumerate(zip(value, braced, strict=True)):
            yield from _live((*path, index), raw, each)


def _unshifted(line: int, column: int, shift: int) -> tuple[int, int]:
    return line, max(1, column - shift) if line == 1 else column


def _misspells(name: str, root: str) -> bool:
    """Whether a name is a root in other letters of case, or with one letter too many or too few.

    Less alike is not enough to refuse a definition: `notes` and `codes` are ordinary keys of a payload.
    """
    longer, shorter = sorted((name.lower(), root), key=len, reverse=True)
    if len(longer) - len(shorter) != 1:
        return longer == shorter
    return any(longer[:at] + longer[at + 1 :] == shorter for at in range(len(longer)))


def _payload_hint(name: str) -> str:
    return f"A key of the payload is trigger.payload.{name}."


def _begun(words: str) -> str:
    return words[0].upper() + words[1:] if words.startswith(("a ", "an ", "the ")) else words
