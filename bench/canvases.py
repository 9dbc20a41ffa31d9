"""The other side: the same DAGs as raw Celery canvases, by the book. `celery -A bench.canvases worker` serves them.

Redis carries messages and results, all settings are Celery's own, each node is one task.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, chain, group

from bench.shapes import Chain, Fan, Fibonacci, Shape, fibonacci

BROKER = "BENCH_BROKER_URL"
POOLS = {"prefork": ("-P", "prefork", "-c", "2"), "solo": ("-P", "solo")}

_url = os.environ.get(BROKER, "memory://")
app = Celery(
    "bench", broker=_url, backend=_url if BROKER in os.environ else "disabled://", set_as_current=False
)


@app.task(name="bench.first")
def first() -> int:
    """Return what a chain starts from."""
    return 0


@app.task(name="bench.following")
def following(x: int) -> int:
    """Add one to what the task before returned."""
    return x + 1


@app.task(name="bench.item")
def item(x: int) -> dict[str, int]:
    """Return what one of many returns."""
    return {"x": x}


@app.task(name="bench.joined")
def joined(results: list[dict[str, int]]) -> None:
    """Take what all of many have returned."""


@app.task(name="bench.compute")
def compute(n: int) -> int:
    """Compute a Fibonacci number."""
    return fibonacci(n)


def canvas(shape: Shape, queue: str) -> Any:
    """Return the canvas of a shape, for the workers of a queue."""
    match shape:
        case Chain():
            links = [first.si(), *(following.s() for _ in range(shape.length - 1))]
            return chain(*(each.set(queue=queue) for each in links))
        case Fan():
            items = group(item.si(at).set(queue=queue) for at in range(shape.width))
            return chain(first.si().set(queue=queue), items, joined.s().set(queue=queue))
        case Fibonacci():
            return chain(*(compute.si(shape.n).set(queue=queue) for _ in range(shape.times)))
