"""Connections: credentials for nodes. Secret values come from a prompt, a file or stdin, and never from the command line,
which every user of the machine can read.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from celeriac.client import Client
from celeriac.commands import reach, secret
from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, Url, answering, refuse, show, table, when

app = typer.Typer(help="Credentials for nodes: kinds, add, list, test, reseal, remove.", no_args_is_help=True)


@app.command()
def kinds(url: Url = None, as_json: AsJson = False) -> None:
    """List the kinds of connections, and the fields of each; secrets are marked with *."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.connection_kinds()))
        rows = [[each["kind"], _shown_fields(each), each["summary"]] for each in found]
        show(found, as_json, lambda: table(["kind", "fields", "what it is"], rows))


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What nodes call it.")],
    kind: Annotated[str, typer.Option("--kind", help="What it is; celeriac connections kinds lists them.")],
    hosts: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="HOST", help="A host it may be used with, like *.example.com."),
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="The value of a field that is no secret."),
    ] = None,
    secrets: Annotated[
        list[str] | None,
        typer.Option(
            "--secret",
            metavar="FIELD[=FILE|-]",
            help="Where the secret of a field is; - is stdin, and FIELD alone is asked for.",
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of one of this name.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Store a connection. Secrets that it needs and that are in no file are asked for.

    Example: celeriac connections add crm --kind bearer --host api.example.com
    """

    async def store(client: Client) -> dict[str, Any]:
        known = {each["kind"]: each for each in await client.connection_kinds()}
        if kind not in known:
            refuse("usage.option", f"There is no kind {kind!r}.", f"The kinds are {', '.join(known)}.")
        given = _values(known[kind], values or [], secrets or [])
        body: dict[str, Any] = {
            "name": name,
            "kind": kind,
            "hosts": hosts or [],
            "values": given,
            "replace": replace,
        }
        return await client.add_connection(body)

    with answering(as_json):
        found = drive(reach.ask(url, store))
        show(found, as_json, lambda: f"{name} is stored, for {', '.join(found['hosts'])}")


@app.command("list")
def list_(url: Url = None, as_json: AsJson = False) -> None:
    """List connections, without their secrets."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.connections()))
        rows = [
            [
                each["name"],
                each["kind"],
                ", ".join(each["hosts"]),
                each["status"],
                when(each["last_used_at"]) if each["last_used_at"] else "never",
            ]
            for each in found
        ]
        show(found, as_json, lambda: table(["name", "kind", "hosts", "status", "used"], rows))


@app.command("test")
def try_(
    name: Annotated[str, typer.Argument(metavar="NAME")], url: Url = None, as_json: AsJson = False
) -> None:
    """Try a connection, and say what came of it."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.test_connection(name)))
        if not found["ok"]:
            refuse(found["code"], found["message"], "Store it anew: celeriac connections add --replace.")
        show(found, as_json, lambda: f"{name} works: {found['message']}")


@app.command()
def reseal(url: Url = None, as_json: AsJson = False) -> None:
    """Seal everything under the first of the secret keys, so that the others can be given up."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.reseal_connections()))
        if found["closed"]:
            names = ", ".join(found["closed"])
            refuse(
                "connection.sealed_with_other_key",
                f"No key opens {names}.",
                "Store them anew, or add the key they were sealed with.",
            )
        show(found, as_json, lambda: f"{found['resealed']} resealed; the first key opens them all")


@app.command()
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME")], url: Url = None, as_json: AsJson = False
) -> None:
    """Remove a connection."""
    with answering(as_json):
        drive(reach.ask(url, lambda client: client.remove_connection(name)))
        show({"name": name, "removed": True}, as_json, lambda: f"{name} is removed")


def _shown_fields(kind: dict[str, Any]) -> str:
    needed = kind["fields"].get("required", [])
    marked = ((each, f"{each}*" if each in kind["secrets"] else each) for each in _fields(kind))
    return " ".join(word if each in needed else f"[{word}]" for each, word in marked)


def _fields(kind: dict[str, Any]) -> list[str]:
    return list(kind["fields"].get("properties", {}))


def _values(kind: dict[str, Any], plain: list[str], files: list[str]) -> dict[str, Any]:
    """Return the values of a connection. Raises `Refused` for a field that is written wrongly; asks for what is missing."""
    found: dict[str, Any] = {}
    for each in plain:
        field, value = _split(kind, each, "--set")
        if field in kind["secrets"]:
            hint = f"Read it from a file: --secret {field}=FILE, or from stdin: --secret {field}=-"
            refuse("usage.option", f"{field} is a secret, which others could read here.", hint)
        found[field] = _typed(kind["fields"]["properties"][field], value)
    for each in files:
        field, file = _split(kind, each, "--secret", bare=True)
        found[field] = secret.read(field, file, f"--secret {field}=")
    for field in kind["secrets"]:
        if field in kind["fields"].get("required", []) and field not in found:
            found[field] = secret.read(field, None, f"--secret {field}=")
    return found


def _split(kind: dict[str, Any], text: str, option: str, *, bare: bool = False) -> tuple[str, str | None]:
    field, sign, value = text.partition("=")
    if not (sign or bare) or field not in _fields(kind):
        fields = ", ".join(_fields(kind))
        refuse(
            "usage.option",
            f"{option} {field} means nothing to the kind {kind['kind']}.",
            f"Its fields are {fields}.",
        )
    return field, value if sign else None


def _typed(schema: dict[str, Any], value: str | None) -> object:
    """Return a value as the field's schema wants it; what does not fit is left to the API to refuse."""
    kinds = {each.get("type") for each in [schema, *schema.get("anyOf", [])]}
    if value is not None and kinds & {"integer", "number", "boolean", "object", "array"}:
        import json

        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
