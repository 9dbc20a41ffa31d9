"""A test as its author wrote it: what comes in, what nodes do instead, and what is expected of the execution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from celeriac import Json
from engine.rehearsal.clock import START
from engine.rehearsal.mocks import Mocks


@dataclass(frozen=True, slots=True)
class Expectation:
    """What an execution has to come to. What is not said is not asked, but for the status, which always is."""

    status: str
    has_output: bool = False
    output: Json = None
    partial: bool = False
    error: Mapping[str, Any] | None = None
    answer: Mapping[str, Any] | None = None
    path: Sequence[str] | None = None
    ordered: bool = False
    not_run: Sequence[str] = ()
    calls: Mapping[str, Any] | None = None

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Expectation:
        """Read the JSON form. Whoever expects an error, and says no more, expects a failed execution."""
        return cls(
            status=body.get("status", "failed" if "error" in body else "succeeded"),
            has_output="output" in body,
            output=body.get("output"),
            partial=body.get("match") == "partial",
            error=body.get("error"),
            answer=body.get("answer"),
            path=body.get("path"),
            ordered=body.get("ordered", False),
            not_run=body.get("not_run", ()),
            calls=body.get("calls"),
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """One test. `start` is the time it begins at, in milliseconds since the epoch."""

    name: str
    payload: Json
    mocks: Mocks
    expect: Expectation
    start: int = START

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Trial:
        """Read the JSON form, in which validation has found no mistake."""
        return cls(
            name=body["name"],
            payload=body.get("input", {}),
            mocks=Mocks.parse(body.get("mocks", {})),
            expect=Expectation.parse(body.get("expect", {})),
            start=instant(body["now"]) if "now" in body else START,
        )


def instant(text: str) -> int:
    """Return a time of RFC 3339 in milliseconds since the epoch. Raises `ValueError`."""
    return round(datetime.fromisoformat(text.upper()).timestamp() * 1000)
