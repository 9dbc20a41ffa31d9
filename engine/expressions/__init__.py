"""The expression language: Jinja2's syntax over JSON values, evaluated by an interpreter of our own.

Read it in this order: `language` turns source into a syntax tree with Jinja2's lexer and parser; `compiler` turns the
tree into closures, with `paths`, `computations`, `calls` and `statements` for its kinds of nodes; `template` is what
the engine holds and evaluates. `values` says what JSON values mean; `filters`, `predicates` and `functions` are the
names that authors may use. docs/expressions.md is the language as its authors see it.
"""

from engine.expressions.error import ExpressionError
from engine.expressions.limits import LIMITS, Limits
from engine.expressions.references import Reference
from engine.expressions.scope import Entropy, Scope, derived_entropy
from engine.expressions.template import (
    Compiled,
    Template,
    compile_expression,
    compile_template,
    compile_value,
    expression_tree,
)
from engine.expressions.values import Json

__all__ = [
    "LIMITS",
    "Compiled",
    "Entropy",
    "ExpressionError",
    "Json",
    "Limits",
    "Reference",
    "Scope",
    "Template",
    "compile_expression",
    "compile_template",
    "compile_value",
    "derived_entropy",
    "expression_tree",
]
