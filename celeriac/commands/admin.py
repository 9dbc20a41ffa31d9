"""Owners of the installation: they may do everything in it."""

from __future__ import annotations

from typing import Annotated

import typer

from celeriac.commands import reach, secret
from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, Url, answering, show

app = typer.Typer(help="Owners of the installation: create.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name or an e-mail address.")],
    password_file: Annotated[
        str | None,
        typer.Option("--password-file", metavar="FILE|-", help="Where the password is; - is stdin."),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a user who owns the installation. The password is asked for, or read from a file.

    Example: celeriac admin create ada@example.com
    """
    with answering(as_json):
        password = secret.read(f"password of {name}", password_file, "--password-file", twice=True)
        found = drive(reach.ask(url, lambda client: client.create_user(name, password, owns=True)))
        show(found, as_json, lambda: f"{found['name']} owns the installation ({found['id']})")


@app.command("list")
def list_(url: Url = None, as_json: AsJson = False) -> None:
    """List who owns the installation."""
    with answering(as_json):
        page = drive(reach.ask(url, lambda client: client.users(limit=200)))
        found = [each for each in page["data"] if each["owns"]]
        show(found, as_json, lambda: "\n".join(each["name"] for each in found) or "nobody but the keeper")
