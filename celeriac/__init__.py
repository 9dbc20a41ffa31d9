"""Celeriac: JSON workflows as durable executions. This package is the porch: what an author of node types imports."""

from celeriac.connections import Carried, ConnectionType, Link, Program, Token, connection
from celeriac.contract import Context, Effect, Expr, NodeType, Retry, node
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
    "Carried",
    "ConnectionType",
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
    "Program",
    "Respond",
    "Retry",
    "Route",
    "Token",
    "TryAgain",
    "Uncertain",
    "Wait",
    "connection",
    "node",
]
