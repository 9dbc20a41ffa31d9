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
    OPENAI = "openai"
    ANTHROPIC = "anthropic"


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What nodes call it.")],
    kind: Annotated[Kind, typer.Option("--kind", help="What it adds to a request.")],
    hosts: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="HOST", help="A host it may be used with, like *.example.com."),
    ] = None,
    username: Annotated[str | None, typer.Option("--username", help="basic: the user's name.")] = None,
    header: Annotated[str | None, typer.Option("--header", help="api_key: the header to send it in.")] = None,
    query: Annotated[
        str | None, typer.Option("--query", help="api_key: the parameter to send it in.")
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option("--base-url", metavar="URL", help="openai, anthropic: a server with the same API."),
    ] = None,
    no_key: Annotated[
        bool, typer.Option("--no-key", help="openai, anthropic: the server at --base-url asks for no key.")
    ] = False,
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
    Models: celeriac connections add openai --kind openai
    """
    with answering(as_json):
        values = _values(kind, username, header, query, base_url)
        if not (no_key and base_url):
            values[_SECRETS[kind]] = secret.read(f"secret of {name}", secret_file, "--secret-file")
        body: dict[str, Any] = {
            "name": name,
            "kind": str(kind),
            "hosts": list(hosts or ()),
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


_SECRETS = {
    Kind.BASIC: "password",
    Kind.BEARER: "token",
    Kind.API_KEY: "value",
    Kind.OPENAI: "api_key",
    Kind.ANTHROPIC: "api_key",
}


def _values(
    kind: Kind, username: str | None, header: str | None, query: str | None, base_url: str | None
) -> dict[str, str]:
    """Return the values that are no secrets. Raises `Refused` for those that the kind has no use for."""
    if kind in (Kind.OPENAI, Kind.ANTHROPIC):
        takes: tuple[str, ...] = ("base_url",)
    else:
        takes = {"basic": ("username",), "bearer": (), "api_key": ("header", "query")}[kind]
    given = {"username": username, "header": header, "query": query, "base_url": base_url}
    for option, value in given.items():
        if value is not None and option not in takes:
            written = option.replace("_", "-")
            refuse(
                "usage.option", f"--{written} means nothing to a connection of kind {kind}.", "Leave it out."
            )
    found = {option: value for option, value in given.items() if value is not None}
    if takes and takes != ("base_url",) and len(found) != 1:
        options = " or ".join(f"--{each}" for each in takes)
        refuse("usage.option", f"A connection of kind {kind} needs {options}.", f"Add {options}.")
    return found
