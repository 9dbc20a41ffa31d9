"""The outcome as a table for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.table import Table

from bench.cases import CASES


def table(stack: str, versions: str, outcomes: Iterable[dict[str, Any]]) -> Table:
    """Return the table of one stack."""
    titles = {each.name: each.title for each in CASES}
    made = Table(title=f"{stack} ({versions})", title_justify="left", caption_justify="left")
    made.caption = (
        "x: how many times better than the raw canvas of Celery, or for a door than a bare FastAPI "
        "application that does nothing. CPU: all processes of a side, for one execution."
    )
    for name in ("case", "what"):
        made.add_column(name)
    for name in ("ours", "beside", "unit", "x", "target", "p99 ms", "CPU us", "beside's"):
        made.add_column(name, justify="right")
    for each in outcomes:
        made.add_row(each["case"], titles[each["case"]], *_cells(each))
    return made


def _cells(body: dict[str, Any]) -> list[str]:
    if "skipped" in body:
        return ["skipped"]
    target = (
        ""
        if body["target"] is None
        else f"{_text(body['target'])} {'met' if body['target_met'] else 'missed'}"
    )
    tail = f"{_text(body['p99_ms'])} / {_text(body.get('baseline_p99_ms'))}" if "p99_ms" in body else ""
    costs = [
        _text(body[name]["total"]) if name in body else ""
        for name in ("cpu_us_per_execution", "baseline_cpu_us_per_execution")
    ]
    return [
        _text(body["ours"]),
        f"{_text(body['baseline'])}",
        body["unit"],
        _text(body["ratio"]),
        target,
        tail,
        *costs,
    ]


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"
