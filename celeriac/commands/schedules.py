"""Schedules: listed, previewed, made, paused, run and filled up."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any, NoReturn

import typer

from celeriac.commands import payloads, reach
from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, Url, answering, refuse, say, show, table, when

app = typer.Typer(help="What the clock starts.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="SCHEDULE", help="Its id.")]
Count = Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="How many slots.")]
Config = Annotated[
    str | None,
    typer.Option("--config", metavar="JSON|@FILE", help="The whole config, as in a schedule trigger."),
]
Cron = Annotated[str | None, typer.Option("--cron", help="Like '0 9 * * 1-5'.")]
Every = Annotated[str | None, typer.Option("--every", help="An interval, like 90s or 1h30m.")]
Zone = Annotated[str | None, typer.Option("--timezone", help="Like Europe/Berlin.")]


class Overlap(StrEnum):
    """What becomes of a start while another one is under way."""

    SKIP = "skip"
    BUFFER_ONE = "buffer_one"
    BUFFER_ALL = "buffer_all"
    CANCEL_OTHER = "cancel_other"
    ALLOW = "allow"


@app.command("list")
def list_(
    workflow: Annotated[str | None, typer.Option("--workflow", help="Only those of this workflow.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200)] = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List schedules, and when each is due next."""
    with answering(as_json):
        page = drive(reach.ask(url, lambda client: client.schedules(workflow=workflow, limit=limit)))
        rows = [
            [each["id"], each["workflow"]["name"], each["name"], each["status"], when(each["next_due"])]
            for each in page["data"]
        ]
        show(page["data"], as_json, lambda: table(["id", "workflow", "name", "status", "next"], rows))
        if not rows:
            say(
                "There is none. Write a trigger of the type schedule into a definition, or: celeriac schedules create"
            )


@app.command("show")
def show_(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Show a schedule, its next slots and what became of the latest."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.schedule(name)))
        following = [] if found["status"] == "paused" else drive(_preview(url, name, 3))
        latest = drive(reach.ask(url, lambda client: client.slots(name, 5)))
        show({**found, "next": following, "latest": latest}, as_json, lambda: _text(found, following, latest))


@app.command()
def create(
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="Its name or its id.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called there.")],
    cron: Cron = None,
    every: Every = None,
    timezone: Zone = None,
    overlap: Annotated[Overlap | None, typer.Option("--overlap")] = None,
    payload: Annotated[str | None, typer.Option("--payload", metavar="JSON|@FILE")] = None,
    config: Config = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a schedule for a workflow.

    Example: celeriac schedules create report nightly --cron '30 2 * * *' --timezone Europe/Berlin
    """
    with answering(as_json):
        given = {
            "overlap": overlap and str(overlap),
            "payload": None if payload is None else payloads.read(payload),
        }
        wanted = {
            **_config(config, cron, every, timezone),
            **{k: v for k, v in given.items() if v is not None},
        }
        found = drive(reach.ask(url, lambda client: client.add_schedule(workflow, name, wanted)))
        show(found, as_json, lambda: f"{found['id']}, next {when(found['next_due'])}")


@app.command()
def preview(
    name: Annotated[str | None, typer.Argument(metavar="SCHEDULE", help="Its id; or say --cron.")] = None,
    count: Count = 10,
    after: Annotated[
        str | None, typer.Option("--after", metavar="TIME", help="Like 2031-05-04T09:00:00Z.")
    ] = None,
    cron: Cron = None,
    every: Every = None,
    timezone: Zone = None,
    config: Config = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show the next slots: of a schedule, or of one that is not saved.

    Example: celeriac schedules preview --cron '30 2 * * *' --timezone America/New_York --after 2026-03-07T00:00:00Z
    """
    with answering(as_json):
        if name is None:
            wanted = _config(config, cron, every, timezone)
            found = drive(reach.ask(url, lambda client: client.preview_config(wanted, count, after)))
        else:
            found = drive(_preview(url, name, count, after))
        show(found, as_json, lambda: "\n".join(each["local"] for each in found))
        if not found:
            say("There is no further slot.")


