"""Variables of a project."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from celeriac.commands import payloads, reach
from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, Url, answering, show, table

app = typer.Typer(help="Variables of a project: set, list, remove.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME")]


@app.command("list")
def list_(url: Url = None, as_json: AsJson = False) -> None:
    """List the project's variables."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.variables()))
        rows = [[each["name"], json.dumps(each["value"], ensure_ascii=False)] for each in found]
        show(found, as_json, lambda: table(["name", "value"], rows))


@app.command("set")
def set_(
    name: Name,
    value: Annotated[
        str, typer.Argument(metavar="JSON|@FILE", help="Any JSON: 10, '\"red\"', '{\"a\": 1}'.")
    ],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Set a variable. Executions that have started keep the value they began with."""
    with answering(as_json):
        given = payloads.read(value, "JSON")
        found = drive(reach.ask(url, lambda client: client.put_variable(name, given)))
        show(found, as_json, lambda: f"{name} is {json.dumps(found['value'], ensure_ascii=False)}")


@app.command()
def remove(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Remove a variable."""
    with answering(as_json):
        drive(reach.ask(url, lambda client: client.remove_variable(name)))
        show({"name": name, "removed": True}, as_json, lambda: f"{name} is removed")
