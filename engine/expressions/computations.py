"""Closures of literals and operators."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from jinja2 import nodes

from engine.expressions import operators
from engine.expressions.closures import Evaluate, Fail
from engine.expressions.error import NOT_ALLOWED, NUMBER, SYNTAX, TOO_LARGE, TYPE, Refused
from engine.expressions.evaluation import Evaluation
from engine.expressions.values import Json, equal, kind

if TYPE_CHECKING:
    from engine.expressions.compiler import Compiler

_BINARY: Final[dict[type[nodes.Node], tuple[str, operators.Binary]]] = {
    nodes.Add: ("+", operators.add),
    nodes.Sub: ("-", operators.subtract),
    nodes.Mul: ("*", operators.multiply),
    nodes.Div: ("/", operators.divide),
    nodes.FloorDiv: ("//", operators.divide_whole),
    nodes.Mod: ("%", operators.remainder),
}
_COMPARISONS: Final[dict[str, tuple[str, operators.Binary]]] = {
    "eq": ("==", equal),
    "ne": ("!=", operators.unequal),
    "lt": ("<", operators.less),
    "lteq": ("<=", operators.at_most),
    "gt": (">", operators.greater),
    "gteq": (">=", operators.at_least),
    "in": ("in", operators.within),
    "notin": ("not in", operators.not_within),
}


def constant(compiler: Compiler, node: nodes.Const) -> Evaluate:
    """Compile a literal that JSON can hold."""
    value: Json = node.value
    if type(value) is str:
        if not value.isascii():
            value = _paired(compiler, node, value)
        if "\0" in value:
            raise compiler.refuse(SYNTAX, "Text cannot hold the character NUL.", node)
    elif type(value) is float and not math.isfinite(value):
        raise compiler.refuse(NUMBER, "The number is too large for JSON.", node)
    elif type(value) is int and value.bit_length() > compiler.limits.int_bits:
        message = f"An integer has more than {compiler.limits.int_bits:,} bits."
        raise compiler.refuse(TOO_LARGE, message, node)
    return lambda _: value


def _paired(compiler: Compiler, node: nodes.Const, text: str) -> str:
    """Return text in which two halves of a character, written as escapes as JSON does, are one."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise compiler.refuse(SYNTAX, "Text in quotes holds half a surrogate pair.", node) from None


def list_(compiler: Compiler, node: nodes.List | nodes.Tuple) -> Evaluate:
    """Compile a list; a tuple is one."""
    items = [compiler.expression(each) for each in node.items]
    return lambda evaluation: [item(evaluation) for item in items]


def object_(compiler: Compiler, node: nodes.Dict) -> Evaluate:
    """Compile an object; its keys are text."""
    pairs = []
    for pair in node.items:
        compiler.count(pair)
        pairs.append((compiler.expression(pair.key), compiler.expression(pair.value)))
    fail = compiler.failure(node, "An object")

    def evaluate(evaluation: Evaluation) -> Json:
        made: dict[str, Json] = {}
        for key, value in pairs:
            name = key(evaluation)
            if type(name) is not str:
                raise fail(Refused(TYPE, f"needs text for its keys, not {kind(name)}"))
            made[name] = value(evaluation)
        return made

    return evaluate


def binary(compiler: Compiler, node: nodes.BinExpr) -> Evaluate:
    """Compile an arithmetic operator."""
    symbol, operation = _BINARY[type(node)]
    left, right = compiler.expression(node.left), compiler.expression(node.right)
    return _between(operation, left, right, compiler.failure(node, f"`{symbol}`", node.left, node.right))


def _between(operation: operators.Binary, left: Evaluate, right: Evaluate, fail: Fail) -> Evaluate:
    def evaluate(evaluation: Evaluation) -> Json:
        one = left(evaluation)
        other = right(evaluation)
        try:
            return operation(evaluation, one, other)
        except Refused as refused:
            raise fail(refused) from None

    return evaluate


def sign(compiler: Compiler, node: nodes.UnaryExpr) -> Evaluate:
    """Compile plus and minus in front of a number."""
    operation = operators.negate if isinstance(node, nodes.Neg) else operators.affirm
    operand = compiler.expression(node.node)
    fail = compiler.failure(node, "A sign", node.node)

    def evaluate(evaluation: Evaluation) -> Json:
        value = operand(evaluation)
        try:
            return operation(evaluation, value)
        except Refused as refused:
            raise fail(refused) from None

    return evaluate


def concatenation(compiler: Compiler, node: nodes.Concat) -> Evaluate:
    """Compile `~`."""
    parts = [compiler.expression(each) for each in node.nodes]
    fail = compiler.failure(node, "`~`", *node.nodes)

    def evaluate(evaluation: Evaluation) -> Json:
        values = [part(evaluation) for part in parts]
        try:
            return operators.joined(evaluation, values)
        except Refused as refused:
            raise fail(refused) from None

    return evaluate


def comparison(compiler: Compiler, node: nodes.Compare) -> Evaluate:
    """Compile a comparison, or a chain like `0 < a < 10`, which ends at the first that does not hold."""
    before, first = node.expr, compiler.expression(node.expr)
    links: list[tuple[operators.Binary, Evaluate, Fail]] = []
    for each in node.ops:
        compiler.count(each)
        symbol, operation = _COMPARISONS[each.op]
        right = compiler.expression(each.expr)
        links.append((operation, right, compiler.failure(node.expr, f"`{symbol}`", before, each.expr)))
        before = each.expr
    if len(links) == 1:
        operation, right, fail = links[0]
        return _between(operation, first, right, fail)

    def evaluate(evaluation: Evaluation) -> Json:
        one = first(evaluation)
        for operation, right, fail in links:
            other = right(evaluation)
            try:
                holds = operation(evaluation, one, other)
            except Refused as refused:
                raise fail(refused) from None
            if not holds:
                return False
            one = other
        return True

    return evaluate


def and_(compiler: Compiler, node: nodes.And) -> Evaluate:
    """Compile `and`: the first value that counts as false, or the last."""
    left, right = compiler.expression(node.left), compiler.expression(node.right)

    def evaluate(evaluation: Evaluation) -> Json:
        return left(evaluation) and right(evaluation)

    return evaluate


def or_(compiler: Compiler, node: nodes.Or) -> Evaluate:
    """Compile `or`: the first value that counts as true, or the last."""
    left, right = compiler.expression(node.left), compiler.expression(node.right)

    def evaluate(evaluation: Evaluation) -> Json:
        return left(evaluation) or right(evaluation)

    return evaluate


def not_(compiler: Compiler, node: nodes.Not) -> Evaluate:
    """Compile `not`."""
    operand = compiler.expression(node.node)
    return lambda evaluation: not operand(evaluation)


def choice(compiler: Compiler, node: nodes.CondExpr) -> Evaluate:
    """Compile `x if condition else y`.

    Without `else` it would have no value, which text would show as nothing and JSON cannot hold: the author says.
    """
    if node.expr2 is None:
        message = "An `if` inside an expression needs an `else`."
        raise compiler.refuse(NOT_ALLOWED, message, node, "Write `else none`, or `else ''` inside text.")
    condition = compiler.expression(node.test)
    chosen, other = compiler.expression(node.expr1), compiler.expression(node.expr2)
    return lambda evaluation: chosen(evaluation) if condition(evaluation) else other(evaluation)
