"""Closures of names and what stands behind them: `a.b`, `a["b"]`, `a[0]`, `a[key]`, `a[1:3]`.

All of them are lookups in JSON. A path that ends early is an error that says where, unless it is compiled to be
tolerant (under `default` or `is defined`): then it comes to `MISSING`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jinja2 import nodes

from engine.expressions.closures import Evaluate, Seek
from engine.expressions.error import (
    NOT_ALLOWED,
    TYPE,
    UNKNOWN_KEY,
    UNKNOWN_NAME,
    VALUE,
    ExpressionError,
    Refused,
)
from engine.expressions.evaluation import Evaluation
from engine.expressions.filters import FILTER_NAMES
from engine.expressions.language import Source
from engine.expressions.references import Path, Reference, written
from engine.expressions.values import KINDS, MISSING, Json, Missing, follow, kind
from engine.nearest import nearest

if TYPE_CHECKING:
    from engine.expressions.compiler import Compiler

LOOP: Final = ("index", "index0", "revindex", "revindex0", "first", "last", "length")
"""What a loop knows about its turn."""

_MAY_BE_ABSENT = "Write `| default(...)` behind it if it may be absent."


def strict(compiler: Compiler, node: nodes.Expr) -> Evaluate:
    """Compile a path that has to lead somewhere."""
    return _path(compiler, node, tolerant=False)  # type: ignore[return-value]  # it raises instead


def tolerant(compiler: Compiler, node: nodes.Expr) -> Seek:
    """Compile a path that may end early."""
    return _path(compiler, node, tolerant=True)


def static(node: nodes.Node) -> Path | None:
    """Return a path if all of it is written down."""
    keys: list[str | int] = []
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        key = node.attr if isinstance(node, nodes.Getattr) else _constant_key(node.arg)
        if key is None:
            return None
        keys.append(key)
        node = node.node
    if isinstance(node, nodes.Name) and node.name != "null":
        return (node.name, *reversed(keys))
    return None


def _constant_key(node: nodes.Node) -> str | int | None:
    if isinstance(node, nodes.Const) and (type(node.value) is str or type(node.value) is int):
        return node.value
    if isinstance(node, nodes.Neg) and isinstance(node.node, nodes.Const) and type(node.node.value) is int:
        return -node.node.value
    return None


def _path(compiler: Compiler, node: nodes.Expr, *, tolerant: bool) -> Seek:
    keys: list[str | int] = []
    base = node
    while isinstance(base, nodes.Getattr | nodes.Getitem):
        key = base.attr if isinstance(base, nodes.Getattr) else _constant_key(base.arg)
        if key is None:
            break
        keys.append(key)
        base = base.node
        compiler.count(base)
    keys.reverse()
    behind = tuple(keys)
    if isinstance(base, nodes.Name):
        return _named(compiler, base, behind, tolerant=tolerant)
    start = (
        _subscript(compiler, base, tolerant=tolerant)
        if isinstance(base, nodes.Getitem)
        else compiler.expression(base)
    )
    return _further(compiler, node, start, ("…", *behind), tolerant=tolerant) if behind else start


def _named(compiler: Compiler, node: nodes.Name, keys: Path, *, tolerant: bool) -> Seek:
    name = node.name
    path: Path = (name, *keys)
    if name == "null":
        return _further(compiler, node, lambda _: None, path, tolerant=tolerant)
    turn = compiler.frame.turn()
    if name == "loop" and turn is not None:
        return _of_turn(compiler, node, turn, keys)
    slots, sure = compiler.frame.find(name)
    if not sure:
        line, column = compiler.source.place(node.lineno)
        guarded = tolerant or bool(slots)
        compiler.references.append(Reference(path, line, column, guarded, compiler.instead))
    if not slots:
        return _of_scope(compiler, node, path, tolerant=tolerant)

    def start(evaluation: Evaluation) -> Json | Missing:
        for slot in slots:
            value = evaluation.slots[slot]
            if value is not MISSING:
                return value
        return MISSING if sure else evaluation.values.get(name, MISSING)

    return _further(compiler, node, start, path, tolerant=tolerant)


def _of_scope(compiler: Compiler, node: nodes.Name, path: Path, *, tolerant: bool) -> Seek:
    source, offset = compiler.source, node.lineno
    name, *keys = path

    def seek(evaluation: Evaluation) -> Json | Missing:
        value: object = evaluation.values.get(name, MISSING)  # type: ignore[arg-type]
        for key in keys:
            # The common case stands here, because a call costs as much as the rest of the turn.
            value = value.get(key, MISSING) if type(value) is dict else follow(value, (key,))
        if type(value) in KINDS:
            return value  # type: ignore[return-value]
        if value is MISSING and tolerant:
            return MISSING
        start = evaluation.values.get(name, MISSING)  # type: ignore[arg-type]
        raise _lost(source, offset, path, start, evaluation)

    return seek


def _further(compiler: Compiler, node: nodes.Expr, start: Seek, path: Path, *, tolerant: bool) -> Seek:
    source, offset = compiler.source, node.lineno
    keys = path[1:]

    def seek(evaluation: Evaluation) -> Json | Missing:
        first = start(evaluation)
        value = follow(first, keys)
        if type(value) in KINDS or (value is MISSING and tolerant):
            return value  # type: ignore[return-value]
        raise _lost(source, offset, path, first, evaluation)

    return seek


def _of_turn(compiler: Compiler, node: nodes.Name, turn: int, keys: Path) -> Evaluate:
    key = keys[0] if len(keys) == 1 else None
    if key not in LOOP:
        guess = nearest(str(key), LOOP)
        hint = f"Did you mean `loop.{guess}`?" if guess else f"It has {', '.join(LOOP)}."
        raise compiler.refuse(NOT_ALLOWED, f"There is no `{written(('loop', *keys))}`.", node, hint)

    def evaluate(evaluation: Evaluation) -> Json:
        number: int = evaluation.slots[turn]  # type: ignore[assignment]
        turns: int = evaluation.slots[turn + 1]  # type: ignore[assignment]
        match key:
            case "index":
                return number + 1
            case "index0":
                return number
            case "revindex":
                return turns - number
            case "revindex0":
                return turns - number - 1
            case "first":
                return number == 0
            case "last":
                return number == turns - 1
            case _:
                return turns

    return evaluate


def _subscript(compiler: Compiler, node: nodes.Getitem, *, tolerant: bool) -> Seek:
    """Compile a lookup whose key is computed."""
    start = compiler.seek(node.node) if tolerant else compiler.expression(node.node)
    if isinstance(node.arg, nodes.Slice):
        return _slice(compiler, node, start)
    index = compiler.expression(node.arg)
    fail = compiler.failure(node, "A lookup", node.node)

    def seek(evaluation: Evaluation) -> Json | Missing:
        container = start(evaluation)
        key = index(evaluation)
        if type(key) is not str and type(key) is not int:
            raise fail(Refused(TYPE, f"needs text or an integer for its key, not {kind(key)}"))
        value = follow(container, (key,))
        if type(value) in KINDS or (value is MISSING and tolerant):
            return value  # type: ignore[return-value]
        if value is not MISSING:
            raise fail(Refused(TYPE, "leads to something that is not JSON"))
        if type(container) is dict and type(key) is str:
            raise fail(Refused(UNKNOWN_KEY, "finds no such key", _MAY_BE_ABSENT))
        if type(container) is list and type(key) is int:
            raise fail(Refused(UNKNOWN_KEY, "finds no such item", _MAY_BE_ABSENT))
        raise fail(Refused(TYPE, f"cannot look into {kind(container)} with {kind(key)}"))

    return seek


def _slice(compiler: Compiler, node: nodes.Getitem, start: Seek) -> Seek:
    cut: nodes.Slice = node.arg  # type: ignore[assignment]
    compiler.count(cut)
    bounds = [None if each is None else compiler.expression(each) for each in (cut.start, cut.stop, cut.step)]
    fail = compiler.failure(node, "A slice", node.node)

    def seek(evaluation: Evaluation) -> Json | Missing:
        value = start(evaluation)
        numbers = [None if bound is None else bound(evaluation) for bound in bounds]
        try:
            return _cut(evaluation, value, numbers)
        except Refused as refused:
            raise fail(refused) from None

    return seek


def _cut(evaluation: Evaluation, value: Json | Missing, numbers: list[Any]) -> Json | Missing:
    for number in numbers:
        if number is not None and type(number) is not int:
            raise Refused(TYPE, f"needs integers, not {kind(number)}")
    if numbers[2] == 0:
        raise Refused(VALUE, "cannot have a step of zero")
    if value is MISSING:
        return MISSING
    piece = slice(*numbers)
    if type(value) is list:
        evaluation.spend(len(range(*piece.indices(len(value)))))
        return value[piece]
    if type(value) is str:
        length = len(range(*piece.indices(len(value))))
        evaluation.build(length if value.isascii() else 4 * length)
        return value[piece]
    raise Refused(TYPE, f"needs a list or text, not {kind(value)}")


def _lost(source: Source, offset: int, path: Path, start: object, evaluation: Evaluation) -> ExpressionError:
    """Return the error that says where a path ends. It names keys that the author wrote, and no others."""
    if start is MISSING:
        name = str(path[0])
        guess = nearest(name, [each for each in evaluation.values if type(each) is str])
        hint = f"Did you mean `{guess}`?" if guess else _MAY_BE_ABSENT
        return source.error(UNKNOWN_NAME, f"There is no `{name}` here.", offset, hint)
    value = start
    for length, key in enumerate(path[1:], 1):
        found = follow(value, (key,))
        if found is MISSING:
            return _stopped(source, offset, written(path[:length]), value, key)
        value = found
    return source.error(TYPE, f"`{written(path)}` is not a JSON value.", offset)


def _stopped(source: Source, offset: int, place: str, value: object, key: str | int) -> ExpressionError:
    if type(value) is dict and type(key) is str:
        guess = nearest(key, [each for each in value if type(each) is str])
        remedy = f"Did you mean `{guess}`?" if guess else _MAY_BE_ABSENT
        return source.error(UNKNOWN_KEY, f"`{place}` has no key `{key}`.", offset, remedy)
    if type(value) is list and type(key) is int:
        return source.error(UNKNOWN_KEY, f"`{place}` has no item {key}.", offset, _MAY_BE_ABSENT)
    if type(value) in KINDS:
        sought = f"key `{key}`" if type(key) is str else f"item {key}"
        hint: str | None = None
        if type(key) is str and key in FILTER_NAMES:
            hint = f"`{key}` is a filter: write `{place} | {key}`."
        elif type(value) is list:
            hint = "Take one item with `[0]`, or a field of all with `map(attribute=...)`."
        return source.error(TYPE, f"`{place}` is {kind(value)} and has no {sought}.", offset, hint)
    return source.error(TYPE, f"`{place}` is not a JSON value.", offset)
