"""Webhooks: listed, made, given new secrets, switched off and on, and tried."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

from celeriac.commands import payloads, reach
from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, Url, answering, refuse, say, show, table, when

app = typer.Typer(help="Where requests from outside arrive.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its id.")]


class Scheme(StrEnum):
    """How a request proves that it comes from whom it says."""

    HMAC = "hmac"
    LEGACY = "legacy"
    STANDARD = "standard"
    GITHUB = "github"
    STRIPE = "stripe"
    SLACK = "slack"
    BASIC = "basic"
    API_KEY = "api_key"
    NONE = "none"


@app.command("list")
def list_(
    workflow: Annotated[str | None, typer.Option("--workflow", help="Only those of this workflow.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200)] = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List webhooks and forms. Secrets are never shown again."""
    with answering(as_json):
        page = drive(reach.ask(url, lambda client: client.webhooks(workflow=workflow, limit=limit)))
        rows = [
            [
                each["id"],
                each["workflow"]["name"],
                each["name"],
                "yes" if each["enabled"] else "no",
                each["url"] or "(a secret)",
            ]
            for each in page["data"]
        ]
        show(page["data"], as_json, lambda: table(["id", "workflow", "name", "enabled", "address"], rows))
        if not rows:
            say(
                "There is none. Write a trigger of the type webhook into a definition, or: celeriac webhooks create"
            )


@app.command("show")
def show_(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Show a webhook and its latest deliveries."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.webhook(name)))
        latest = drive(reach.ask(url, lambda client: client.webhook_deliveries(name, 5)))
        show({**found, "latest": latest}, as_json, lambda: _text(found, latest))


@app.command()
def create(
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="Its name or its id.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called there.")],
    path: Annotated[
        str | None, typer.Option("--path", help="Like /orders/{order}; without one the address is a secret.")
    ] = None,
    verify: Annotated[Scheme | None, typer.Option("--verify", help="hmac, if nothing is said.")] = None,
    config: Annotated[
        str | None, typer.Option("--config", metavar="JSON|@FILE", help="The whole config, as in a trigger.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a webhook for a workflow. Its secrets are shown now, and never again.

    Example: celeriac webhooks create intake orders --path /orders --verify github
    """
    with answering(as_json):
        given = {"path": path, "verify": verify and str(verify)}
        wanted = {} if config is None else payloads.read(config, "--config")
        if not isinstance(wanted, dict):
            refuse("usage.webhook", "--config is no object.", "Write it as in a trigger of the type webhook.")
        wanted = {**wanted, **{key: value for key, value in given.items() if value is not None}}
        found = drive(reach.ask(url, lambda client: client.add_webhook(workflow, name, wanted)))
        show(found, as_json, lambda: shown_once(found))


@app.command()
def rotate(
    name: Name,
    secret_file: Annotated[
        str | None,
        typer.Option("--secret-file", metavar="FILE", help="One that the sender has made up; - is stdin."),
    ] = None,
    keep: Annotated[
        str | None, typer.Option("--keep", help="How long the one before is good; a day if nothing is said.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Give a webhook a new secret, which is shown now and never again."""
    with answering(as_json):
        given = None if secret_file is None else payloads.secret(secret_file)
        found = drive(reach.ask(url, lambda client: client.rotate_webhook(name, secret=given, keep=keep)))
        show(found, as_json, lambda: shown_once(found))


@app.command()
def enable(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Let requests arrive."""
    _set_enabled(name, url, as_json, enabled=True)


@app.command()
def disable(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Let no request arrive: the address is as if it were not there."""
    _set_enabled(name, url, as_json, enabled=False)


@app.command()
def deliveries(
    name: Name,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200)] = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the latest deliveries, with what became of them."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.webhook_deliveries(name, limit)))
        show(found, as_json, lambda: "\n".join(map(_delivery_line, found)))
        if not found:
            say("Nothing has arrived yet.")


@app.command("test")
def try_(
    name: Name,
    payload: Annotated[str | None, typer.Option("--payload", metavar="JSON|@FILE")] = None,
    parameters: Annotated[
        str | None,
        typer.Option("--parameters", metavar="JSON", help="Values for the parameters of its path."),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Deliver a payload as a sender would, signed with the webhook's own secret."""
    with answering(as_json):
        body, values = payloads.read(payload, "--payload"), payloads.read(parameters, "--parameters")
        if not isinstance(values, dict):
            refuse("usage.webhook", "--parameters is no object.", 'Write it like {"order": "7"}.')
        named = {key: str(value) for key, value in values.items()}
        found = drive(reach.ask(url, lambda client: client.test_webhook(name, body, named)))
        show(found, as_json, lambda: str(found.get("execution", json.dumps(found))))


@app.command()
def remove(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Remove a webhook that was made by itself; one of a definition goes with its trigger."""
    with answering(as_json):
        drive(reach.ask(url, lambda client: client.remove_webhook(name)))
        show({"removed": name}, as_json, lambda: f"{name} is removed")


def shown_once(issued: dict[str, Any]) -> str:
    """Return the secrets of a webhook that were made just now, for a person."""
    lines = [f"{issued['kind']} {issued['name']} ({issued['id']})"]
    lines += [f"  address: {issued['url']}"] if issued.get("url") else []
    lines += [f"  secret:  {issued['secret']}"] if issued.get("secret") else []
    return "\n".join([*lines, "  Keep it now: it is not shown again."])


def _set_enabled(name: str, url: str | None, as_json: bool, *, enabled: bool) -> None:
    with answering(as_json):
        found = drive(
            reach.ask(
                url, lambda client: (client.enable_webhook if enabled else client.disable_webhook)(name)
            )
        )
        show(found, as_json, lambda: f"{name} is {'enabled' if enabled else 'disabled'}")


def _text(found: dict[str, Any], latest: list[dict[str, Any]]) -> str:
    state = "enabled" if found["enabled"] else "disabled"
    lines = [f"{found['id']}  {found['workflow']['name']}  {found['name']}  {state}"]
    lines.append(f"  {found['url'] or 'at a secret address'}")
    lines.append(f"  {json.dumps(found['config'], ensure_ascii=False)}")
    return "\n".join([*lines, *(f"  {_delivery_line(each)}" for each in latest)])


def _delivery_line(each: dict[str, Any]) -> str:
    why = each.get("detail", {}).get("message", "")
    return f"{when(each['at'])}  {each['status']}  {each['delivery']}  {each['execution'] or why}".rstrip()
