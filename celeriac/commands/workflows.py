"""Workflows of an installation: pushed, listed, shown, compared, enabled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celeriac.commands import definitions, reach, webhooks
from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, Url, answering, paint, refuse, say, show, table, when

if TYPE_CHECKING:
    from celeriac.client import Client

app = typer.Typer(help="Workflows: list, show, compare, publish, delete.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="WORKFLOW", help="Its name or its id.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=200, help="How many at most.")]


def push(
    path: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="A definition, or a folder of them.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Save definitions in an installation. Of a folder all are saved, or with a mistake in any of them none."""
    with answering(as_json):
        files = _definitions_in(path) if path.is_dir() else [path]
        registry = definitions.load_registry()
        for file in files:
            definitions.sound(file, registry)

        async def pushed(client: Client) -> list[dict[str, Any]]:
            return [{"file": str(file), **await client.push(definitions.read_file(file))} for file in files]

        found = drive(reach.ask(url, pushed))
        show(found, as_json, lambda: "\n".join(map(_pushed_line, found)))
        for issued in (each for file in found for each in file.get("webhooks", ())):
            say(webhooks.shown_once(issued))


@app.command("list")
def list_(
    limit: Limit = 50,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="FIELD:OP:VALUE", help="Only those, like name:starts:order."),
    ] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="FIELD[:desc]", help="By name, created_at, updated_at.")
    ] = None,
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Those that are deleted and may be restored.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the workflows of an installation."""
    with answering(as_json):
        page = drive(
            reach.ask(
                url,
                lambda client: client.workflows(limit, filters=filters or (), sort=sort, deleted=deleted),
            )
        )
        rows = [
            [
                each["name"],
                f"v{each['version']['number']}",
                "yes" if each["enabled"] else "no",
                when(each["updated_at"]),
            ]
            for each in page["data"]
        ]
        show(page["data"], as_json, lambda: table(["name", "version", "enabled", "updated"], rows))
        if not rows and not deleted:
            say("There is none yet. Save one: celeriac push FILE")


@app.command("show")
def show_(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Show a workflow's definition."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.workflow(name)))
        show(found, as_json, lambda: json.dumps(found["document"], indent=2, ensure_ascii=False))
        if not as_json:
            say(
                f"{found['id']} version {found['version']['number']}, {'enabled' if found['enabled'] else 'disabled'}"
            )


@app.command()
def diff(
    name: Name,
    before: Annotated[
        int | None, typer.Option("--from", min=1, help="A version; the one before `to`.")
    ] = None,
    after: Annotated[int | None, typer.Option("--to", min=1, help="A version; the active one.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Compare two versions of a workflow, by default the active one with the one before it."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.diff(name, before, after)))
        show(found, as_json, lambda: "\n".join(map(_change_line, found["changes"])) or "no difference")
        if not as_json:
            say(f"version {found['from']} to version {found['to']}")


@app.command()
def enable(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Let a workflow be started."""
    _set_enabled(name, url, as_json, enabled=True)


@app.command()
def disable(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Keep a workflow from being started; what runs goes on."""
    _set_enabled(name, url, as_json, enabled=False)


@app.command()
def versions(name: Name, limit: Limit = 50, url: Url = None, as_json: AsJson = False) -> None:
    """List the versions of a workflow, the newest first."""
    with answering(as_json):

        async def ask(client: Client) -> tuple[list[dict[str, Any]], dict[str, int]]:
            page = await client.versions(name, limit)
            return page["data"], (await client.workflow(name))["aliases"]

        found, names = drive(reach.ask(url, ask))
        rows = [
            [
                str(each["number"]),
                "active" if each["active"] else "",
                ", ".join(alias for alias, number in names.items() if number == each["number"]),
                when(each["created_at"]),
            ]
            for each in found
        ]
        show(found, as_json, lambda: table(["version", "", "named", "made"], rows))


@app.command()
def publish(
    name: Name,
    number: Annotated[int, typer.Argument(metavar="VERSION", min=1)],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a version the active one."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.publish_version(name, number)))
        show(found, as_json, lambda: _released(name, found))


@app.command()
def rollback(
    name: Name,
    to: Annotated[
        str | None, typer.Option("--to", metavar="VERSION|ALIAS", help="Not the one before, but this one.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make an earlier version the active one. What runs goes on as it began."""
    with answering(as_json):
        wanted = int(to) if to is not None and to.isdecimal() else to
        found = drive(reach.ask(url, lambda client: client.roll_back(name, wanted)))
        show(found, as_json, lambda: _released(name, found))


@app.command()
def alias(
    name: Name,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="A name for a version, like stable.")],
    number: Annotated[
        int | None, typer.Argument(metavar="[VERSION]", min=1, help="Without one the name is taken away.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Name a version, so that executions can be started by the name."""
    with answering(as_json):
        found = drive(
            reach.ask(
                url,
                lambda client: (
                    client.forget_version_name(name, alias)
                    if number is None
                    else client.name_version(name, alias, number)
                ),
            )
        )
        show(found, as_json, lambda: f"{alias} is {'no more' if number is None else f'version {number}'}")


@app.command()
def delete(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Delete a workflow; what runs goes on. It may be restored until a purge takes it."""
    with answering(as_json):

        async def ask(client: Client) -> str:
            found = await client.workflow(name)
            await client.delete_workflow(name)
            return str(found["id"])

        found = drive(reach.ask(url, ask))
        show({"id": found, "deleted": True}, as_json, lambda: f"{name} is deleted")
        if not as_json:
            say(f"  to bring it back: celeriac workflows restore {found}")


@app.command()
def restore(
    workflow: Annotated[str, typer.Argument(metavar="ID", help="Its id.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Bring a deleted workflow back; it is disabled."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.restore_workflow(workflow)))
        show(found, as_json, lambda: f"{found['name']} is back, disabled")
        if not as_json:
            say(f"  celeriac workflows enable {found['name']}")


def _released(name: str, found: dict[str, Any]) -> str:
    return f"{name} is at version {found['version']['number']}, and was at {found['before']}"


def _set_enabled(name: str, url: str | None, as_json: bool, *, enabled: bool) -> None:
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: (client.enable if enabled else client.disable)(name)))
        show(found, as_json, lambda: f"{name} is {'enabled' if enabled else 'disabled'}")


def _definitions_in(folder: Path) -> list[Path]:
    """Return the files of a folder that are definitions; the others may be inputs, results or data."""
    found = []
    for file in sorted(folder.glob("*.json")):
        try:
            body = json.loads(file.read_bytes())
        except ValueError:
            found.append(file)  # its mistakes are told with those of the others
            continue
        if isinstance(body, dict) and "definition" in body:
            found.append(file)
        else:
            say(f"{file}: no definition, left out")
    if not found:
        refuse("definition.none", f"There is no definition in {folder}.", "A definition is a JSON file.")
    return found


def _pushed_line(each: dict[str, Any]) -> str:
    version = each["version"]["number"]
    news = "new" if each["created"] else "changed" if each["changed"] else "as it was"
    return f"{each['name']} v{version} ({news})"


def _change_line(change: dict[str, Any]) -> str:
    place = change["pointer"] or "/"
    match change["op"]:
        case "added":
            return paint(f"+ {place}: {_short(change['after'])}", "succeeded")
        case "removed":
            return paint(f"- {place}: {_short(change['before'])}", "failed")
    return f"~ {place}: {_short(change['before'])} -> {_short(change['after'])}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}..."
