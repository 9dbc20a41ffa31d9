"""All tests of one definition, one after the other, and how much of it they reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from celeriac import Json
from engine.definition import Workflow
from engine.registry import Registry
from engine.rehearsal.coverage import Coverage, coverage
from engine.rehearsal.stage import Performance, Stage
from engine.rehearsal.trial import Trial
from engine.rehearsal.verdict import Miss, misses, summary
from engine.settings import Limits


@dataclass(frozen=True, slots=True)
class Result:
    """What a test came to, and how long it took in milliseconds of whoever waited for it."""

    trial: Trial
    performance: Performance
    misses: Sequence[Miss]
    ms: float

    @property
    def passed(self) -> bool:
        """Whether all was as expected."""
        return not self.misses

    def to_json(self) -> dict[str, Json]:
        """Return the form every surface shows."""
        body: dict[str, Json] = {"name": self.trial.name, "passed": self.passed, "ms": round(self.ms, 2)}
        if self.misses:
            body["misses"] = [each.to_json() for each in self.misses]
            body["seen"] = dict(summary(self.performance))
        return body


@dataclass(frozen=True, slots=True)
class Report:
    """What the tests of a definition came to."""

    results: Sequence[Result]
    coverage: Coverage


def rehearse(
    document: Mapping[str, Any],
    trials: Sequence[Trial],
    registry: Registry,
    seconds: Callable[[], float],
    limits: Limits | None = None,
) -> Report:
    """Perform tests of a definition without mistakes. `seconds` tells how time really passes."""
    with Stage(document, registry, limits=limits) as stage:
        results = []
        for trial in trials:
            began = seconds()
            seen = stage.perform(trial.payload, trial.mocks, trial.start)
            found = misses(trial.expect, seen)
            results.append(Result(trial, seen, found, (seconds() - began) * 1000))
    seen_all = [each.performance for each in results]
    return Report(results, coverage(Workflow.parse(document), stage.plan, seen_all))
