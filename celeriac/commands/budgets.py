"""Budgets of the project and of workflows, and what models have cost."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated, Any

import typer

from celeriac.commands import reach
from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, Url, answering, refuse, say, show, table
from celeriac.duration import seconds

app = typer.Typer(help="Budgets for models: list, set, lift; what was spent.", no_args_is_help=True)

Scope = Annotated[str, typer.Argument(metavar="project|WORKFLOW", help="What it is for.")]


class Period(StrEnum):
    """After what time a budget begins anew, at midnight in UTC."""

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


@app.command("list")
def list_(url: Url = None, as_json: AsJson = False) -> None:
    """List the budgets, with what has been spent of each in its present period."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.budgets()))
        rows = [
            [
                each["scope"],
                each["period"],
                _part(each["spent_usd"], each["usd"]),
                _part(each["spent_tokens"], each["tokens"]),
            ]
            for each in found
        ]
        show(found, as_json, lambda: table(["budget", "period", "usd", "tokens"], rows))
        if not found:
            say("There is none. Set one: celeriac budgets set project --usd 50")


@app.command("set")
def set_(
    scope: Scope,
    usd: Annotated[float | None, typer.Option("--usd", min=0, help="US dollars.")] = None,
    tokens: Annotated[int | None, typer.Option("--tokens", min=0, help="Tokens.")] = None,
    period: Annotated[Period, typer.Option("--per", help="How long it lasts.")] = Period.MONTH,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Set a budget, or change one. What was spent in the period so far counts.

    Example: celeriac budgets set project --usd 50 --per month
    """
    with answering(as_json):
        if usd is None and tokens is None:
            refuse("usage.option", "A budget needs --usd, --tokens or both.", "Add one of them.")
        body: dict[str, Any] = {"period": str(period)}
        body |= {name: value for name, value in (("usd", usd), ("tokens", tokens)) if value is not None}
        found = drive(reach.ask(url, lambda client: client.set_budget(scope, body)))
        spent = f"{_part(found['spent_usd'], found['usd'])} usd, {_part(found['spent_tokens'], found['tokens'])} tokens"
        show(found, as_json, lambda: f"{found['scope']}, by {found['period']}: {spent}")


@app.command()
def lift(scope: Scope, url: Url = None, as_json: AsJson = False) -> None:
    """Lift a budget."""
    with answering(as_json):
        drive(reach.ask(url, lambda client: client.lift_budget(scope)))
        show({"scope": scope, "lifted": True}, as_json, lambda: f"the budget of {scope} is lifted")


@app.command()
def spent(
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="DURATION", help="Of the last 7d, say. Default: this month."),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Sum up what workflows have used of each model."""
    with answering(as_json):
        first = None
        if since is not None:
            try:
                first = round((time.time() - seconds(since)) * 1000)
            except ValueError as error:
                refuse("usage.duration", f"--since {since}: {error}", "Write it like 30d, 12h or 90m.")
        found = drive(reach.ask(url, lambda client: client.usage(first)))
        rows = [
            [
                each["workflow"] or "-",
                each["provider"],
                each["model"],
                f"{each['calls']:,}",
                f"{each['input_tokens'] + each['output_tokens']:,}",
                "-" if each["cost_usd"] is None else f"{each['cost_usd']:.4f}",
            ]
            for each in found["data"]
        ]
        names = ["workflow", "provider", "model", "calls", "tokens", "usd"]
        show(found, as_json, lambda: table(names, rows))


def _part(spent_: float | None, most: float | None) -> str:
    return "-" if most is None else f"{spent_ or 0:,.6g} of {most:,.6g}"
