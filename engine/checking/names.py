"""Which names an expression may use, and whether they can have a value where it stands.

What is found here is found before anything runs: a node that does not exist, or that cannot have run by then.
Keys of the payload are the sender's business, unless the definition declares its `inputs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from celeriac import Json
from engine.checking.finding import Finding, Guesses, did_you_mean, listed
from engine.checking.mentions import mentions
from engine.checking.outline import BODY, COLLECTED, REPEATED, Outline, Region, Vertex, Way, Work
from engine.checking.source import Path
from engine.config import with_braces
from engine.definition import TRIGGER
from engine.expressions import ExpressionError, Reference, compile_expression
from engine.nearest import nearest

MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "trigger": (
        "payload",
        "type",
        "id",
        "parent",
        "schedule",
        "scheduled_at",
        "webhook",
        "form",
        "delivery",
        "method",
        "parameters",
        "query",
        "headers",
        "test",
        "event",
        "absent_since",
    ),
    "execution": ("id", "workflow_id", "version", "started_at"),
}
"""The roots that are objects of a fixed shape."""

NODE_MEMBERS: Final = ("output", "error")

_NONE: Final = frozenset[str]()
_REPETITIONS: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "for_each": {"items": _NONE, "until": frozenset({"results", "done", "failed", "count"})},
    "loop": {"initial": _NONE, "while": REPEATED, "until": REPEATED},
}
"""The expressions that repeat a node, with the names that have a value in each."""

KEYS: Final = (("mutex",), ("concurrency", "key"), ("rate", "key"))
"""Where the keys of limits stand in a node."""

_ROOTS: Final = ("nodes", "vars", "trigger", "execution")
"""The roots a payload's key is mistaken for; `item`, `index` and `env` are ordinary enough names of keys."""

_BRACES: Final = len("{{ ")
_MARKS: Final = ("{{", "{%", "{#")


_Words = tuple[str, str, str | None]
"""Code, message and hint."""


@dataclass(frozen=True, slots=True)
class Where:
    """Where an expression stands. `words` name the place; the rest says which nodes may have run by then.

    `reader` is the node of the region that must not have started yet when it reads; with `done` it has just ended
    itself, and when it has `failed`, its error is all there is of it. Without a reader either every node of the region
    has run or, at the `start`, none at all. `names` are those that have a value there and nowhere around it.
    """

    words: str
    region: Region
    reader: str | None = None
    done: bool = False
    failed: bool = False
    start: bool = False
    names: frozenset[str] = frozenset()
    way: Way | None = None
    """The edge, where it is the condition of one."""
    after_failure: bool = False
    """Whether what has run in the region is open, because something in it has failed."""

    @property
    def roots(self) -> frozenset[str]:
        """The names that maps and loops give there."""
        return self.names | self.region.names

    @property
    def outside(self) -> Where | None:
        """The same place as the region around sees it: in the node that owns the region, and has not ended."""
        around, owner = self.region.around, self.region.owner
        if around is None:
            return None
        return Where(
            self.words, around, owner.id if owner else None, failed=self.region.kind in ("catch", "finally")
        )

    def beside(self, name: str) -> Where | None:
        """The same place as the region sees it in which a node stands; None when that is none of those around."""
        here: Where | None = self
        while here is not None and name not in here.region.ids:
            after = here.region.after
            here = (
                here.outside
                if after is None or name not in after.ids
                else Where(self.words, after, after_failure=True)
            )
        return here

    def may_read(self, name: str) -> bool:
        """Whether a node of the region may have run. An edge with a lost end may be the one that is missing."""
        reader, region = self.reader, self.region
        if reader not in region.ids:
            return True
        itself = self.done or name in region.circling
        return (
            (itself if name == reader else region.graph.precedes(name, reader))
            or name in region.leading_astray
            or reader in region.coming_from_nowhere
        )


