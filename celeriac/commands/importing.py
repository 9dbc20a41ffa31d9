"""Import: what others describe becomes node types of this installation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, answering, refuse, show, table

app = typer.Typer(help="Make node types of what others describe.", no_args_is_help=True)


@app.callback()
def importing() -> None:
    """Make node types of what others describe."""


@app.command()
def openapi(
    source: Annotated[str, typer.Argument(metavar="FILE|URL", help="The document: OpenAPI 2.0, 3.0 or 3.1.")],
    prefix: Annotated[
        str | None, typer.Option("--prefix", help="What the names begin with; else the API's title.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="Where the service is; else where the document says.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Nodes fail when an answer is not what the document says.")
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FOLDER", help="Where to write; else CELERIAC_DECLARATIONS."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of an earlier import.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn every operation of a document into a node type, declared as JSON.

    Example: celeriac import openapi https://petstore.example/openapi.json --prefix pets
    """
    from celeriac import Fail
    from engine.declared.loading import type_of
    from engine.settings import from_environment
    from nodes.documents.declarations import declarations, prefix_of
    from nodes.documents.openapi import parse
    from nodes.documents.reading import read

    with answering(as_json):
        settings = from_environment()
        try:
            document = parse(read(_text(source, settings)), source if "://" in source else "")
            name = prefix or prefix_of(document)
            made = declarations(document, name, base_url, strict=strict)
        except Fail as error:
            refuse(error.code, error.message, "Correct the document, or see --base-url and --prefix.")
        for each in made:
            type_of(each, f"{source}, {each.get('node', name)}")
        file = (to or settings.declarations) / f"{name}.json"
        if file.exists() and not replace:
            refuse(
                "file.exists",
                f"{file} is there already.",
                "Take its place with --replace, or give another --prefix.",
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        found = {
            "file": str(file),
            "connection_kind": next(
                (each["connection_kind"] for each in made if "connection_kind" in each), None
            ),
            "node_types": [each["node"] for each in made if "node" in each],
        }
        rows = [[each["node"], each["request"]["method"], each["summary"]] for each in made if "node" in each]
        show(found, as_json, lambda: _told(found, rows))


def _told(found: dict[str, Any], rows: list[list[str]]) -> str:
    kind = found["connection_kind"]
    lines = [table(["node type", "method", "what it does"], rows), "", f"Written to {found['file']}."]
    if kind:
        lines.append(f"Store the credential: celeriac connections add {kind} --kind {kind}")
    return "\n".join([*lines, "Start the processes anew, and they are there."])


def _text(source: str, settings: Any) -> str:
    """Read a file, or fetch what an address leads to by the way out that nodes take."""
    if "://" not in source:
        try:
            return Path(source).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            refuse("file.unreadable", f"{source} cannot be read: {error}.", "Name a file that exists.")
    return str(drive(_fetch(source, settings)))


async def _fetch(url: str, settings: Any) -> str:
    from celeriac import Fail, TryAgain, Uncertain, exchange
    from celeriac.contract import Effect
    from engine.outside.addresses import Policy
    from engine.outside.egress import Egress

    egress = Egress(Policy.parse(settings.egress_allow))
    try:
        client = egress.client()
        response = await exchange.send(client, client.build_request("GET", url), Effect.READ, 30.0)
    except (Fail, TryAgain, Uncertain) as error:
        refuse(error.code, error.message, "Look at the address, or download the document yourself.")
    finally:
        await egress.aclose()
    if not exchange.succeeded(response.status_code):
        refuse("http.client_error", f"{url} was answered {response.status_code}.", "Look at the address.")
    return response.content.decode("utf-8", "replace")
