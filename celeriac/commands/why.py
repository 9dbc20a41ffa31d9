"""`celeriac why`: what an execution waits for, and what helps."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from celeriac.commands import reach
from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, Url, answering, paint, show

Name = Annotated[str, typer.Argument(metavar="EXECUTION", help="Its id.")]


def why(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Say why an execution does not go on: what it waits for, and what holds it."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.why(name)))
        show(found, as_json, lambda: "\n".join(_lines(found)))


def _lines(found: dict[str, Any]) -> list[str]:
    head = f"{paint(found['id'], 'bold')}  {found['workflow']['name']}  {paint(found['status'], found['status'])}"
    lines = [head]
    if not found["waits"]:
        lines.append(f"  {found['summary']}")
    for each in found["waits"]:
        item = f" [{each['item']}]" if each.get("item") else ""
        lines.append(f"  {each['kind']}{item}: {each['message']}")
        if each.get("hint"):
            lines.append(f"      {each['hint']}")
    if found["more"]:
        lines.append(f"  and {found['more']:,} more")
    return lines
