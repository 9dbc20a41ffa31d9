"""Looks into mailboxes, done by the hand of a test."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

from tests.office import Office
from worker.mail import Postman


def postman(at: Office) -> Postman:
    """One whose rounds a test does by hand."""
    bench = at.bench
    parts = SimpleNamespace(
        ledger=bench,
        reader=bench,
        clock=bench.clock,
        registry=bench.registry,
        settings=bench.settings,
        dispatcher=bench.outlet,
    )
    made = Postman.__new__(Postman)
    made.prepare(cast("Any", parts), at.outside)
    return made


async def look(at: Office, seconds: float = 61) -> None:
    at.bench.clock.move(seconds)
    await postman(at).round()
    await at.bench.carry()


def outcomes(at: Office) -> list[Any]:
    rows = at.bench.query("SELECT output FROM execution")
    return sorted((json.loads(each) for (each,) in rows), key=str)
