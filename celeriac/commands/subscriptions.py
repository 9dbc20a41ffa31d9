"""Subscriptions: addresses outside that are told of events by signed requests."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from celeriac.commands import reach
from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, Url, answering, show, table, when

app = typer.Typer(help="Addresses outside that are told of events.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="SUBSCRIPTION")]


@app.command()
def add(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Where events are sent.")],
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Like node.failed or execution.*; ends if left out.")
    ] = None,
    workflow: Annotated[str | None, typer.Option("--workflow", help="Of this workflow only.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Have an address told of events. The secret that signs them is shown once.

    Example: celeriac subscriptions add https://example.com/hooks --type execution.failed
    """
    with answering(as_json):
        wish: dict[str, Any] = {"url": address}
        wish |= {"types": list(types)} if types else {}
        wish |= {"workflow": workflow} if workflow else {}
        found = drive(reach.ask(url, lambda client: client.subscribe(wish)))
        show(
            found,
            as_json,
            lambda: f"{found['id']} is told of {', '.join(found['types'])}\nsecret: {found['secret']}",
        )


@app.command("list")
def list_(url: Url = None, as_json: AsJson = False) -> None:
    """List subscriptions, and why one is disabled."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.subscriptions()))
        rows = [
            [each["id"], each["url"], ", ".join(each["types"]), _state(each), each["reason"] or ""]
            for each in found
        ]
        show(found, as_json, lambda: table(["subscription", "address", "types", "state", "reason"], rows))


@app.command()
def deliveries(
    name: Name,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200)] = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List what a subscription was told or is to be told, the latest first."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.deliveries(name, limit)))["data"]
        rows = [
            [each["id"], each["type"], each["execution_id"] or "", each["status"], _last(each), _next(each)]
            for each in found
        ]
        titles = ["delivery", "type", "execution", "status", "last answer", "next attempt"]
        show(found, as_json, lambda: table(titles, rows))


@app.command("test")
def try_(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Send an event of the type webhook.test."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.test_subscription(name)))
        show(found, as_json, lambda: f"{found['id']} is on its way: celeriac subscriptions deliveries {name}")


@app.command()
def redeliver(
    name: Name,
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Send what was delivered or given up once more, under the same id."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.redeliver(name, delivery)))
        show(found, as_json, lambda: f"{found['id']} is on its way again")


@app.command()
def enable(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Tell a subscription of what happens from now on."""
    _switch(name, url, as_json, enabled=True)


@app.command()
def disable(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Tell a subscription of nothing any more."""
    _switch(name, url, as_json, enabled=False)


@app.command()
def rotate(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Give a subscription a new secret. The old one signs too for a day."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.rotate_subscription(name)))
        show(found, as_json, lambda: f"secret: {found['secret']}")


@app.command()
def remove(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Remove a subscription, and all it was still to be told."""
    with answering(as_json):
        drive(reach.ask(url, lambda client: client.unsubscribe(name)))
        show({"id": name, "removed": True}, as_json, lambda: f"{name} is removed")


def _switch(name: str, url: str | None, as_json: bool, *, enabled: bool) -> None:
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.change_subscription(name, {"enabled": enabled})))
        show(found, as_json, lambda: f"{name} is {'enabled' if found['enabled'] else 'disabled'}")


def _state(found: dict[str, Any]) -> str:
    if not found["enabled"]:
        return "disabled"
    return "enabled" if found["failing_since"] is None else f"failing since {when(found['failing_since'])}"


def _last(found: dict[str, Any]) -> str:
    last = found["attempts"][-1] if found["attempts"] else {}
    return str(last.get("status") or last.get("error", ""))


def _next(found: dict[str, Any]) -> str:
    return "" if found["next_attempt_at"] is None else when(found["next_attempt_at"])
