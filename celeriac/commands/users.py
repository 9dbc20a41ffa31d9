"""Users: made, invited, let in no more."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from celeriac.commands import reach, secret
from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, Url, answering, show, table, when

app = typer.Typer(help="Users: create, invite, disable, enable, list.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A user's name or id.")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("--limit", min=1, max=200)] = 200,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List users by name."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.users(limit)))["data"]
        rows = [[each["name"], each["id"], _state(each), when(each["signed_in_at"])] for each in found]
        show(found, as_json, lambda: table(["name", "id", "state", "signed in"], rows))


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name or an e-mail address.")],
    password_file: Annotated[
        str | None,
        typer.Option(
            "--password-file", metavar="FILE|-", help="Set this password, instead of an invitation."
        ),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a user, who sets a password with the invitation that this prints.

    Example: celeriac users create bob@example.com
    """
    with answering(as_json):
        password = None if password_file is None else secret.read(name, password_file, "--password-file")
        found = drive(reach.ask(url, lambda client: client.create_user(name, password)))
        show(found, as_json, lambda: _made(found))


@app.command()
def invite(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Print an invitation with which a user sets a new password. It works once, for a day."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.invite_user(name)))
        show(found, as_json, lambda: _invitation(found))


@app.command()
def disable(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Let a user in no more: sessions and keys of that user end."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.update_user(name, active=False)))
        show(found, as_json, lambda: f"{found['name']} is disabled")


@app.command()
def enable(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Let a user in again."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.update_user(name, active=True)))
        show(found, as_json, lambda: f"{found['name']} is enabled")


def _state(user: dict[str, Any]) -> str:
    if not user["active"]:
        return "disabled"
    return "owner" if user["owns"] else "active" if user["has_password"] else "invited"


def _made(user: dict[str, Any]) -> str:
    text = f"{user['name']} is made ({user['id']})"
    return f"{text}\n{_invitation(user['invitation'])}" if "invitation" in user else text


def _invitation(invitation: dict[str, Any]) -> str:
    return f"invitation, until {when(invitation['expires_at'])}: {invitation['token']}"
