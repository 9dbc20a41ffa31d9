"""API keys: how programs prove who they are."""

from __future__ import annotations

from typing import Annotated

import typer

from celeriac.commands import reach
from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, Url, answering, say, show, table, when

app = typer.Typer(help="API keys of a project: create, list, revoke.", no_args_is_help=True)


@app.command("list")
def list_(url: Url = None, as_json: AsJson = False) -> None:
    """List the project's keys, each with its beginning and never itself."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.keys()))
        rows = [
            [
                each["name"],
                each["id"],
                f"{each['hint']}...",
                ", ".join(each["scopes"]),
                when(each["used_at"]),
                when(each["expires_at"]),
                "revoked" if each["revoked_at"] else "good",
            ]
            for each in found
        ]
        show(found, as_json, lambda: table(["name", "id", "key", "scopes", "used", "until", "state"], rows))


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What rows and the audit call it.")],
    scopes: Annotated[
        list[str],
        typer.Option(
            "--scope", metavar="SCOPE", help="A permission like execution:start, or a role; repeatable."
        ),
    ],
    days: Annotated[int | None, typer.Option("--days", min=1, help="How long it is good for.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, once.

    Example: celeriac keys create ci --scope execution:start --scope execution:read --days 90
    """
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.create_key(name, scopes, days)))
        if not as_json:
            say(f"{found['id']}, until {when(found['expires_at'])}. Keep it: it is shown nowhere else.")
        show(found, as_json, lambda: str(found["key"]))


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key's id.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a key for ever."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.revoke_key(key)))
        show(found, as_json, lambda: f"{found['name']} is revoked")
