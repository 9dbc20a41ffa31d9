"""The shapes of what the compiler makes."""

from __future__ import annotations

from collections.abc import Callable

from engine.expressions.error import ExpressionError, Refused
from engine.expressions.evaluation import Evaluation
from engine.expressions.values import Json, Missing

Evaluate = Callable[[Evaluation], Json]
"""An expression."""
Seek = Callable[[Evaluation], Json | Missing]
"""An expression whose value may be absent."""
Write = Callable[[Evaluation, list[str]], None]
"""A statement: it adds to the text so far."""
Fail = Callable[[Refused], ExpressionError]
"""What knows where something was refused."""
