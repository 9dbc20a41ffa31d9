"""An execution that has ended, made into a test: what its effects came to becomes mocks, its result the expectation. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from celeriac import Json
from engine.rehearsal.cast import written

Body = Mapping[str, Any]

_OVER = ("succeeded", "failed", "continued")


def recorded(execution: Body, nodes: Iterable[Body], name: str) -> dict[str, Json]:
    """Return a test. `execution` and `nodes` are what the API tells, with the input and the outputs.

    Pure nodes are left to do again what they did. An attempt that failed before another is known by the first error only, so
    each of them gets that one.
    """
    mocks: dict[str, Json] = {}
    for run in nodes:
        if run["effect"] != "none" and run["started_at"] is not None:
            found = list(_attempts(run, execution))
            mocks.setdefault(written(run["node"]), []).extend(found)  # type: ignore[union-attr]  # a list from here on
    started = datetime.fromtimestamp(execution["created_at"] / 1000, UTC)
    test: dict[str, Json] = {
        "name": name,
        "input": execution["input"],
        "now": started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    if mocks:
        test["mocks"] = mocks
    return {**test, "expect": _expected(execution)}


def _attempts(run: Body, execution: Body) -> Iterator[dict[str, Json]]:
    """Yield a mock for each attempt at a node."""
    place: dict[str, Json] = {"item": run["item"]} if run.get("item") else {}
    failures = run["tries"] - (run["status"] not in ("failed", "continued"))
    for _ in range(max(0, failures)):
        error = run.get("first_error") or run.get("error")
        if error is not None:
            yield {**_error(error), **place}
    if run["status"] == "succeeded":
        yield {"output": run.get("output"), **place}
    elif run["status"] not in _OVER and execution["finished_at"] is not None:
        # It was under way when the execution ended, and is to be again.
        yield {"takes": f"{execution['finished_at'] - run['started_at'] + 1000}ms", **place}


def _error(error: Body) -> dict[str, Json]:
    body: dict[str, Json] = {key: error[key] for key in ("code", "message", "details") if key in error}
    return {"error": body}


def _expected(execution: Body) -> dict[str, Json]:
    status = execution["status"]
    answer: dict[str, Json] = {"answer": execution["answer"]} if "answer" in execution else {}
    if status == "succeeded":
        return {**answer, "output": execution.get("output")}
    error = execution.get("error") or {}
    kept: dict[str, Json] = {key: error[key] for key in ("code", "node") if key in error}
    return {"status": status, **answer, **({"error": kept} if kept else {})}
