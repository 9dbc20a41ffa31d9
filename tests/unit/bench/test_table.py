from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from bench.cases import CASES
from bench.figures import Sample, outcome, skipped
from bench.table import table

RATE = next(each for each in CASES if each.name == "W2")
IDLE = next(each for each in CASES if each.name == "idle")


def shown(*bodies: dict[str, Any]) -> list[str]:
    """The rows of a table as words."""
    file = StringIO()
    Console(file=file, width=200).print(table("sqlite", "Valkey 9", bodies))
    lines = [line for line in file.getvalue().splitlines() if line.startswith("│")]
    return [" ".join(line.replace("│", " ").split()) for line in lines]


def test_a_case_is_one_row_with_both_sides_and_their_ratio() -> None:
    ours, baseline = [Sample(100, 0.05, cpu={"worker": 400})], [Sample(20, 2.0, cpu={"worker": 90_000})]
    body = outcome(RATE, "sqlite", ours, baseline, pool="solo", load=0)
    assert shown(body) == ["W2 1 -> 50 -> 1, 100 at once 2,000 10 executions/s 200 200 met 400 90,000"]


def test_latencies_show_their_99th_percentiles() -> None:
    latencies = tuple(float(each) for each in range(1, 101))
    ours, baseline = [Sample(100, 5, latencies)], [Sample(2, 1, latencies[:2])]
    (row,) = shown(outcome(IDLE, "sqlite", ours, baseline, pool="solo", load=0))
    assert "4 missed 99 / -" in row


def test_a_skipped_case_says_so() -> None:
    assert shown(skipped(RATE, "sqlite", "no server")) == ["W2 1 -> 50 -> 1, 100 at once skipped"]
