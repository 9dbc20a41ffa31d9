"""Closures of what is written between expressions: text, `if`, `for` and `set`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from jinja2 import nodes

from engine.expressions.closures import Evaluate, Write
from engine.expressions.error import NOT_ALLOWED, TYPE, VALUE, Refused
from engine.expressions.evaluation import Evaluation
from engine.expressions.values import MISSING, Json, kind, text_of
from engine.expressions.variables import Frame, merged

if TYPE_CHECKING:
    from engine.expressions.compiler import Compiler

Bind = Callable[[Evaluation, Json], None]

_RESERVED = ("loop", "null")


def text(compiler: Compiler, tree: Sequence[nodes.Node]) -> Evaluate:
    """Compile a template whose result is text."""
    body = _body(compiler, tree)

    def evaluate(evaluation: Evaluation) -> Json:
        parts: list[str] = []
        for write in body:
            write(evaluation, parts)
        return "".join(parts)

    return evaluate


def _body(compiler: Compiler, tree: Sequence[nodes.Node]) -> list[Write]:
    writes: list[Write] = []
    for node in tree:
        if isinstance(node, nodes.Output):
            writes += [_output(compiler, each) for each in node.nodes]
            continue
        compile_ = _STATEMENTS.get(type(node))
        if compile_ is None:
            message = "A `set` that spans text is not part of the language."
            raise compiler.refuse(NOT_ALLOWED, message, node, "Write `{% set name = value %}`.")
        compiler.enter(node)
        writes.append(compile_(compiler, node))
        compiler.leave()
    return writes


def _output(compiler: Compiler, node: nodes.Expr) -> Write:
    if isinstance(node, nodes.TemplateData):
        compiler.count(node)
        literal = compiler.source.original(node.lineno, node.data)
        value: Evaluate = lambda _: literal  # noqa: E731 - the shape of an expression
    else:
        value = compiler.expression(node)
    fail = compiler.failure(node, "The template", node)

    def write(evaluation: Evaluation, parts: list[str]) -> None:
        found = value(evaluation)
        try:
            words = text_of(evaluation, found)
            evaluation.write(words)
        except Refused as refused:
            raise fail(refused) from None
        parts.append(words)

    return write


def _if(compiler: Compiler, node: nodes.If) -> Write:
    frame = compiler.frame
    before = dict(frame.names)
    branches: list[tuple[Evaluate, list[Write]]] = []
    outcomes = []
    for each in (node, *node.elif_):
        if each is not node:
            compiler.count(each)
        frame.names = dict(before)
        branches.append((compiler.expression(cast("nodes.Expr", each.test)), _body(compiler, each.body)))
        outcomes.append(frame.names)
    frame.names = dict(before)
    otherwise = _body(compiler, node.else_)
    frame.names = merged([*outcomes, frame.names])

    def write(evaluation: Evaluation, parts: list[str]) -> None:
        chosen = next((body for condition, body in branches if condition(evaluation)), otherwise)
        for each in chosen:
            each(evaluation, parts)

    return write


def _set(compiler: Compiler, node: nodes.Assign) -> Write:
    value = compiler.expression(cast("nodes.Expr", node.node))
    fail = compiler.failure(node, "`set`", node.node)
    bind = _target(compiler, node.target)

    def write(evaluation: Evaluation, _: list[str]) -> None:
        found = value(evaluation)
        try:
            bind(evaluation, found)
        except Refused as refused:
            raise fail(refused) from None

    return write


def _target(compiler: Compiler, node: nodes.Node) -> Bind:
    """Compile what stands left of `=` or `in`: a name, or names separated by commas."""
    compiler.count(node)
    if isinstance(node, nodes.Name):
        slot = _declared(compiler, node)

        def bind_one(evaluation: Evaluation, value: Json) -> None:
            evaluation.slots[slot] = value

        return bind_one
    if not isinstance(node, nodes.Tuple):
        message = "Only names can be set, not keys of an object."
        raise compiler.refuse(NOT_ALLOWED, message, node, "`merge` returns an object with other keys.")
    slots = []
    for each in node.items:
        if not isinstance(each, nodes.Name):
            raise compiler.refuse(NOT_ALLOWED, "Names separated by commas cannot be nested.", node)
        compiler.count(each)
        slots.append(_declared(compiler, each))

    def bind_many(evaluation: Evaluation, value: Json) -> None:
        if type(value) is not list:
            raise Refused(TYPE, f"needs a list for {len(slots)} names, not {kind(value)}")
        if len(value) != len(slots):
            raise Refused(VALUE, f"needs a list of {len(slots)} items for as many names")
        for slot, item in zip(slots, value, strict=True):
            evaluation.slots[slot] = item

    return bind_many


def _declared(compiler: Compiler, node: nodes.Name) -> int:
    if node.name in _RESERVED:
        raise compiler.refuse(NOT_ALLOWED, f"`{node.name}` cannot be set.", node, "Choose another name.")
    return compiler.frame.declare(node.name, compiler.new_slot)


def _for(compiler: Compiler, node: nodes.For) -> Write:
    if node.recursive:
        raise compiler.refuse(NOT_ALLOWED, "A recursive loop is not part of the language.", node)
    sequence = compiler.expression(cast("nodes.Expr", node.iter))
    fail = compiler.failure(node, "`for`", node.iter)
    cost = compiler.cost
    outer = compiler.frame
    frame = compiler.frame = Frame(outer)
    bind = _target(compiler, node.target)
    targets = set(frame.slots.values())
    condition = None if node.test is None else compiler.expression(cast("nodes.Expr", node.test))
    cost_of_test = compiler.cost - cost
    turn = frame.loop = compiler.new_slot()
    compiler.new_slot()
    body = _body(compiler, node.body)
    # What stands in a loop is paid for at every turn, and not once for all.
    cost_of_turn = compiler.cost - cost - cost_of_test + 1
    compiler.cost = cost
    forgotten = [slot for slot in frame.slots.values() if slot not in targets]
    compiler.frame = outer
    before = dict(outer.names)
    otherwise = _body(compiler, node.else_)
    outer.names = merged([before, outer.names])

    def chosen(evaluation: Evaluation, items: list[Json]) -> list[Json]:
        if condition is None:
            return items
        evaluation.spend(len(items) * cost_of_test)
        kept = []
        for item in items:
            bind(evaluation, item)
            if condition(evaluation):
                kept.append(item)
        return kept

    def write(evaluation: Evaluation, parts: list[str]) -> None:
        found = sequence(evaluation)
        slots = evaluation.slots
        try:
            items = chosen(evaluation, _items(evaluation, found))
            slots[turn + 1] = len(items)
            for number, item in enumerate(items):
                evaluation.spend(cost_of_turn)
                for slot in forgotten:
                    slots[slot] = MISSING
                slots[turn] = number
                bind(evaluation, item)
                for each in body:
                    each(evaluation, parts)
        except Refused as refused:
            raise fail(refused) from None
        if not items:
            for each in otherwise:
                each(evaluation, parts)

    return write


def _items(evaluation: Evaluation, value: Json) -> list[Json]:
    """Return what a loop goes over: the items of a list, the keys of an object."""
    if type(value) is list:
        return value
    if type(value) is dict:
        evaluation.spend(len(value))
        return list(value)
    hint = "Write `| default([], true)` behind it if it may be null." if value is None else None
    raise Refused(TYPE, f"needs a list or an object, not {kind(value)}", hint)


_STATEMENTS: Final[dict[type[nodes.Node], Callable[[Compiler, Any], Write]]] = {
    nodes.If: _if,
    nodes.For: _for,
    nodes.Assign: _set,
}
