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
from typing import TYPE_CHECKING, Any, Final

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
    Refused,
)
from engine.expressions.evaluation import Evaluation
from engine.expressions.filters import ABSENT_WHEN_EMPTY, FILTERS
from engine.expressions.filters.lists import attribute_of, items_of
from engine.expressions.functions import FUNCTIONS
from engine.expressions.predicates import EXISTENCE, PREDICATES
from engine.expressions.values import KINDS, MISSING, Json, Missing, keys_of, kind
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
    "count_by": "`groupby` puts items with the same value together.",
}
"""Filters of Jinja2 that have no place here, and what does."""

_EACH: Final = ("map", "select", "reject", "selectattr", "rejectattr")
"""The filters that apply another filter or test to every item."""


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
    if node.node is None:
        raise compiler.refuse(NOT_ALLOWED, "A filter block is not part of the language.", node)
    name = node.name
    if name in ("default", "d"):
        return _default(compiler, node)
    value = compiler.expression(node.node)
    if name in _EACH:
        return _each(compiler, node, value)
    bound = _bind(compiler, node, _function(compiler, node, name, FILTERS), name, node.args, node.kwargs, 2)
    fail = compiler.failure(node, f"`{name}`", node.node)
    function, arguments = bound.function, bound.arguments
    may_be_absent = name in ABSENT_WHEN_EMPTY

    def evaluate(evaluation: Evaluation) -> Json | Missing:
        subject = value(evaluation)
        given = [argument(evaluation) for argument in arguments] if arguments else ()
        try:
            result = function(evaluation, subject, *given)
        except Refused as refused:
            raise fail(refused) from None
        if type(result) in KINDS or (result is MISSING and tolerant):
            return result  # type: ignore[no-any-return]
        if may_be_absent and result is MISSING:
            raise fail(Refused(VALUE, "finds nothing in an empty list", "Write `| default(...)` behind it."))
        raise fail(Refused(TYPE, "found something that is not JSON"))

    return evaluate


def _default(compiler: Compiler, node: nodes.Filter) -> Evaluate:
    """Compile `default`: its second value is only evaluated when it is needed."""
    seek = compiler.seek(node.node)
    bound = _bind(compiler, node, FILTERS["default"], node.name, node.args, node.kwargs, 2)
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
