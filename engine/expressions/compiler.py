"""From syntax tree to closures: what the language allows, and nothing else.

Each kind of node is compiled by one function, named in a table. A kind that has none is refused, so the language is
an allow-list by its shape. Every closure returns a value whose own type is JSON; what stands inside a list or an
object is looked at when something reaches for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import nodes

from engine.expressions import calls, computations, paths, statements
from engine.expressions.closures import Evaluate, Fail, Seek
from engine.expressions.error import NOT_ALLOWED, TOO_LARGE, ExpressionError, Refused
from engine.expressions.filters import ABSENT_WHEN_EMPTY
from engine.expressions.language import Source
from engine.expressions.limits import Limits
from engine.expressions.references import Path, Reference, guard, written
from engine.expressions.variables import Frame


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled template: a closure, and what has to be known before it is called."""

    evaluate: Evaluate
    references: tuple[Reference, ...]
    path: Path | None
    """The whole of it, if it is nothing but a path from a name of the scope."""
    nodes: int
    cost: int
    slots: int


class Compiler:
    """Turns one tree into one program, and keeps count of it."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self.source = source
        self.limits = limits
        self.references: list[Reference] = []
        self.tested: set[Path] = set()
        """The paths that the template asks `is defined` of."""
        self.instead: tuple[Path, ...] = ()
        """The paths in whose absence what is compiled now is evaluated."""
        self.frame = Frame()
        self.cost = 0
        """The steps of one evaluation so far, what stands in loops apart."""
        self._nodes = 0
        self._depth = 0
        self._slots = 0

    def program(self, tree: nodes.Expr | list[nodes.Node]) -> Program:
        """Return the program of an expression, or of the text of a template."""
        path = None
        if isinstance(tree, nodes.Expr):
            evaluate = self.expression(tree)
            path = paths.static(tree)
            if [each.path for each in self.references] != [path]:
                path = None
        else:
            evaluate = statements.text(self, tree)
        references = guard(self.references, self.tested)
        return Program(evaluate, references, path, self._nodes, self.cost, self._slots)

    def expression(self, node: nodes.Expr) -> Evaluate:
        """Compile an expression."""
        compile_ = _EXPRESSIONS.get(type(node))
        if compile_ is None:
            what = _SPELT.get(type(node), f"`{type(node).__name__.lower()}`")
            raise self.refuse(NOT_ALLOWED, f"{what} is not part of the language.", node)
        self.enter(node)
        evaluate = compile_(self, node)
        self.leave()
        return evaluate

    def seek(self, node: nodes.Expr) -> Seek:
        """Compile an expression whose value may be absent: a path, or the first of an empty list."""
        if isinstance(node, nodes.Name | nodes.Getattr | nodes.Getitem):
            self.enter(node)
            seek = paths.tolerant(self, node)
        elif isinstance(node, nodes.Filter) and node.name in ABSENT_WHEN_EMPTY:
            self.enter(node)
            seek = calls.tolerant_filter(self, node)
        else:
            return self.expression(node)
        self.leave()
        return seek

    def count(self, node: nodes.Node) -> None:
        """Take one of the nodes that a template may have."""
        self._nodes += 1
        self.cost += 1
        if self._nodes > self.limits.nodes:
            message = f"The template has more than {self.limits.nodes:,} parts."
            raise self.refuse(TOO_LARGE, message, node, "Split it over several nodes.")

    def enter(self, node: nodes.Node) -> None:
        """Take a node, and go one deeper."""
        self.count(node)
        self._depth += 1
        if self._depth > self.limits.depth:
            message = f"The template is nested more than {self.limits.depth} deep."
            raise self.refuse(TOO_LARGE, message, node, "Split it over several nodes.")

    def leave(self) -> None:
        """Come back from a node that was entered."""
        self._depth -= 1

    def new_slot(self) -> int:
        """Return the number of a place for one more variable."""
        self._slots += 1
        return self._slots - 1

    def refuse(self, code: str, message: str, node: nodes.Node, hint: str | None = None) -> ExpressionError:
        """Return an error at a node."""
        return self.source.error(code, message, node.lineno, hint)

    def failure(self, node: nodes.Node, subject: str, *operands: nodes.Node) -> Fail:
        """Return what turns a refusal at a node into an error that names the paths of its operands."""
        source, offset = self.source, node.lineno
        named = tuple(path for path in map(paths.static, operands) if path is not None)

        def fail(refused: Refused) -> ExpressionError:
            places = " and ".join(f"`{written(path)}`" for path in named)
            message = f"{subject} {refused.reason}{f', at {places}' if places else ''}."
            return source.error(refused.code, message, offset, refused.hint)

        return fail


_SPELT: Final[dict[type[nodes.Node], str]] = {
    nodes.Pow: "`**`",
    nodes.Slice: "A slice among other subscripts",
    nodes.NSRef: "Setting a key",
}
_EXPRESSIONS: Final[dict[type[nodes.Node], Callable[[Compiler, Any], Evaluate]]] = {
    nodes.Const: computations.constant,
    nodes.List: computations.list_,
    nodes.Tuple: computations.list_,
    nodes.Dict: computations.object_,
    nodes.Add: computations.binary,
    nodes.Sub: computations.binary,
    nodes.Mul: computations.binary,
    nodes.Div: computations.binary,
    nodes.FloorDiv: computations.binary,
    nodes.Mod: computations.binary,
    nodes.Neg: computations.sign,
    nodes.Pos: computations.sign,
    nodes.Concat: computations.concatenation,
    nodes.Compare: computations.comparison,
    nodes.And: computations.and_,
    nodes.Or: computations.or_,
    nodes.Not: computations.not_,
    nodes.CondExpr: computations.choice,
    nodes.Name: paths.strict,
    nodes.Getattr: paths.strict,
    nodes.Getitem: paths.strict,
    nodes.Filter: calls.filter_,
    nodes.Test: calls.test,
    nodes.Call: calls.function,
}