@dataclass(frozen=True, slots=True)
class Expression:
    """A text that is evaluated: where it stands, and what it reads. `shift` is what was put in front of what the author
    wrote.
    """

    path: Path
    text: str
    shift: int
    where: Where
    references: tuple[Reference, ...]

    def inside(self, reference: Reference) -> tuple[int, int]:
        """Return where in the author's text a reference stands."""
        return _unshifted(reference.line, reference.column, self.shift)


class Names:
    """The names of one definition, and the checks of whoever uses them."""

    def __init__(self, outline: Outline, guesses: Guesses) -> None:
        self._outline = outline
        self._guesses = guesses
        own, shared = outline.body.get("variables"), outline.body.get("project_variables")
        self._own: Mapping[str, Any] = own if isinstance(own, dict) else {}
        self._shared: Mapping[str, Any] = shared if isinstance(shared, dict) else {}
        self._variables = {**self._shared, **self._own}
        self._in_variables = Where("a variable", outline.whole, start=True)
        self._at_start = Where("the key of the workflow's limit", outline.whole, start=True)
        self._payload = _declared(outline.body.get("inputs"))
        self._items = {
            name: each.id for each in outline.vertices if each.is_container for name in each.names - REPEATED
        }
        """The names of the items of maps, each with the map."""
        self.read: list[Expression] = []
        """Every expression that was looked at and can be read."""
        self._roots: dict[tuple[str, frozenset[str], str | int | None], _Words | None] = {}

    def around(self) -> Iterator[Finding]:
        """Yield what is wrong with the expressions outside the configs of nodes."""
        whole = self._outline.whole
        for name, value in self._own.items():
            yield from self._value((*BODY, "variables", name), value, self._in_variables)
        for name in self._shared:
            if name in self._own:
                message = f"{name} is a variable of the definition, and cannot be one of the project, too."
                path = (*BODY, "project_variables", name)
                yield Finding(path, "definition.duplicate_id", message, "Rename one of them.", key=True)
        yield from self._keys(BODY, self._outline.body, self._at_start)
        for path, trigger in self._outline.triggers:
            config = trigger.get("config")
            if (
                trigger.get("type") == "event"
                and isinstance(config, dict)
                and isinstance(config.get("when"), str)
            ):
                where = Where("the filter of a trigger", whole, start=True)
                yield from self._expression((*path, "config", "when"), config["when"], where)
        outputs = self._outline.body.get("outputs")
        yield from self._value((*BODY, "outputs"), outputs, Where("`outputs`", whole))
        for region in self._outline.regions:
            for way in region.ways:
                if way.when is not None:
                    words = f"the edge {way.source} -> {way.target}"
                    names = (
                        region.ids[way.source].names & REPEATED if way.source in region.arriving else _NONE
                    )
                    where = Where(words, region, way.source, done=True, way=way, names=names)
                    if way.source == TRIGGER and region is whole:
                        where = Where("an edge from trigger", region, start=True, way=way)
                    yield from self._expression((*way.path, "when"), way.when, where)
            if region is not whole:
                where = Where(f"the output of {region}", region)
                yield from self._value((*region.path, "output"), region.body.get("output"), where)
            for vertex in region.vertices:
                yield from self._repetition(vertex)
                yield from self._limits(vertex)

    def of_work(self, vertex: Vertex, work: Work) -> tuple[list[Finding], bool]:
        """Return what is wrong with the expressions in the config of a node, or of what undoes it, and whether there are
        any.
        """
        found: list[Finding] = []
        live = False
        braced: Json = work.config if work.type is None else with_braces(work.config, work.type)
        where = Where(vertex.id, vertex.region, vertex.id, names=vertex.names)
        if work is vertex.undoing:
            where = Where(work.words, vertex.region, vertex.id, done=True)
        for path, text, shift in _live((*work.path, "config"), work.config, braced):
            live = True
            found.extend(self._template(path, text, where, shift))
        return found, live

    def _repetition(self, vertex: Vertex) -> Iterator[Finding]:
        """Yield what is wrong with the expressions that say how often a node is repeated, and with what."""
        for holder, parts in _REPETITIONS.items():
            said = vertex.written.get(holder)
            if not isinstance(said, dict):
                continue
            for name, names in parts.items():
                words = f"`{holder}.{name}` of {vertex.id}"
                more = (COLLECTED if vertex.collects else _NONE) | vertex.arrival
                where = Where(words, vertex.region, vertex.id, names=names | more)
                path, value = (*vertex.path, holder, name), said.get(name)
                if name == "initial":
                    yield from self._value(path, value, where)
                elif isinstance(value, str) and value:
                    yield from self._expression(path, value, where)

    def _limits(self, vertex: Vertex) -> Iterator[Finding]:
        """Yield what is wrong with the keys of a node's limits, which hold for each of its repetitions by itself."""
        where = Where(f"the key of a limit of {vertex.id}", vertex.region, vertex.id, names=vertex.names)
        yield from self._keys(vertex.path, vertex.written, where)

    def _keys(self, path: Path, written: Mapping[str, Any], where: Where) -> Iterator[Finding]:
        for place in KEYS:
            holder = written.get(place[0])
            key = holder.get("key") if len(place) > 1 and isinstance(holder, dict) else holder
            if isinstance(key, str):
                yield from self._value((*path, *place), key, where)

    def _value(self, path: Path, value: Json, where: Where) -> Iterator[Finding]:
        for inner, text, _ in _live(path, value, value):
            yield from self._template(inner, text, where)

    def _expression(self, path: Path, text: str, where: Where) -> Iterator[Finding]:
        return self._check(path, text, _read_by_expression, where)

    def _template(self, path: Path, text: str, where: Where, shift: int = 0) -> Iterator[Finding]:
        return self._check(path, text, mentions, where, shift)

    def _check(
        self,
        path: Path,
        text: str,
        read: Callable[[str], tuple[Reference, ...]],
        where: Where,
        shift: int = 0,
    ) -> Iterator[Finding]:
        """Look at every name that a text reads. `shift` is what was put in front of what the author wrote."""
        try:
            references = read(text)
        except ExpressionError as error:
            inside = _unshifted(error.line, error.column, shift)
            yield Finding(path, error.code, error.message, error.hint, inside=inside)
            return
        expression = Expression(path, text, shift, where, references)
        self.read.append(expression)
        for reference in references:
            words = self._wrong(reference, where)
            if words is not None:
                yield Finding(path, *words, inside=expression.inside(reference))

    def _wrong(self, reference: Reference, where: Where) -> _Words | None:
        """Return code, message and hint for a name that has no value there; None for one that can have
        one.
        """
        root, *rest = reference.path
        if root in where.roots:
            return None
        match root:
            case "nodes":
                return self._wrong_node(rest, where)
            case "vars":
                return self._wrong_variable(rest, where)
            case "callback_url":
                return self._wrong_callback(str(rest[0]), where)
            case "trigger" | "execution":
                return self._wrong_member(root, rest, MEMBERS[root])
            case "item" | "index":
                message = f"`{root}` has a value only inside a map or a loop, and {where.words} is in none."
                return "expression.unavailable_name", message, _payload_hint(root)
            case "env":
                message = "`env` is reserved: the environment of a worker is not for definitions to read."
                return (
                    "expression.unavailable_name",
                    message,
                    "Use `variables` for values, a connection for secrets.",
                )
            case _:
                return None if reference.guarded else self._wrong_root(str(root), where.roots, *rest[:1])

    def _wrong_node(self, rest: Sequence[str | int], where: Where) -> _Words | None:
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
        here = where.beside(name)
        if here is None:
            return self._inside(name, where)
        told = here.failed and name == here.reader and rest[1:2] == ["error"]
        if not told and not here.may_read(name):
            return _not_before(name, here, where)
        if len(rest) > 1 and rest[1] not in NODE_MEMBERS:
            hint = did_you_mean(
                self._guesses.nearest(str(rest[1]), NODE_MEMBERS), f"Write nodes.{name}.output.{rest[1]}."
            )
            return "expression.unknown_key", f"A node has `output` and `error`, and no `{rest[1]}`.", hint
        return None

    def _wrong_callback(self, name: str, where: Where) -> _Words | None:
        """Return what is wrong with the address of a node's wait."""
        if name not in self._outline.ids:
            return self._wrong_node([name], where)
        vertex = self._outline.ids[name]
        here = where.beside(name)
        if where.start or vertex.is_container or here is None or here.region.is_apart(name, here.reader):
            message = f"{where.words} cannot tell which wait of {name} is meant."
            return (
                "expression.unavailable_name",
                message,
                f"Use it beside {name}, in the same body or inside.",
            )
        if vertex.work.type is not None and not vertex.work.type.waits:
            message = f"{name} waits for no call."
            return "expression.value", message, 'Name a `wait` with "callback".'
        return None

    def _inside(self, name: str, where: Where) -> _Words:
        """Return what is wrong with reading a node that stands in a body, from outside of that."""
        region = self._outline.ids[name].region
        message = f"{name} stands in {region}, and {where.words} is outside of it."
        around = [*where.region.outwards]
        owner = next(each.owner for each in region.outwards if each.around in around)
        if owner is None or owner in [each.owner for each in around]:
            hint = f"What stands in {region} is read there only."
        elif owner.id != where.reader or where.done:
            hint = f"Read nodes.{owner.id}.output: `output` of the body says what goes out."
        elif where.names:
            hint = f"What it came to so far is in {listed(sorted(where.names))}."
        else:
            hint = f"Read a node before {owner.id}."
        return "expression.inside_scope", message, hint

    def _wrong_variable(self, rest: Sequence[str | int], where: Where) -> _Words | None:
        if where is self._in_variables:
            message = "A variable cannot be made from variables: all of them are computed at once."
            return "expression.unavailable_name", message, "Compute it in a `set` node."
        if where is self._at_start:
            message = f"{_begun(where.words)} is computed before there are variables."
            return "expression.unavailable_name", message, "Read the payload, or `trigger`."
        if not rest or rest[0] in self._variables:
            return None
        names = list(self._variables)
        otherwise = (
            f"There are {listed(names)}."
            if names
            else "Declare it in `variables`, or in `project_variables` if it is one of the project."
        )
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

    def _wrong_root(
        self, name: str, given: frozenset[str], following: str | int | None = None
    ) -> _Words | None:
        """Return what is wrong with a name that has to be a key of the payload. Asked once for each use of it."""
        use = (name, given, following)
        if use not in self._roots:
            self._roots[use] = self._no_key_of_payload(name, given, following)
        return self._roots[use]

    def _no_key_of_payload(
        self, name: str, given: frozenset[str], following: str | int | None
    ) -> _Words | None:
        if self._payload is not None:
            if name in self._payload:
                return None
            if name in self._items:
                message = f"`{name}` has a value only inside the map {self._items[name]}."
                return "expression.unavailable_name", message, _payload_hint(name)
            meant = self._guesses.nearest(name, {*self._payload, *_ROOTS, *given})
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


def _not_before(name: str, here: Where, where: Where) -> _Words:
    """Return what is wrong with reading a node that cannot have run, seen from `here`, beside that node."""
    code = "expression.not_before"
    if name == here.reader and here is where:
        message = f"{name} cannot read its own output: it has none before it has run."
        return code, message, "Read from a node before it."
    if name == here.reader:
        message = f"{_begun(where.words)} is inside {name}, which has no output before all in it has ended."
        hint = f"Its error is nodes.{name}.error." if here.failed else f"Read the nodes in {where.region}."
        return code, message, hint
    follower = "it" if here is where else here.reader
    message = f"{_begun(where.words)} reads from {name}, and no edges lead from {name} to {follower}."
    return code, message, f"Let {here.reader} follow {name}, or read it further on."


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
