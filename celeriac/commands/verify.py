"""`celeriac verify`: whether the database keeps what was promised."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from celeriac.commands.terminal import FAILED, AsJson, answering, paint, show

if TYPE_CHECKING:
    from engine.verify import Verdict


def verify(as_json: AsJson = False) -> None:
    """Look for broken promises in the database; exit with 1 when there are some. Changes nothing; everything may run."""
    with answering(as_json):
        from engine.settings import from_environment
        from engine.store.database import open_database
        from engine.store.schema import check
        from engine.verify import verify as look

        connection = open_database(from_environment()).connect()
        try:
            check(connection)
            found = look(connection)
        finally:
            connection.close()
        body = {
            "sound": found.sound,
            "executions": found.executions,
            "counts": dict(found.counts),
            "violations": [asdict(each) for each in found.violations],
        }
        show(body, as_json, lambda: _text(found))
        if not found.sound:
            raise typer.Exit(FAILED)


def _text(found: Verdict) -> str:
    if found.sound:
        return f"{found.executions} executions keep every promise"
    lines = []
    for each in found.violations:
        lines += [f"{paint(each.invariant, 'error')} {each.place}: {each.text}", f"    {each.remedy}"]
    counts = ", ".join(f"{name}: {count}" for name, count in found.counts.items())
    return "\n".join(
        [*lines, "", f"{sum(found.counts.values())} violations in {found.executions} executions ({counts})"]
    )
