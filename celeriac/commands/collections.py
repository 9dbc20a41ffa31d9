"""Collections of texts that are found by what they mean: list, remove."""

from __future__ import annotations

from typing import Annotated

import typer

from celeriac.commands import reach
from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, Url, answering, show, table

app = typer.Typer(help="Collections of texts for ai_search: list, remove.", no_args_is_help=True)


@app.command("list")
def list_(url: Url = None, as_json: AsJson = False) -> None:
    """List the collections, with the model of their vectors and how much is in each."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.collections()))
        rows = [
            [each["name"], each["model"], str(each["documents"]), str(each["passages"])] for each in found
        ]
        show(found, as_json, lambda: table(["name", "model", "documents", "passages"], rows))


@app.command()
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME")], url: Url = None, as_json: AsJson = False
) -> None:
    """Remove a collection with all that is in it."""
    with answering(as_json):
        drive(reach.ask(url, lambda client: client.remove_collection(name)))
        show({"name": name, "removed": True}, as_json, lambda: f"{name} is removed")