@app.command()
def pause(
    name: Name,
    reason: Annotated[str, typer.Option("--reason", help="Why.")] = "",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Let a schedule start nothing until it is resumed."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.pause_schedule(name, reason)))
        show(found, as_json, lambda: f"{name} is paused")


@app.command()
def resume(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Let a schedule go on with its next slot; what was due meanwhile is not made up for."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.resume_schedule(name)))
        show(found, as_json, lambda: f"{name} goes on, next {when(found['next_due'])}")


@app.command()
def run(
    name: Name,
    payload: Annotated[
        str | None, typer.Option("--payload", metavar="JSON|@FILE", help="Instead of its own.")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", help="Start it once under this key.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Start now what a schedule starts."""
    with answering(as_json):
        given = None if payload is None else payloads.read(payload, "--payload")
        found = drive(reach.ask(url, lambda client: client.run_schedule(name, given, key=key)))
        show(found, as_json, lambda: str(found["execution"]))


@app.command()
def backfill(
    name: Name,
    begin: Annotated[
        str, typer.Option("--from", metavar="TIME", help="The first slot lies at it or behind.")
    ],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="Every slot lies before.")],
    overlap: Annotated[Overlap, typer.Option("--overlap")] = Overlap.BUFFER_ALL,
    dry: Annotated[bool, typer.Option("--dry", help="Only count them.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Start what past slots stand for that have started nothing yet.

    Example: celeriac schedules backfill sched_01m80ns36neestyw2tc6xpgqvz --from 2031-05-01T00:00:00Z --to 2031-05-03T00:00:00Z
    """
    with answering(as_json):
        wish: dict[str, Any] = {"from": begin, "to": end, "overlap": str(overlap), "dry": dry}
        found = drive(reach.ask(url, lambda client: client.backfill(name, wish)))
        counts = ", ".join(
            f"{found[each]} {each}"
            for each in ("started", "coalesced", "known", "refused", "failed")
            if found.get(each)
        )
        show(found, as_json, lambda: f"{found['count']} slots{': ' + counts if counts else ''}")


@app.command()
def remove(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Remove a schedule that was made by itself; one of a definition goes with its trigger."""
    with answering(as_json):
        drive(reach.ask(url, lambda client: client.remove_schedule(name)))
        show({"removed": name}, as_json, lambda: f"{name} is removed")


async def _preview(url: str | None, name: str, count: int, after: str | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await reach.ask(
        url, lambda client: client.preview_schedule(name, count, after)
    )
    return found


def _config(text: str | None, cron: str | None, every: str | None, timezone: str | None) -> dict[str, Any]:
    """Return the config that the options mean."""
    found = {} if text is None else payloads.read(text, "--config")
    if not isinstance(found, dict):
        _unclear("--config is no object.")
    given = {"cron": cron, "every": every, "timezone": timezone}
    found = {**found, **{name: value for name, value in given.items() if value is not None}}
    if not found:
        _unclear("It is not said when.")
    return found


def _unclear(message: str) -> NoReturn:
    refuse("usage.schedule", message, "Say --cron '0 9 * * *', --every 1h, or --config JSON.")


def _text(found: dict[str, Any], following: list[dict[str, Any]], latest: list[dict[str, Any]]) -> str:
    lines = [f"{found['id']}  {found['workflow']['name']}  {found['name']}  {found['status']}"]
    lines.append(f"  {json.dumps(found['config'], ensure_ascii=False)}")
    lines += [f"  paused: {found['reason']}"] if found["reason"] else []
    lines += [f"  next {each['local']}" for each in following]
    lines += [
        f"  {when(each['slot'])}  {each['status']}  {each['execution'] or ''}".rstrip() for each in latest
    ]
    return "\n".join(lines)
