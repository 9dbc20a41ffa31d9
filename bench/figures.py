"""What becomes of samples: medians, percentiles, ratios, and the one object that a case and a stack come to."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.cases import Case
from celeriac import Json

_ENOUGH = 100
"""Latencies that a 99th percentile has to be of."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one side: seconds for all its executions, each one's milliseconds where they ran one by one.

    `cpu` is the processor time in microseconds that each role (worker, submitter, ...) took for one execution.
    """

    executions: int
    seconds: float
    latencies: tuple[float, ...] = ()
    cpu: Mapping[str, float] = field(default_factory=dict)

    @property
    def each(self) -> float:
        """Seconds for one execution."""
        return self.seconds / self.executions

    @property
    def cost(self) -> float:
        """Microseconds of processor time for one execution, of all roles."""
        return sum(self.cpu.values())


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` (0 to 1) of the values do not exceed: one that was measured."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def ratio(ours: float, baseline: float, *, higher_is_better: bool) -> float:
    """Return how many times better ours is: above 1 it is better, whatever the unit."""
    return ours / baseline if higher_is_better else baseline / ours


def figure(case: Case, sample: Sample, python: Sample | None = None) -> float:
    """Return what one run comes to, in the unit of the case. `python` is the run of bare Python beside it."""
    if case.unit == "executions/s":
        return sample.executions / sample.seconds
    if case.unit == "x Python":
        if python is None:
            message = f"{case.name} is measured in units of bare Python, which was not run."
            raise ValueError(message)
        return sample.each / python.each
    return statistics.median(sample.latencies)


def outcome(
    case: Case,
    stack: str,
    ours: Sequence[Sample],
    baseline: Sequence[Sample],
    *,
    pool: str,
    load: float,
    python: Sequence[Sample] = (),
) -> dict[str, Json]:
    """Return the object of a case that was run: medians over the runs, and what they were made of."""
    beside: Sequence[Sample | None] = python or [None] * len(ours)
    mine = [figure(case, each, bare) for each, bare in zip(ours, beside, strict=True)]
    theirs = [figure(case, each, bare) for each, bare in zip(baseline, beside, strict=True)]
    body = _body(case, stack, statistics.median(mine), statistics.median(theirs))
    body |= {
        "runs": len(ours),
        "executions": ours[0].executions,
        "baseline_executions": baseline[0].executions,
        "baseline_pool": pool,
        "each_run": _rounded(mine),
        "baseline_each_run": _rounded(theirs),
        "cpu_us_per_execution": _cpu(ours),
        "baseline_cpu_us_per_execution": _cpu(baseline),
        "load": round(load, 2),
    }
    for name, samples in (("p99_ms", ours), ("baseline_p99_ms", baseline)):
        latencies = [ms for each in samples for ms in each.latencies]
        if len(latencies) >= _ENOUGH:
            body[name] = _digits(percentile(latencies, 0.99))
    if case.target_p99 is not None:
        body["target_p99_ms"] = case.target_p99
    if python:
        sides = {"ours": ours, "baseline": baseline, "python": python}
        body["seconds"] = {
            side: _digits(statistics.median(each.each for each in samples)) for side, samples in sides.items()
        }
        body["python_cpu_us_per_execution"] = round(statistics.median(each.cost for each in python))
    return body


def memory(
    case: Case,
    stack: str,
    ours: Sequence[Mapping[str, float]],
    baseline: Sequence[Mapping[str, float]],
    *,
    load: float,
) -> dict[str, Json]:
    """Return the object of the memory case, from megabytes by process, a mapping a run."""
    mine, theirs = ([sum(each.values()) for each in side] for side in (ours, baseline))
    body = _body(case, stack, statistics.median(mine), statistics.median(theirs))
    return body | {
        "runs": len(ours),
        "each_run": _rounded(mine),
        "baseline_each_run": _rounded(theirs),
        "processes": {name: _digits(size) for name, size in ours[-1].items()},
        "baseline_processes": {name: _digits(size) for name, size in baseline[-1].items()},
        "load": round(load, 2),
    }


def door(
    case: Case,
    stack: str,
    ours: Sequence[float],
    bare: Sequence[float],
    more: Mapping[str, float],
    *,
    load: float,
) -> dict[str, Json]:
    """Return the object of a case of the door, from figures in its unit, one a run; `more` is what else was seen."""
    body = _body(case, stack, statistics.median(ours), statistics.median(bare))
    body |= {
        "beside": "the API without them" if case.unit == "MB" else "bare FastAPI",
        "runs": len(ours),
        "each_run": _rounded(ours),
        "baseline_each_run": _rounded(bare),
    }
    body |= {name: _digits(value) for name, value in more.items()}
    if case.target_p99 is not None:
        body["target_p99_ms"] = case.target_p99
    return body | {"load": round(load, 2)}


def skipped(case: Case, stack: str, reason: str) -> dict[str, Json]:
    """Return the object of a case that could not be run."""
    return {"case": case.name, "stack": stack, "skipped": reason}


def _body(case: Case, stack: str, ours: float, baseline: float) -> dict[str, Json]:
    met = None
    if case.target is not None:
        met = ours >= case.target if case.higher_is_better else ours <= case.target
    return {
        "case": case.name,
        "stack": stack,
        "ours": _digits(ours),
        "baseline": _digits(baseline),
        "ratio": _digits(ratio(ours, baseline, higher_is_better=case.higher_is_better)),
        "unit": case.unit,
        "submit": case.submit,
        "target": case.target,
        "target_met": met,
    }


def _digits(value: float) -> float:
    """Return a figure as exact as a noisy machine can tell: three digits."""
    return float(f"{value:.3g}") if abs(value) < 1000 else float(round(value))


def _rounded(values: Sequence[float]) -> list[Json]:
    return [_digits(each) for each in values]


def _cpu(samples: Sequence[Sample]) -> dict[str, Json]:
    """Return the median microseconds of each role, and of all roles together."""
    roles = {role: None for each in samples for role in each.cpu}
    found: dict[str, Json] = {
        role: round(statistics.median(each.cpu.get(role, 0.0) for each in samples)) for role in roles
    }
    found["total"] = round(statistics.median(each.cost for each in samples))
    return found
