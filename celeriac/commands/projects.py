"""Projects and their members. CELERIAC_PROJECT names the one that all other commands mean."""

from __future__ import annotations

from typing import Annotated

import typer

from celeriac import Json
from celeriac.commands import reach
from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, Url, answering, show, table, when

app = typer.Typer(help="Projects, and who is in them.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="PROJECT", help="A project's name or id.")]
User = Annotated[str, typer.Argument(metavar="USER", help="A user's name or id.")]


@app.command("list")
def list_(url: Url = None, as_json: AsJson = False) -> None:
    """List the projects you may see."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.projects(200)))["data"]
        rows = [[each["name"], each["id"], when(each["created_at"]), each["description"]] for each in found]
        show(found, as_json, lambda: table(["name", "id", "made", "description"], rows))


@app.command("show")
def show_(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Show a project and its figures."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.project(name)))
        found["stats"] = drive(reach.ask(url, lambda client: client.project_stats(found["id"])))
        rows = [[key, str(value)] for key, value in {**found, **found["stats"]}.items() if key != "stats"]
        show(found, as_json, lambda: table(["what", "is"], rows))


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    description: Annotated[str, typer.Option("--description")] = "",
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="USER", help="Who may do everything in it.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a project."""
    with answering(as_json):
        found = drive(
            reach.ask(url, lambda client: client.create_project(name, description=description, owner=owner))
        )
        show(found, as_json, lambda: f"{found['name']} is made ({found['id']})")


@app.command()
def update(
    name: Name,
    model: Annotated[
        str | None,
        typer.Option("--default-model", metavar="MODEL", help='For nodes that name none; "" for none.'),
    ] = None,
    usd: Annotated[
        float | None,
        typer.Option("--budget", metavar="USD", help="What models may cost: celeriac budgets list."),
    ] = None,
    description: Annotated[str | None, typer.Option("--description")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Change the description and the settings of a project."""
    with answering(as_json):
        given: dict[str, Json] = {}
        if model is not None:
            given["default_model"] = model or None
        if usd is not None:
            given["budget_limit"] = usd
        changes: dict[str, Json] = {"settings": given} if given else {}
        if description is not None:
            changes["description"] = description
        found = drive(reach.ask(url, lambda client: client.update_project(name, changes)))
        rows = [
            [key, str(value)]
            for key, value in {"description": found["description"], **found["settings"]}.items()
        ]
        show(found, as_json, lambda: table(["what", "is"], rows))


@app.command()
def delete(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Delete a project: nobody sees it any more, and nothing in it starts. Its rows stay in the database."""
    with answering(as_json):
        drive(reach.ask(url, lambda client: client.delete_project(name)))
        show({"name": name, "deleted": True}, as_json, lambda: f"{name} is deleted")


@app.command()
def members(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """List who is in a project."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.members(name)))
        rows = [[each["user"]["name"], ", ".join(each["roles"]), ", ".join(each["groups"])] for each in found]
        show(found, as_json, lambda: table(["user", "roles", "groups"], rows))


@app.command()
def grant(
    name: Name,
    user: User,
    roles: Annotated[
        list[str],
        typer.Option(
            "--role", metavar="ROLE", help="viewer, operator, editor, admin, owner, approver; repeatable."
        ),
    ],
    groups: Annotated[
        list[str] | None,
        typer.Option("--group", metavar="NAME", help="A group that approvals ask; repeatable."),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Give a user these roles in a project, in the place of those before.

    Example: celeriac projects grant shop bob@example.com --role operator --role approver
    """
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.put_member(name, user, roles, groups)))
        show(found, as_json, lambda: f"{found['user']['name']} is {' and '.join(found['roles'])} in {name}")


@app.command()
def revoke(name: Name, user: User, url: Url = None, as_json: AsJson = False) -> None:
    """Take a user out of a project."""
    with answering(as_json):
        drive(reach.ask(url, lambda client: client.remove_member(name, user)))
        show({"project": name, "user": user, "removed": True}, as_json, lambda: f"{user} is out of {name}")
