"""Connections: credentials for nodes. Secret values come from a prompt, a file or stdin, and never from the command line,
which every user of the machine can read.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from celeriac.commands import reach, secret
from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, Url, answering, refuse, show, table, when

app = typer.Typer(help="Credentials for nodes: add, list, remove.", no_args_is_help=True)


class Kind(StrEnum):
    """What a connection adds to a request."""

    BASIC = "basic"
    BEARER = "bearer"
    API_KEY = "api_key"


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What nodes call it.")],
    kind: Annotated[Kind, typer.Option("--kind", help="What it adds to a request.")],
    hosts: Annotated[
        list[str],
        typer.Option("--host", metavar="HOST", help="A host it may be used with, like *.example.com."),
    ],
    username: Annotated[str | None, typer.Option("--username", help="basic: the user's name.")] = None,
    header: Annotated[str | None, typer.Option("--header", help="api_key: the header to send it in.")] = None,
    query: Annotated[
        str | None, typer.Option("--query", help="api_key: the parameter to send it in.")
    ] = None,
    secret_file: Annotated[
        str | None,
        typer.Option("--secret-file", metavar="FILE|-", help="Where the secret is; - is stdin."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of one of this name.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Store a connection. Its secret (password, token or key) is asked for, or read from a file.

    Example: celeriac connections add crm --kind bearer --host api.example.com
    """
    with answering(as_json):
        values = _values(kind, username, header, query)
        values[{"basic": "password", "bearer": "token", "api_key": "value"}[kind]] = secret.read(
            f"secret of {name}", secret_file, "--secret-file"
        )
        body: dict[str, Any] = {
            "name": name,
            "kind": str(kind),
            "hosts": list(hosts),
            "values": values,
            "replace": replace,
        }
        found = drive(reach.ask(url, lambda client: client.add_connection(body)))
        show(found, as_json, lambda: f"{name} is stored, for {', '.join(found['hosts'])}")


@app.command("list")
def list_(url: Url = None, as_json: AsJson = False) -> None:
    """List connections, without their secrets."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.connections()))
        rows = [
            [each["name"], each["kind"], ", ".join(each["hosts"]), when(each["updated_at"])] for each in found
        ]
        show(found, as_json, lambda: table(["name", "kind", "hosts", "stored"], rows))


@app.command()
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME")], url: Url = None, as_json: AsJson = False
) -> None:
    """Remove a connection."""
    with answering(as_json):
        drive(reach.ask(url, lambda client: client.remove_connection(name)))
        show({"name": name, "removed": True}, as_json, lambda: f"{name} is removed")


def _values(kind: Kind, username: str | None, header: str | None, query: str | None) -> dict[str, str]:
    """Return the values that are no secrets. Raises `Refused` for those that the kind has no use for."""
    given = {"username": username, "header": header, "query": query}
    takes = {"basic": ("username",), "bearer": (), "api_key": ("header", "query")}[kind]
    for option, value in given.items():
        if value is not None and option not in takes:
            refuse(
                "usage.option", f"--{option} means nothing to a connection of kind {kind}.", "Leave it out."
            )
    found = {option: value for option, value in given.items() if value is not None}
    if takes and len(found) != 1:
        options = " or ".join(f"--{each}" for each in takes)
        refuse("usage.option", f"A connection of kind {kind} needs {options}.", f"Add {options}.")
    return found
