"""Events: published, so that what waits for them goes on."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from celeriac.commands import payloads, reach
from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, Url, answering, show

app = typer.Typer(help="Events that executions wait for.", no_args_is_help=True)


@app.callback()
def events() -> None:
    """Group the commands, although there is one."""


@app.command()
def publish(
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="Like order.paid.")],
    correlation: Annotated[str, typer.Option("--correlation", help="What it is about.")] = "",
    data: Annotated[str | None, typer.Option("--data", metavar="JSON|@FILE", help="What it says.")] = None,
    key: Annotated[str | None, typer.Option("--id", help="Publish it once under this id.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Publish an event. Waits that listen to it end.

    Example: celeriac events publish order.paid --correlation 4711 --data '{"sum": 12}'
    """
    with answering(as_json):
        body: dict[str, Any] = {"type": type_, "correlation": correlation}
        if data is not None:
            body["data"] = payloads.read(data, "--data")
        if key is not None:
            body["id"] = key
        found = drive(reach.ask(url, lambda client: client.publish(body)))
        show(found, as_json, lambda: _text(found))


def _text(found: dict[str, Any]) -> str:
    if found["duplicate"]:
        return f"It was published before, as {found['id']}."
    waits = "1 wait" if found["woken"] == 1 else f"{found['woken']} waits"
    return f"{found['id']} ended {waits}."
