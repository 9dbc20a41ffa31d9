"""Types along references: what is known of a node's output before it runs, against what later nodes do with it.

A shape says less than a schema: the types a value may have, and the keys of an object as far as they are known. None
stands for anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from jinja2 import nodes

from celeriac import Json, NodeType
from celeriac.contract import EXPRESSION, RENDERED
from engine.checking.chart import NEVER, Chart
from engine.checking.finding import Finding, listed
from engine.checking.names import Expression
from engine.checking.outline import Outline, Region, Vertex
from engine.checking.source import Path
from engine.config import braced, schema_of
from engine.expressions import ExpressionError, Reference, expression_tree
from engine.expressions.paths import static
from engine.expressions.references import written

_OF_SCHEMA: Final[Mapping[str, str]] = {
    "null": "null",
    "boolean": "true or false",
    "integer": "a number",
    "number": "a number",
    "string": "text",
    "array": "a list",
    "object": "an object",
}
_TRUTH, _LIST, _OBJECT, _NUMBER, _TEXT, _NULL = (
    "true or false",
    "a list",
    "an object",
    "a number",
    "text",
    "null",
)
_WHOLE: Final = re.compile(r"\s*\{\{((?:(?!\{\{|\}\}|\{%).)*)\}\}\s*", re.DOTALL)
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_CONDITIONAL: Final = re.compile(r"\b(?:if|and|or|for|default|d)\b")
_ARITHMETIC: Final[Mapping[type[nodes.Node], tuple[str, frozenset[str]]]] = {
    nodes.Add: ("+", frozenset([_NUMBER, _TEXT, _LIST])),
    nodes.Sub: ("-", frozenset([_NUMBER])),
    nodes.Mul: ("*", frozenset([_NUMBER, _TEXT, _LIST])),
    nodes.Div: ("/", frozenset([_NUMBER])),
    nodes.FloorDiv: ("//", frozenset([_NUMBER])),
    nodes.Mod: ("%", frozenset([_NUMBER])),
}
_OPERATOR: Final = re.compile(r"[-+*/%]")
_PARTS: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_DECIDING: Final = re.compile(r"[=<>]|\b(?:is|not|in|and|or|if)\b")
"""Marks of an expression that is a boolean, or of which that is hard to say."""
_CONSTANTS: Final = frozenset(["true", "false", "none", "null"])
_HANDED_ON: Final = 8
_RESULTS: Final[Mapping[type[nodes.Node], str]] = {
    nodes.List: _LIST,
    nodes.Tuple: _LIST,
    nodes.Dict: _OBJECT,
    nodes.Concat: _TEXT,
    nodes.Sub: _NUMBER,
    nodes.Div: _NUMBER,
    nodes.FloorDiv: _NUMBER,
    nodes.Mod: _NUMBER,
    nodes.Neg: _NUMBER,
    nodes.Pos: _NUMBER,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a value may be. A `closed` object has no other members than those named."""

    kinds: frozenset[str]
    members: Mapping[str, Shape | None] = field(default_factory=dict)
    closed: bool = False

    def __str__(self) -> str:
        """Name it as a person would."""
        return listed(sorted(self.kinds))


def of_value(value: Json) -> Shape:
    """Return the shape of a constant."""
    if isinstance(value, dict):
        return Shape(frozenset([_OBJECT]), {key: of_value(each) for key, each in value.items()}, closed=True)
    return Shape(frozenset([_kind(value)]))


def _kind(value: Json) -> str:
    if value is None:
        return _NULL
    if isinstance(value, bool):
        return _TRUTH
    if isinstance(value, int | float):
        return _NUMBER
    return _TEXT if isinstance(value, str) else _LIST


def of_schema(schema: Any) -> Shape | None:
    """Return the shape of what fits a JSON Schema, as far as the plain keywords say it."""
    if not isinstance(schema, dict):
        return None
    if "const" in schema:
        return of_value(schema["const"])
    said = schema.get("type")
    names = [said] if isinstance(said, str) else said
    if not isinstance(names, list):
        return None
    properties = schema.get("properties")
    members = properties if isinstance(properties, dict) else {}
    closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
    return Shape(
        frozenset(_OF_SCHEMA[each] for each in names),
        {key: of_schema(each) for key, each in members.items()},
        closed,
    )


