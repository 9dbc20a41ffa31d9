"""Node types that only the benchmark has. A worker loads them by name: `CELERIAC_NODES=nodes,bench.nodes`."""

from __future__ import annotations

from pydantic import BaseModel

from bench.shapes import fibonacci
from celeriac import Context, Effect, Json, NodeType, node


class Passed(BaseModel, extra="forbid"):
    """The number to pass on."""

    x: int


@node("bench_effect", effect=Effect.KEYED)
async def bench_effect(config: Passed, ctx: Context) -> Json:
    """Stand for a call that a receiver knows by its key: everything but the network."""
    return {"x": config.x, "key": ctx.idempotency_key}


class Position(BaseModel, extra="forbid"):
    """Which Fibonacci number to compute."""

    n: int


@node("bench_fibonacci")
def bench_fibonacci(config: Position, _ctx: Context) -> Json:
    """Compute for microseconds, in place."""
    return {"x": fibonacci(config.n)}


@node("bench_fibonacci_in_child", process=True, queue="cpu")
def bench_fibonacci_in_child(config: Position, _ctx: Context) -> Json:
    """Compute for a while, in a child that can be killed."""
    return {"x": fibonacci(config.n)}


NODE_TYPES: tuple[NodeType, ...] = (bench_effect, bench_fibonacci, bench_fibonacci_in_child)
