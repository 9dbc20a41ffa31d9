"""The one task. Its body never runs in Celery's own way: the pool awaits `Performer.perform` instead."""

from __future__ import annotations

from typing import Any

from engine.canvas import TASK
from worker.application import app


@app.task(name=TASK, ignore_result=True, acks_on_failure_or_timeout=True)
def perform(references: list[Any]) -> None:
    """Perform the segments that references name. Reached only when a foreign pool runs this task."""
    message = "Segments are performed by worker.pool:AsyncPool; do not override worker_pool."
    raise RuntimeError(message)