def _either(one: Shape | None, two: Shape | None) -> Shape | None:
    if one is None or two is None:
        return None
    objects = [each for each in (one, two) if _OBJECT in each.kinds]
    members = dict(objects[0].members) if len(objects) == 1 else {}
    return Shape(one.kinds | two.kinds, members, all(each.closed for each in objects) and len(objects) == 1)


@dataclass(frozen=True, slots=True)
class _Lost:
    """A key that cannot be there: how many keys before it can, and what stands there."""

    depth: int
    shape: Shape


def _follow(shape: Shape | None, keys: Sequence[str | int]) -> Shape | _Lost | None:
    """Return what a path leads to. Null counts as nothing: whether something is there at all is another question."""
    for depth, key in enumerate(keys):
        if shape is None:
            return None
        kinds = shape.kinds - {_NULL}
        if not kinds:
            return None if depth == 0 and _NULL not in shape.kinds else _Lost(depth, shape)
        if isinstance(key, int):
            if kinds.isdisjoint({_LIST, _TEXT}):
                return _Lost(depth, shape)
            return None
        if _OBJECT not in kinds or (kinds == {_OBJECT} and shape.closed and key not in shape.members):
            return _Lost(depth, shape)
        shape = shape.members.get(key)
    return shape


@lru_cache(maxsize=1024)
def _of_type(node_type: NodeType) -> Shape | None:
    return of_schema(node_type.output)


