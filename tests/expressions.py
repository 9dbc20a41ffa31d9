"""Builders for tests of the expression language."""

from __future__ import annotations

import pytest

from engine import expressions
from engine.expressions import ExpressionError, Json, Scope

NOW_MS = 1_700_000_000_123


def scope(**values: Json) -> Scope:
    return Scope(values, expressions.derived_entropy(b"key", NOW_MS))


def value_of(source: str, **values: Json) -> Json:
    return expressions.compile_template(source).evaluate(scope(**values))


def refusal_of(source: str, **values: Json) -> ExpressionError:
    """Return how a template is refused, when it is compiled or when it is evaluated."""
    with pytest.raises(ExpressionError) as caught:
        value_of(source, **values)
    return caught.value


def code_of(source: str, **values: Json) -> str:
    return refusal_of(source, **values).code
