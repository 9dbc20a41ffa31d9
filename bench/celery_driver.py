"""Submits raw Celery canvases and waits for their results, as a program on Celery does; and computes in bare Python."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bench.canvases import canvas
from bench.protocol import PATIENCE, Order, Report, serve
from bench.shapes import SHAPES, Fibonacci, fibonacci

_BREATH = 0.005
"""Seconds between canvases that are measured one by one, so that each finds an idle worker."""


class WrongResult(Exception):
    """A canvas came to something else than it has to."""


def handle(order: Order) -> Report:
    """Do what is asked: run a shape as a `burst` or in a `serial` way, or in bare `python`."""
    ways: dict[str, Callable[..., Report]] = {"burst": burst, "serial": serial, "python": python}
    return ways[order.pop("do")](**order)


def burst(shape: str, count: int, queue: str) -> Report:
    """Submit all at once, and wait for all results."""
    begun = time.perf_counter()
    # A canvas sent a second time keeps its ids, and would find the results of the first.
    results = [canvas(SHAPES[shape], queue).apply_async() for _ in range(count)]
    submitted = time.perf_counter()
    for each in results:
        _check(shape, each.get(timeout=PATIENCE - 10))
    return {"seconds": time.perf_counter() - begun, "submitted": submitted - begun}


def serial(shape: str, count: int, queue: str) -> Report:
    """Run one after the other, each submitted to an idle worker."""
    latencies = []
    for _ in range(count):
        time.sleep(_BREATH)
        begun = time.perf_counter()
        result = canvas(SHAPES[shape], queue).apply_async().get(timeout=PATIENCE - 10)
        latencies.append((time.perf_counter() - begun) * 1000)
        _check(shape, result)
    return {"seconds": sum(latencies) / 1000, "latencies": latencies}


def python(shape: str, count: int) -> Report:
    """Compute what a shape computes, in a plain loop."""
    work = SHAPES[shape]
    if not isinstance(work, Fibonacci):
        message = f"There is nothing to compute in {shape}."
        raise TypeError(message)
    begun, cost = time.perf_counter(), time.process_time()
    for _ in range(count * work.times):
        fibonacci(work.n)
    return {"seconds": time.perf_counter() - begun, "cpu": time.process_time() - cost}


def _check(shape: str, result: Any) -> None:
    if result != SHAPES[shape].result():
        message = f"The canvas of {shape} came to {result!r}."
        raise WrongResult(message)


if __name__ == "__main__":
    serve(handle)
