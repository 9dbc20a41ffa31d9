"""What an exception of a node comes to. Only types and codes are looked at, never the text of a message."""

from __future__ import annotations

from celeriac import Fail, Json, NodeError, TryAgain, Uncertain
from engine.encoding import storable
from engine.errors import CeleriacError
from engine.expressions import ExpressionError
from engine.holds import QUEUE_TIMED_OUT

CRASHED = "node.crashed"
TIMED_OUT = "node.timeout"
HEARTBEAT_TIMED_OUT = "timeout.heartbeat"
OUT_OF_TIME = frozenset({TIMED_OUT, QUEUE_TIMED_OUT, HEARTBEAT_TIMED_OUT})
"""The codes that edges for timeouts are for."""


def error_of(exception: BaseException) -> NodeError:
    """Return the failure as it is recorded."""
    kinds = tuple(
        each.__name__
        for each in type(exception).__mro__
        if issubclass(each, Exception) and each is not Exception
    )
    if isinstance(exception, (Fail, Uncertain)):
        return NodeError(exception.code, exception.message, _details(exception), kinds)
    if isinstance(exception, TryAgain):
        return NodeError(exception.code, exception.message, _details(exception), kinds, exception.after)
    if isinstance(exception, ExpressionError):
        return NodeError(exception.code, str(exception), {}, kinds)
    if isinstance(exception, CeleriacError):
        return NodeError(exception.code, exception.message, dict(exception.details), kinds)
    known = getattr(exception, "error", None)
    if isinstance(known, NodeError):  # it crashed in a child, which has said what it came to
        return known
    return NodeError(CRASHED, f"{type(exception).__name__}: {exception}"[:2000], {}, kinds)


def knows_outcome(exception: BaseException) -> bool:
    """Whether the node itself said how its effect ended. Anything it did not foresee leaves an effect in doubt."""
    if isinstance(exception, CeleriacError):
        return exception.code not in (TIMED_OUT, HEARTBEAT_TIMED_OUT)
    return isinstance(exception, (Fail, TryAgain, ExpressionError))


def _details(exception: Fail | TryAgain | Uncertain) -> dict[str, Json]:
    return {name: storable(value) for name, value in exception.details.items()}
