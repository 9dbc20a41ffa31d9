"""Closures of filters, tests and functions: whatever has a name and arguments.

The names are those of three tables and no others; nothing that a value could be is ever called. Arguments are bound
when the template is compiled, so a wrong one is found before anything runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, Final, cast

from jinja2 import nodes

from engine.expressions import paths
from engine.expressions.closures import Evaluate, Fail, Seek
from engine.expressions.error import (
    ARGUMENTS,
    NOT_ALLOWED,
    TYPE,
    UNKNOWN_FILTER,
    UNKNOWN_FUNCTION,
    UNKNOWN_TEST,
    VALUE,
    ExpressionError,
    Refused,
)
from engine.expressions.evaluation import Evaluation
from engine.expressions.filters import ABSENT_WHEN_EMPTY, EACH, FILTER_NAMES, FILTERS
from engine.expressions.filters.lists import attribute_in, items_of, map_attribute
from engine.expressions.functions import CALLBACK_URL, FUNCTIONS
from engine.expressions.predicates import EXISTENCE, PREDICATES
from engine.expressions.references import Reference
from engine.expressions.values import KINDS, MISSING, Json, Missing, keys_of
from engine.nearest import nearest

if TYPE_CHECKING:
    from engine.expressions.compiler import Compiler

Named = Callable[..., Any]

_METHODS: Final = {
    "strip": "trim",
    "append": "+",
    "extend": "+",
    "update": "merge",
    "find": "contains",
    "index": "contains",
    "includes": "contains",
    "toString": "string",
    "str": "string",
    "toUpperCase": "upper",
    "toLowerCase": "lower",
    "startsWith": "startswith",
    "endsWith": "endswith",
    "filter": "select",
    "len": "length",
    "dict": "fromitems",
    "sorted": "sort",
    "reversed": "reverse",
}
"""What is called elsewhere, and the filter or operator that does it here."""

_ELSEWHERE: Final = {
    "attr": "Write `a.b` or `a['b']`.",
    "safe": "Nothing is escaped unless `escape` says so.",
    "format": "Join text with `~`; `fixed` writes a number with decimals.",
    "random": "`random()` draws a number.",
    "shuffle": "`random()` draws a number.",
    "pprint": "`tojson(indent=2)` writes JSON over several lines.",
}
"""Filters of Jinja2 that have no place here, and what does."""


@dataclass(frozen=True, slots=True)
class _Bound:
    """A filter, test or function with its arguments."""

    function: Named
    arguments: tuple[Evaluate, ...]


def filter_(compiler: Compiler, node: nodes.Filter) -> Evaluate:
    """Compile `value | name(...)`."""
    return _filter(compiler, node, tolerant=False)  # type: ignore[return-value]  # it raises instead


def tolerant_filter(compiler: Compiler, node: nodes.Filter) -> Seek:
    """Compile a filter whose result may be absent."""
    return _filter(compiler, node, tolerant=True)


def _filter(compiler: Compiler, node: nodes.Filter, *, tolerant: bool) -> Seek:
    name = node.name
    subject = cast("nodes.Expr", node.node)  # Only a filter block has none, and it is no expression.
    if name in ("default", "d"):
        return _default(compiler, node, subject)
    if name in EACH:
        return _each(compiler, node, subject)
    value = compiler.expression(subject)
    bound = _bind(compiler, node, _function(compiler, node, name, FILTERS), name, node.args, node.kwargs, 2)
    fail = compiler.failure(node, f"`{name}`", subject)
    function, arguments = bound.function, bound.arguments
    may_be_absent = name in ABSENT_WHEN_EMPTY

    def evaluate(evaluation: Evaluation) -> Json | Missing:
        before = value(evaluation)
        given = [argument(evaluation) for argument in arguments] if arguments else ()
        try:
            result = function(evaluation, before, *given)
        except Refused as refused:
            raise fail(refused) from None
        if type(result) in KINDS or (result is MISSING and tolerant):
            return result  # type: ignore[no-any-return]
        if may_be_absent and result is MISSING:
            raise fail(Refused(VALUE, "finds nothing in an empty list", "Write `| default(...)` behind it."))
        raise fail(Refused(TYPE, "found something that is not JSON"))

    return evaluate


def _default(compiler: Compiler, node: nodes.Filter, subject: nodes.Expr) -> Evaluate:
    """Compile `default`: its second value is only evaluated when it is needed."""
    seek = compiler.seek(subject)
    around, path = compiler.instead, paths.static(subject)
    compiler.instead = around if path is None else (*around, path)
    bound = _bind(compiler, node, FILTERS["default"], node.name, node.args, node.kwargs, 2)
    compiler.instead = around
    fallback, *rest = bound.arguments or (lambda _: "",)
    also_falsy = rest[0] if rest else None

    def evaluate(evaluation: Evaluation) -> Json:
        value = seek(evaluation)
        if isinstance(value, Missing):
            return fallback(evaluation)
        if also_falsy is not None and not value and also_falsy(evaluation):
            return fallback(evaluation)
        return value

    return evaluate


def _each(compiler: Compiler, node: nodes.Filter, subject: nodes.Expr) -> Evaluate:
    """Compile a filter that applies another filter or a test to every item."""
    name = node.name
    value = compiler.expression(subject)
    fail = compiler.failure(node, f"`{name}`", subject)
    if name == "map":
        return _map(compiler, node, value, fail)
    keep = name.startswith("select")
    attribute: Evaluate | None = None
    rest = list(node.args)
    if name.endswith("attr"):
        if not rest:
            message = f"`{name}` needs the name of an attribute."
            raise compiler.refuse(ARGUMENTS, message, node, f"Write `{name}('status', 'eq', 'open')`.")
        attribute = compiler.expression(rest.pop(0))
    holds, tolerant = _condition(compiler, node, rest)

    def evaluate(evaluation: Evaluation) -> Json:
        items = value(evaluation)
        path = None if attribute is None else attribute(evaluation)
        given = [argument(evaluation) for argument in holds.arguments]
        try:
            keys = () if attribute is None else keys_of(path)
            kept = []
            for number, item in enumerate(items_of(evaluation, items)):
                found = attribute_in(item, keys, number, tolerant=tolerant)
                if holds.function(evaluation, found, *given) is keep:
                    kept.append(item)
        except Refused as refused:
            raise fail(refused) from None
        return kept

    return evaluate


def _condition(compiler: Compiler, node: nodes.Filter, arguments: list[nodes.Expr]) -> tuple[_Bound, bool]:
    """Return the test that `select` and its like were given, and whether it asks for existence."""
    if not arguments:
        return _bind(compiler, node, _is_true, node.name, [], node.kwargs, 2), False
    name = _literal_name(compiler, node, arguments[0], "test")
    function = _function(compiler, node, name, PREDICATES)
    return _bind(compiler, node, function, name, arguments[1:], node.kwargs, 2), name in EXISTENCE


def _is_true(_: Evaluation, value: Json) -> bool:
    return bool(value)


def _map(compiler: Compiler, node: nodes.Filter, value: Evaluate, fail: Fail) -> Evaluate:
    if not node.args:
        bound = _bind(compiler, node, map_attribute, "map", [], node.kwargs, 2)
        function, arguments = bound.function, bound.arguments
    else:
        name = _literal_name(compiler, node, node.args[0], "filter")
        if name in EACH:
            message = f"`map` cannot apply `{name}`."
            raise compiler.refuse(NOT_ALLOWED, message, node, "Use a `for` loop, or a node for each step.")
        inner = _function(compiler, node, name, FILTERS)
        arguments = _bind(compiler, node, inner, name, node.args[1:], node.kwargs, 2).arguments

        def function(evaluation: Evaluation, items: Json, *given: Json) -> Json:
            return [_json(inner(evaluation, item, *given)) for item in items_of(evaluation, items)]

    def evaluate(evaluation: Evaluation) -> Json:
        items = value(evaluation)
        given = [argument(evaluation) for argument in arguments]
        try:
            return function(evaluation, items, *given)  # type: ignore[no-any-return]
        except Refused as refused:
            raise fail(refused) from None

    return evaluate


def _json(value: object) -> Json:
    if type(value) in KINDS:
        return value  # type: ignore[return-value]
    raise Refused(VALUE, "finds nothing in one of the items")


def _literal_name(compiler: Compiler, node: nodes.Filter, argument: nodes.Expr, what: str) -> str:
    compiler.count(argument)
    if isinstance(argument, nodes.Const) and type(argument.value) is str:
        return argument.value
    message = f"`{node.name}` needs the name of a {what} in quotes."
    raise compiler.refuse(ARGUMENTS, message, node, "Which one it is may not depend on data.")


def test(compiler: Compiler, node: nodes.Test) -> Evaluate:
    """Compile `value is name(...)`."""
    name = node.name
    predicate = _function(compiler, node, name, PREDICATES)
    if name in EXISTENCE:
        subject = compiler.seek(node.node)
        path = paths.static(node.node)
        if path is not None and not compiler.frame.find(str(path[0]))[1]:
            compiler.tested.add(path)
    else:
        subject = compiler.expression(node.node)
    arguments = _bind(compiler, node, predicate, name, node.args, node.kwargs, 2).arguments
    fail = compiler.failure(node, f"`is {name}`", node.node)

    def evaluate(evaluation: Evaluation) -> Json:
        value = subject(evaluation)
        given = [argument(evaluation) for argument in arguments] if arguments else ()
        try:
            return predicate(evaluation, value, *given)  # type: ignore[no-any-return]
        except Refused as refused:
            raise fail(refused) from None

    return evaluate


def function(compiler: Compiler, node: nodes.Call) -> Evaluate:
    """Compile `name(...)`."""
    target = node.node
    if not isinstance(target, nodes.Name):
        raise _not_callable(compiler, target)
    name = target.name
    called = _function(compiler, target, name, FUNCTIONS)
    arguments = _bind(compiler, node, called, name, node.args, node.kwargs, 1).arguments
    fail = compiler.failure(target, f"`{name}`")
    if name == CALLBACK_URL and node.args and isinstance(node.args[0], nodes.Const):
        line, column = compiler.source.place(node.args[0].lineno)
        compiler.references.append(Reference((name, str(node.args[0].value)), line, column, guarded=False))

    def evaluate(evaluation: Evaluation) -> Json:
        given = [argument(evaluation) for argument in arguments]
        try:
            return called(evaluation, *given)  # type: ignore[no-any-return]
        except Refused as refused:
            raise fail(refused) from None

    return evaluate


def _not_callable(compiler: Compiler, target: nodes.Expr) -> ExpressionError:
    if not isinstance(target, nodes.Getattr):
        hint = f"The functions are {', '.join(FUNCTIONS)}."
        return compiler.refuse(NOT_ALLOWED, "Only functions can be called.", target, hint)
    name = target.attr
    return compiler.refuse(
        NOT_ALLOWED, f"Values have no methods, so no `{name}()`.", target, _as_filter(name)
    )


def _as_filter(name: str) -> str | None:
    spelt = _METHODS.get(name) or (name if name in FILTER_NAMES else nearest(name, FILTER_NAMES))
    if spelt is None:
        return None
    return f"Write `x {spelt} y`." if spelt == "+" else f"Write `x | {spelt}`."


def _function(compiler: Compiler, node: nodes.Expr, name: str, table: Mapping[str, Named]) -> Named:
    found = table.get(name)
    if found is not None:
        return found
    guess = nearest(name, FILTER_NAMES if table is FILTERS else table)
    hint = f"Did you mean `{guess}`?" if guess else None
    if table is FILTERS:
        raise compiler.refuse(
            UNKNOWN_FILTER, f"There is no filter `{name}`.", node, _ELSEWHERE.get(name, hint)
        )
    if table is PREDICATES:
        raise compiler.refuse(UNKNOWN_TEST, f"There is no test `{name}`.", node, hint)
    raise compiler.refuse(UNKNOWN_FUNCTION, f"There is no function `{name}`.", node, hint or _as_filter(name))


def _bind(
    compiler: Compiler,
    node: nodes.Filter | nodes.Test | nodes.Call,
    function: Named,
    name: str,
    positional: Sequence[nodes.Expr],
    keywords: Sequence[nodes.Node],
    given: int,
) -> _Bound:
    """Return the function with its arguments in its own order; the first `given` parameters are not the author's."""
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        message = "Arguments are written one by one; `*` and `**` are not part of the language."
        raise compiler.refuse(NOT_ALLOWED, message, node)
    if not positional and not keywords and _needs_nothing(function, given):
        return _Bound(function, ())
    signature = _signature(function, given)
    for each in keywords:
        compiler.count(each)
    by_position = [compiler.expression(each) for each in positional]
    by_name = {
        each.key: compiler.expression(each.value) for each in keywords if isinstance(each, nodes.Keyword)
    }
    try:
        bound = signature.bind(*by_position, **by_name)
    except TypeError:
        raise compiler.refuse(ARGUMENTS, f"`{name}` takes {_described(signature)}.", node) from None
    arguments: list[Evaluate] = []
    for name_, parameter in signature.parameters.items():
        if parameter.kind is Parameter.VAR_POSITIONAL:
            arguments.extend(bound.arguments.get(name_, ()))
        else:
            arguments.append(bound.arguments.get(name_) or _fixed(parameter.default))
    return _Bound(function, tuple(arguments))


def _fixed(value: Any) -> Evaluate:
    return lambda _: value


@cache
def _signature(function: Named, given: int) -> Signature:
    return Signature(list(inspect.signature(function).parameters.values())[given:])


@cache
def _needs_nothing(function: Named, given: int) -> bool:
    """Return whether a function may be called with what is given alone."""
    return all(
        each.default is not Parameter.empty or each.kind is Parameter.VAR_POSITIONAL
        for each in _signature(function, given).parameters.values()
    )


def _described(signature: Signature) -> str:
    """Return the arguments as a message shows them."""
    words = []
    for each in signature.parameters.values():
        optional = "" if each.default is Parameter.empty else "?"
        words.append(f"{each.name}…" if each.kind is Parameter.VAR_POSITIONAL else each.name + optional)
    return f"({', '.join(words)})" if words else "no arguments"
