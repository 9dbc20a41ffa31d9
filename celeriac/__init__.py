"""Celeriac: JSON workflows as durable executions. This package is the porch: what an author of node types imports."""

from celeriac.contract import Context, Effect, Expr, Link, NodeType, Retry, node
from celeriac.outcomes import (
    Call,
    Emit,
    Exit,
    Fail,
    Json,
    NodeError,
    OnCallback,
    OnDecision,
    OnEvent,
    Respond,
    Route,
    TryAgain,
    Uncertain,
    Wait,
)

__all__ = [
    "Call",
    "Context",
    "Effect",
    "Emit",
    "Exit",
    "Expr",
    "Fail",
    "Json",
    "Link",
    "NodeError",
    "NodeType",
    "OnCallback",
    "OnDecision",
    "OnEvent",
    "Respond",
    "Retry",
    "Route",
    "TryAgain",
    "Uncertain",
    "Wait",
    "node",
]