class Types:
    """What the nodes of a definition come to, as far as that can be told."""

    def __init__(self, outline: Outline, charts: Mapping[Region, Chart]) -> None:
        self._outline = outline
        self._charts = charts
        variables = outline.body.get("variables")
        self._variables: Mapping[str, Json] = variables if isinstance(variables, dict) else {}
        self._known: dict[tuple[str | int, ...], Shape | _Lost | None] = {}
        self._deep = 0

    def findings(self, expressions: Iterable[Expression]) -> Iterator[Finding]:
        """Yield what cannot be done with the values there will be."""
        for expression in expressions:
            yield from self._lookups(expression)
        for vertex in self._outline.vertices:
            work = vertex.work
            if "for_each" in vertex.written or (work.type is not None and work.type.decides is not None):
                certain = vertex.region.around is None and not self._is_handled(vertex)
                yield from self._conditions(vertex, certain=certain)
                yield from self._items(vertex, certain=certain)
        for region in self._outline.regions:
            for way in region.ways:
                if way.when is not None:
                    words = f"The condition of the edge {way.source} -> {way.target}"
                    certain = region.around is None
                    yield from self._of_kind((*way.path, "when"), way.when, _TRUTH, words, certain=certain)

    def _is_handled(self, vertex: Vertex) -> bool:
        """Whether something takes over when a node fails."""
        chart = self._charts.get(vertex.region)
        return chart is not None and chart.handles(chart.step[vertex.id])

    def _at(self, path: tuple[str | int, ...]) -> Shape | _Lost | None:
        """Return what a path leads to. A value that is handed on and on is followed for some nodes, and then unknown."""
        if path in self._known:
            return self._known[path]
        if self._deep == _HANDED_ON:
            return None
        self._deep += 1
        match path:
            case ("nodes", str() as name, "output", *keys) if name in self._outline.ids:
                found = self._output(self._outline.ids[name], keys)
            case ("vars", str() as name, *keys) if name in self._variables:
                found = self._rendered(self._variables[name], keys)
            case _:
                found = None
        self._deep -= 1
        self._known[path] = found
        return found

    def _output(self, vertex: Vertex, keys: Sequence[str | int]) -> Shape | _Lost | None:
        """Return what a path leads to in a node's output, whatever comes of the node."""
        if vertex.id in vertex.region.arriving:
            return None  # from outside it is a list, inside what it came to
        found = self._made(vertex, keys)
        if not self._is_handled(vertex) or found is None:
            return found
        said = vertex.written.get("on_error", self._outline.body.get("on_error"))
        if not isinstance(said, dict):
            return found if keys or isinstance(found, _Lost) else _either(found, of_value(None))
        other = _follow(of_value(said["default"]), keys)
        return _either(found, other) if isinstance(found, Shape) and isinstance(other, Shape) else None

    def _made(self, vertex: Vertex, keys: Sequence[str | int]) -> Shape | _Lost | None:
        """Return what a path leads to in the output of a node that succeeds."""
        each, loop = vertex.written.get("for_each"), vertex.written.get("loop")
        if isinstance(each, dict) or isinstance(loop, dict):
            repeated = each or loop or {}
            is_list = (
                repeated.get("collect") is True if loop else repeated.get("on_item_error") != "partition"
            )
            return _follow(Shape(frozenset([_LIST])), keys) if is_list else None
        work = vertex.work
        if work.type is None or work.type.output is None or work.type.output == NEVER:
            return None
        field_ = work.type.output.get(RENDERED)
        if field_ is None:
            return _follow(_of_type(work.type), keys)
        value = work.config.get(str(field_))
        bare = schema_of(work.type).get("properties", {}).get(field_, {}).get(EXPRESSION)
        if bare and not keys:
            return self._evaluated(value)
        return self._rendered(braced(value) if bare and isinstance(value, str) else value, keys)

    def _rendered(self, value: Json, keys: Sequence[str | int] = ()) -> Shape | _Lost | None:
        """Return what a path leads to in what a value comes to, with the expressions in it evaluated."""
        for depth, key in enumerate(keys):
            if not isinstance(value, dict):
                found = self._written(value, keys[depth:])
                return replace(found, depth=found.depth + depth) if isinstance(found, _Lost) else found
            if key not in value:
                return _Lost(depth, Shape(frozenset([_OBJECT]), dict.fromkeys(value), closed=True))
            value = value[str(key)]
        return self._written(value, ())

    def _written(self, value: Json, keys: Sequence[str | int]) -> Shape | _Lost | None:
        if isinstance(value, dict):
            return Shape(frozenset([_OBJECT]), dict.fromkeys(value), closed=True)
        if not isinstance(value, str) or ("{{" not in value and "{%" not in value):
            return _follow(of_value(value), keys)
        whole = _WHOLE.fullmatch(value)
        if whole is None:
            return _follow(Shape(frozenset([_TEXT])), keys)
        plain = whole[1].strip()
        if _PLAIN.fullmatch(plain) is None:
            return None
        path = plain.split(".")
        found = self._at((*path, *keys))
        if not isinstance(found, _Lost):
            return found
        # What is lost before these keys is for whoever wrote the other text to hear.
        depth = found.depth + (3 if path[0] == "nodes" else 2) - len(path)
        return replace(found, depth=depth) if depth >= 0 else None

    def _lookups(self, expression: Expression) -> Iterator[Finding]:
        operates = _OPERATOR.search(expression.text) is not None
        computes = False
        for reference in expression.references:
            path = reference.path
            if path[0] not in ("nodes", "vars") or (len(path) < 4 and not operates and path[0] == "nodes"):
                continue
            found = self._at(path)
            if isinstance(found, _Lost):
                if not reference.guarded:
                    yield self._lost(expression, reference, found)
            elif found is not None:
                computes = computes or _NUMBER not in found.kinds
        if computes:
            for part in _PARTS.findall(expression.text) or [expression.text]:
                if _OPERATOR.search(part):
                    yield from self._arithmetic(expression, part)

    def _lost(self, expression: Expression, reference: Reference, lost: _Lost) -> Finding:
        depth = lost.depth + (3 if reference.path[0] == "nodes" else 2)
        before, key = written(reference.path[:depth]), reference.path[depth]
        if _OBJECT in lost.shape.kinds and not isinstance(key, int):
            message = f"`{before}` has no `{key}`."
            hint = f"It has {listed(sorted(lost.shape.members)) or 'no keys'}."
        else:
            message = f"`{before}` is {lost.shape}, and `{key}` cannot be read from that."
            hint = f"Read `{before}` itself."
        return self._mismatch(
            expression, message, hint, inside=expression.inside(reference), certain=not reference.unless
        )

    def _arithmetic(self, expression: Expression, text: str) -> Iterator[Finding]:
        """Look at what stands beside each operator of an expression."""
        try:
            tree = expression_tree(text)
        except ExpressionError:
            return
        whole = [tree] if isinstance(tree, nodes.BinExpr) else []
        for part in [*whole, *(tree.find_all(nodes.BinExpr) if tree is not None else ())]:
            symbol, fits = _ARITHMETIC.get(type(part), ("", frozenset[str]()))
            for operand in (part.left, part.right) if symbol else ():
                path = static(operand)
                shape = self._at(path) if path is not None else None
                if isinstance(shape, Shape) and shape.kinds.isdisjoint(fits):
                    message = f"`{written(path or ())}` is {shape}, and `{symbol}` cannot compute with that."
                    hint = "Read a number in it, or convert it."
                    yield self._mismatch(expression, message, hint, inside=None, certain=True)

    def _mismatch(
        self,
        expression: Expression,
        message: str,
        hint: str,
        *,
        inside: tuple[int, int] | None,
        certain: bool,
    ) -> Finding:
        """Return a finding; an error if the text is evaluated in any case, and its failure is nobody's."""
        where = expression.where
        reader = where.region.ids.get(where.reader or "")
        handled = reader is not None and self._is_handled(reader)
        certain = certain and where.region.around is None and not handled
        certain = certain and _CONDITIONAL.search(expression.text) is None and "{%" not in expression.text
        return Finding(
            expression.path,
            "type.mismatch",
            message,
            hint,
            inside=inside,
            severity="error" if certain else "warning",
        )

    def _conditions(self, vertex: Vertex, *, certain: bool) -> Iterator[Finding]:
        """Look at the expressions by which a node decides where to go."""
        work = vertex.work
        if work.type is None or work.type.decides is None:
            return
        asked = [each for several in work.type.decides(work.config).values() for each, _ in several]
        if not asked:
            return
        for path, value in _leaves((*work.path, "config"), work.config):
            if any(value is each for each in asked):
                words = f"A condition of {vertex.id}"
                yield from self._of_kind(path, value, _TRUTH, words, certain=certain)

    def _items(self, vertex: Vertex, *, certain: bool) -> Iterator[Finding]:
        each = vertex.written.get("for_each")
        if isinstance(each, dict) and isinstance(each.get("items"), str):
            path, words = (*vertex.path, "for_each", "items"), f"`for_each.items` of {vertex.id}"
            yield from self._of_kind(path, each["items"], _LIST, words, certain=certain)

    def _of_kind(self, path: Path, value: Json, kind: str, words: str, *, certain: bool) -> Iterator[Finding]:
        shape = self._evaluated(value)
        if shape is not None and kind not in shape.kinds:
            message = f"{words} is {shape}, and has to be {kind}."
            hint = (
                "Compare it: `x > 0`, `x is defined`."
                if kind == _TRUTH
                else "Name a list, or write one: `[...]`."
            )
            yield Finding(path, "type.mismatch", message, hint, severity="error" if certain else "warning")

    def _evaluated(self, value: Json) -> Shape | None:
        """Return the shape of a field that is an expression, braces or not."""
        if not isinstance(value, str):
            return of_value(value)
        whole = _WHOLE.fullmatch(value)
        text = whole[1] if whole else value
        if _PLAIN.fullmatch(text.strip()) is not None and text.strip().lower() not in _CONSTANTS:
            found = self._at(tuple(text.strip().split(".")))
            return None if isinstance(found, _Lost) else found
        if "{%" in text or "{{" in text or _DECIDING.search(text):
            return None
        tree = expression_tree(text)
        if isinstance(tree, nodes.Const):
            return of_value(tree.value)
        result = None if tree is None else _RESULTS.get(type(tree))
        return None if result is None else Shape(frozenset([result]))


def _leaves(path: Path, value: Json) -> Iterator[tuple[Path, Json]]:
    """Yield what a config holds, and its place, without the lists and objects around."""
    inner = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    )
    if inner is None:
        yield path, value
    else:
        for key, each in inner:
            yield from _leaves((*path, key), each)
