"""What waits for a person: listed with its reason and remedy, and decided."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from celeriac.commands import payloads, reach
from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, Url, answering, paint, say, show, when

app = typer.Typer(
    help="What waits for a person: effects of unknown fate, processes that died too often.",
    no_args_is_help=True,
)


class Decision(StrEnum):
    """A person's word."""

    RETRY = "retry"
    DONE = "done"
    FAIL = "fail"


@app.command("list")
def list_(url: Url = None, as_json: AsJson = False) -> None:
    """List what waits for a person, with the reason and what to do."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.attention(200)))["data"]
        show(found, as_json, lambda: "\n\n".join(map(_text, found)))
        if not found:
            say("Nothing waits for you.")


@app.command()
def resolve(
    execution: Annotated[str, typer.Argument(metavar="EXECUTION")],
    segment: Annotated[int, typer.Argument(metavar="SEGMENT", min=0)],
    decision: Annotated[
        Decision, typer.Argument(help="retry: do it again; done: it happened; fail: give up.")
    ],
    output: Annotated[
        str | None,
        typer.Option("--output", metavar="JSON|@FILE", help="With done: the result of what happened."),
    ] = None,
    item: Annotated[str | None, typer.Option("--item", help="Inside a map: which item.")] = None,
    node: Annotated[str | None, typer.Option("--node", help="Of a quarantined segment: which node.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Say what became of it; the execution goes on with that.

    Example: celeriac attention resolve exec_01m80ns36neestyw2tc6xpgqvz 3 done --output '{"id": 7}'
    """
    with answering(as_json):
        body: dict[str, Any] = {"decision": str(decision)}
        if output is not None:
            body["output"] = payloads.read(output, "--output")
        body |= {key: value for key, value in (("item", item), ("node", node)) if value is not None}
        found = drive(reach.ask(url, lambda client: client.resolve(execution, segment, body)))
        show(found, as_json, lambda: f"{execution} goes on: segment {segment} is to {decision}")


def _text(each: dict[str, Any]) -> str:
    return "\n".join(
        (
            f"{paint(each['status'], each['status'])}  {each['workflow']}  {each['node']}  since {when(each['since'])}",
            f"  {each['message']} ({each['code']})",
            f"  {each['hint']}",
        )
    )
