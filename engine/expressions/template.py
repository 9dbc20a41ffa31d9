"""Templates: what the strings of a definition become, once, and what is evaluated, often.

Only strings of a stored definition are compiled. What an evaluation returns is plain data of another Python type,
which nothing ever compiles: a template is rendered once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from jinja2 import nodes

from engine.expressions.cache import Cache
from engine.expressions.compiler import Compiler, Program
from engine.expressions.error import NUMBER, SYNTAX, TOO_LARGE, TYPE, ExpressionError, Refused
from engine.expressions.evaluation import Evaluation
from engine.expressions.language import Source, is_plain, parse_expression, parse_template
from engine.expressions.limits import LIMITS, Limits
from engine.expressions.references import Reference
from engine.expressions.scope import Scope
from engine.expressions.values import DEPTH, KINDS, MISSING, Json, follow, kind

CACHED_NODES: Final = 100_000
"""The size of a cache; a node of a syntax tree takes about half a kilobyte."""


class Template:
    """A compiled string. It holds no state: one may be evaluated by many threads."""

    __slots__ = ("_keys", "_limits", "_program", "_root", "_source", "is_static", "references", "source")

    def __init__(self, source: Source, program: Program | None, limits: Limits) -> None:
        self.source = source.text
        self.is_static = program is None
        """Whether it is text without tags, which means itself."""
        self.references: tuple[Reference, ...] = () if program is None else program.references
        """All names that it reads from a scope, in the order of its source."""
        self._source = source
        self._program = program
        self._limits = limits
        path = None if program is None else program.path
        self._root = "" if path is None else str(path[0])
        self._keys = None if path is None else path[1:]

    def evaluate(self, scope: Scope) -> Json:
        """Return its value with the names of this scope; raises `ExpressionError`.

        Values found in the scope are returned as they are, not copied. Nobody may change them.
        """
        if self._keys is not None:
            # Most templates are one path. Where it leads nowhere, the program says why.
            found: object = scope.values.get(self._root, MISSING)
            for key in self._keys:
                found = found.get(key, MISSING) if type(found) is dict else follow(found, (key,))
            if type(found) in KINDS and type(found) is not float:
                return found  # type: ignore[return-value]
        program = self._program
        if program is None:
            return self.source
        try:
            value = program.evaluate(Evaluation(scope, self._limits, program.cost, program.slots))
        except Refused as refused:
            raise self._source.error(
                refused.code, f"The template {refused.reason}.", 0, refused.hint
            ) from None
        except RecursionError:
            raise self._source.error(
                TOO_LARGE, "The template meets data that is nested too deep.", 0
            ) from None
        if type(value) is float and not math.isfinite(value):
            raise self._source.error(NUMBER, "The template comes to a number that JSON cannot hold.", 0)
        return value


class Compiled:
    """A JSON value whose strings were compiled."""

    __slots__ = ("_render", "_value", "is_static", "references")

    def __init__(self, value: Json, render: _Render | None, references: tuple[Reference, ...]) -> None:
        self._value = value
        self._render = render
        self.is_static = render is None
        """Whether no string in it is a template."""
        self.references = references
        """What its templates read, in the order of the value."""

    def render(self, scope: Scope) -> Json:
        """Return the value with each template replaced by its value; raises `ExpressionError`.

        Parts without templates, and values found in the scope, are shared and not copied. Nobody may change them.
        """
        return self._value if self._render is None else self._render(scope)


_Render = Callable[[Scope], Json]

_templates: Final[Cache[Template]] = Cache(CACHED_NODES)
_expressions: Final[Cache[Template]] = Cache(CACHED_NODES)


def compile_template(source: str, limits: Limits = LIMITS) -> Template:
    """Compile a string; raises `ExpressionError`.

    Text without tags means itself. A string that is one `{{ expression }}`, white space around it aside, keeps the
    JSON type of its value. Every other template comes to text.
    """
    if is_plain(source):
        return Template(Source(source), None, limits)
    key = (source, limits)
    template = _templates.get(key)
    if template is None:
        where = Source(source)
        tree = parse_template(where, limits)
        template = _compiled(where, _only_expression(tree) or tree, limits, _templates, key)
    return template


def compile_expression(source: str, limits: Limits = LIMITS) -> Template:
    """Compile a string of which it is known that it is an expression: `a > 3`, or `{{ a > 3 }}`."""
    key = (source, limits)
    template = _expressions.get(key)
    if template is None:
        where = Source(source)
        tree: nodes.Expr | None
        if source.lstrip().startswith("{{"):
            tree = _only_expression(parse_template(where, limits))
            if tree is None:
                message = "Here stands one expression, and no text around it."
                raise where.error(SYNTAX, message, 0, "Write `a > 3` or `{{ a > 3 }}`.")
        else:
            tree = parse_expression(where, limits)
        template = _compiled(where, tree, limits, _expressions, key)
    return template


def expression_tree(source: str, limits: Limits = LIMITS) -> nodes.Expr | None:
    """Return the syntax tree of an expression, in braces or without; None for what is text besides. Raises
    `ExpressionError`.
    """
    where = Source(source)
    if "{{" in source or "{%" in source:
        return _only_expression(parse_template(where, limits))
    return parse_expression(where, limits)


def compile_value(value: Json, limits: Limits = LIMITS) -> Compiled:
    """Compile every string in a JSON value; raises `ExpressionError`, with the string's place as `where`.

    Keys of objects are names, not templates.
    """
    references: list[Reference] = []
    render = _renderer(value, limits, references, 1)
    return Compiled(value, render, tuple(references))


def _compiled(
    source: Source,
    tree: nodes.Expr | list[nodes.Node],
    limits: Limits,
    cache: Cache[Template],
    key: tuple[str, Limits],
) -> Template:
    try:
        program = Compiler(source, limits).program(tree)
    except RecursionError:
        raise source.error(TOO_LARGE, "The template is nested too deep to be compiled.", 0) from None
    template = Template(source, program, limits)
    cache.put(key, template, program.nodes)
    return template


def _only_expression(tree: list[nodes.Node]) -> nodes.Expr | None:
    """Return the expression that is all of a template, if there is one."""
    if len(tree) == 1 and isinstance(tree[0], nodes.Output):
        parts = [
            each
            for each in tree[0].nodes
            if not (isinstance(each, nodes.TemplateData) and each.data.isspace())
        ]
        if len(parts) == 1 and not isinstance(parts[0], nodes.TemplateData):
            return parts[0]
    return None


def _renderer(value: Json, limits: Limits, references: list[Reference], depth: int) -> _Render | None:
    """Return what renders a value, or nothing if it stays as it is."""
    if type(value) is str:
        template = compile_template(value, limits)
        references += template.references
        return None if template.is_static else template.evaluate
    if type(value) is not list and type(value) is not dict:
        if type(value) in KINDS:
            return None
        raise ExpressionError(TYPE, f"Only JSON can be compiled, not {kind(value)}.", "", 1, 1)
    if depth > DEPTH:
        raise ExpressionError(TOO_LARGE, f"The value is nested more than {DEPTH} deep.", "", 1, 1)
    parts: list[tuple[int | str, _Render]] = []
    for key, each in value.items() if type(value) is dict else enumerate(value):
        try:
            render = _renderer(each, limits, references, depth + 1)
        except ExpressionError as error:
            error.where = (key, *error.where)
            raise
        if render is not None:
            parts.append((key, render))
    return _of_parts(value, parts) if parts else None


def _of_parts(value: list[Json] | dict[str, Json], parts: list[tuple[int | str, _Render]]) -> _Render:
    def render(scope: Scope) -> Json:
        rendered = value.copy()
        for key, part in parts:
            try:
                rendered[key] = part(scope)  # type: ignore[index]
            except ExpressionError as error:
                error.where = (key, *error.where)
                raise
        return rendered

    return render
