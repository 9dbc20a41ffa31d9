"""What an exception of a node comes to. Only types and codes are looked at, never the text of a message."""

from __future__ import annotations

from celeriac import Fail, NodeError, TryAgain, Uncertain
from engine.errors import CeleriacError
from engine.expressions import ExpressionError

CRASHED = "node.crashed"
TIMED_OUT = "node.timeout"


def error_of(exception: BaseException) -> NodeError:
    """Return the failure as it is recorded."""
    kinds = tuple(
        each.__name__
        for each in type(exception).__mro__
        if issubclass(each, Exception) and each is not Exception
    )
    if isinstance(exception, (Fail, Uncertain)):
        return NodeError(exception.code, exception.message, exception.details, kinds)
    if isinstance(exception, TryAgain):
        return NodeError(exception.code, exception.message, exception.details, kinds, exception.after)
    if isinstance(exception, ExpressionError):
        return NodeError(exception.code, str(exception), {}, kinds)
    if isinstance(exception, CeleriacError):
        return NodeError(exception.code, exception.message, dict(exception.details), kinds)
    return NodeError(CRASHED, f"{type(exception).__name__}: {exception}"[:2000], {}, kinds)


def knows_outcome(exception: BaseException) -> bool:
    """Whether the node itself said how its effect ended. Anything it did not foresee leaves an effect in doubt."""
    return isinstance(exception, (Fail, TryAgain, ExpressionError, CeleriacError))
