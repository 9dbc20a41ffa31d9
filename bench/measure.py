"""One case on one stack: ours, then the raw canvas, as often as there are runs, each with its time and its cost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench import figures, processes
from bench.canvases import POOLS
from bench.cases import API, Case
from bench.figures import Sample
from bench.protocol import Driver
from bench.stacks import Roles, Stack, celery_installation, installation
from celeriac import Json

_REST = 2.0
"""Seconds of rest before memory is read."""

_BUDGET = 40.0
"""Seconds of a case after which no further run begins: on a machine that is busy there are fewer of them."""


def measure(case: Case, stack: Stack, runs: int) -> dict[str, Json]:
    """Measure a case on a running stack. Both sides run in turn, so that what disturbs the machine disturbs both."""
    load = os.getloadavg()[0]
    driver = stack.api if case.submit == API else stack.engine
    driver.ask(do="push", shape=case.shape)
    pool = _better_pool(case, stack)
    if case.trial:
        driver.ask(do=case.way, shape=case.shape, count=case.trial)
    ours, baseline, python = [], [], []
    for _ in _within_budget(runs):
        ours.append(_ours(case, stack, driver))
        baseline.append(_baseline(case, stack, pool, case.baseline))
        if case.python:
            python.append(_python(case, stack))
    return figures.outcome(case, stack.name, ours, baseline, pool=pool, load=load, python=python)


def weigh(case: Case, stack: str, runs: int) -> dict[str, Json]:
    """Measure what an installation at rest occupies. Nothing else of ours runs meanwhile."""
    load = os.getloadavg()[0]
    ours, baseline = [], []
    for _ in _within_budget(runs):
        with installation(stack) as roots:
            time.sleep(_REST)
            ours.append(processes.megabytes(roots))
        with celery_installation() as roots:
            time.sleep(_REST)
            baseline.append(processes.megabytes(roots))
    return figures.memory(case, stack, ours, baseline, load=load)


def _within_budget(runs: int) -> Iterator[int]:
    """Count runs, at least one, as long as there is time for them."""
    begun = time.monotonic()
    for number in range(runs):
        if number and time.monotonic() - begun > _BUDGET:
            return
        yield number


def _better_pool(case: Case, stack: Stack) -> str:
    """Return the pool that does a few of the case faster; a first go of each wakes it and counts for nothing."""
    if not case.trial:
        return next(iter(POOLS))
    seconds = {}
    for pool in POOLS:
        _baseline(case, stack, pool, 1)
        seconds[pool] = _baseline(case, stack, pool, case.trial).seconds
    return min(seconds, key=seconds.__getitem__)


def _ours(case: Case, stack: Stack, driver: Driver) -> Sample:
    return _sampled(
        case.executions,
        stack.roles(driver),
        lambda: driver.ask(do=case.way, shape=case.shape, count=case.executions),
    )


def _baseline(case: Case, stack: Stack, pool: str, count: int) -> Sample:
    way = "serial" if case.way == "serial" else "burst"
    return _sampled(
        count,
        stack.baseline_roles(pool),
        lambda: stack.celery.ask(do=way, shape=case.shape, count=count, queue=f"bench-{pool}"),
    )


def _python(case: Case, stack: Stack) -> Sample:
    report = stack.celery.ask(do="python", shape=case.shape, count=case.executions)
    cpu = {"python": report["cpu"] / case.executions * 1_000_000}
    return Sample(case.executions, report["seconds"], cpu=cpu)


def _sampled(count: int, roles: Roles, work: Callable[[], dict[str, Any]]) -> Sample:
    before = processes.snapshot(roles)
    report = work()
    spent = processes.spent(before, processes.snapshot(roles))
    cpu = {role: seconds / count * 1_000_000 for role, seconds in spent.items()}
    return Sample(count, report["seconds"], tuple(report.get("latencies", ())), cpu)
