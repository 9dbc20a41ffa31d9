"""Celeriac: JSON workflows as durable executions. This package is the porch: what an author of node types imports."""

from celeriac.contract import Context, Effect, Expr, Link, NodeType, Retry, node
from celeriac.outcomes import Call, Exit, Fail, Json, NodeError, Route, TryAgain, Uncertain, Wait

__all__ = [
    "Call",
    "Context",
    "Effect",
    "Exit",
    "Expr",
    "Fail",
    "Json",
    "Link",
    "NodeError",
    "NodeType",
    "Retry",
    "Route",
    "TryAgain",
    "Uncertain",
    "Wait",
    "node",
]
