"""`celeriac run`: one definition, one execution, its result. On a running installation, or on one that it starts."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celeriac.client import FINAL
from celeriac.commands import definitions, dry_running, payloads, reach
from celeriac.commands.loop import drive
from celeriac.commands.terminal import (
    FAILED,
    SUCCEEDED,
    AsJson,
    Url,
    answered,
    answering,
    error_text,
    lasting,
    paint,
    refuse,
    say,
)
from celeriac.outcomes import Json

if TYPE_CHECKING:
    from celeriac.client import Client

_AT_A_TIME = 30
"""Seconds that one request waits for an execution."""


def run(
    file: definitions.File,
    payload: payloads.Input = None,
    watch: Annotated[bool, typer.Option("--watch", help="Tell what happens as it happens.")] = False,
    wait: Annotated[
        float | None,
        typer.Option("--wait", min=0, metavar="SECONDS", help="How long to wait for the result at most."),
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry", help="Call nothing that has an effect; show what would be called.")
    ] = False,
    mocks: Annotated[
        str | None,
        typer.Option("--mocks", metavar="JSON|@FILE", help="With --dry: what nodes come to, as in tests."),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Run a definition and print its result. Joins a running installation, or starts one and stops it again.

    Exits with 0 when it succeeded, 1 when it failed, 2 when the definition or the input is bad. With --dry nothing is
    started, and nothing leaves this process.

    Example: celeriac run hello.json --input '{"name": "Ada"}'
    """
    with answering(as_json):
        value = payloads.read(payload)
        if mocks is not None and not dry:
            refuse("usage.option", "Mocks stand in for nodes of a dry run only.", "Add --dry.")
        if dry:
            raise typer.Exit(dry_running.show_calls(file, value, mocks, as_json=as_json))
        if url is None:
            definitions.sound(file, definitions.load_registry())
        body = drive(_run(definitions.read_file(file), value, url, watch=watch, wait=wait))
        raise typer.Exit(report(body, as_json))


def report(body: dict[str, Any], as_json: bool) -> int:
    """Print what an execution came to; return the exit code."""
    result: dict[str, Any] = {
        "execution": body["id"],
        "workflow": body["workflow"]["name"],
        "version": body["version"]["number"],
        "status": body["status"],
    }
    for key in ("answer", "output", "error", "duration_ms"):
        if body.get(key) is not None or (key == "output" and body["status"] == "succeeded"):
            result[key] = body.get(key)
    succeeded = body["status"] == "succeeded"
    if as_json or succeeded:
        import json

        shown = result if as_json else result.get("output")
        print(json.dumps(shown, indent=2, ensure_ascii=False), flush=True)
    name = body["id"]
    if (answer := body.get("answer")) is not None:
        say(f"{name} {answered(answer)}")
    if body["status"] not in FINAL:
        say(f"{name} is {paint(body['status'], body['status'], sys.stderr)}, and goes on while a worker runs")
        say(f"  celeriac executions show {name}")
    elif succeeded:
        say(f"{name} {paint('succeeded', 'succeeded', sys.stderr)} in {lasting(body['duration_ms'])}")
    else:
        status = body["status"].replace("_", " ")
        say(f"{name} {paint(status, body['status'], sys.stderr)} after {lasting(body['duration_ms'])}")
        if body.get("error"):
            say(error_text(body["error"]))
        say(f"  celeriac executions show {name}")
    return SUCCEEDED if succeeded else FAILED


async def _run(
    document: bytes, payload: Json, url: str | None, *, watch: bool, wait: float | None
) -> dict[str, Any]:
    """Push, execute and wait. A stack that ends in the middle (another command's) is joined or started anew."""
    from celeriac.client import Unreachable

    key = str(uuid.uuid4())
    deadline: float | None = None
    started: dict[str, Any] | None = None
    last = 0
    for attempt in range(5):
        try:
            async with reach.api(url, start=True, say=say) as client:
                if started is None:
                    pushed = await client.push(document)
                    deadline = None if wait is None else time.monotonic() + wait
                    first = 0 if watch else min(_AT_A_TIME, int(wait) if wait is not None else _AT_A_TIME)
                    started = await client.execute(pushed["id"], payload, key=key, wait=first)
                if started["status"] in FINAL:
                    return await client.execution(started["id"])
                if watch:
                    last = await _watch(client, started["id"], last, deadline)
                return await wait_for(client, started["id"], deadline)
        except Unreachable:
            if attempt == 4 or url is not None:
                raise
            await asyncio.sleep(0.2)
    raise AssertionError  # pragma: no cover  the loop returns or raises


async def wait_for(client: Client, execution: str, deadline: float | None) -> dict[str, Any]:
    """Return an execution when it has ended, or as it is at the deadline (monotonic seconds)."""
    while True:
        left = _AT_A_TIME if deadline is None else deadline - time.monotonic()
        body = await client.execution(execution, wait=max(0, min(_AT_A_TIME, round(left + 0.5))))
        if body["status"] in FINAL or left <= 0:
            return body


async def _watch(client: Client, execution: str, after: int, deadline: float | None) -> int:
    """Tell events as they happen, until the end or the deadline. Returns the number of the last."""
    try:
        async with asyncio.timeout(None if deadline is None else max(0.0, deadline - time.monotonic())):
            async for event in client.follow(execution, after):
                after = event.get("seq", after)  # a piece of what a model says has none
                if (line := line_of(event)) is not None:
                    say(line)
    except TimeoutError:
        pass
    return after


def line_of(event: dict[str, Any]) -> str | None:
    """Return an event as a line for people, or None for one that tells them nothing."""
    kind, node = event["type"], event.get("node")
    match kind:
        case "node.succeeded":
            return f"  {paint('done', 'done', sys.stderr)}     {node}  {paint(lasting(event['ms']), 'dim', sys.stderr)}"
        case "node.failed":
            return f"  {paint('failed', 'failed', sys.stderr)}   {node}  {event['error']['message']}"
        case "node.retrying":
            again = f"attempt {event['attempt']} failed, again in {lasting(event['delay'] * 1000)}"
            return (
                f"  {paint('retry', 'waiting', sys.stderr)}    {node}  {again}: {event['error']['message']}"
            )
        case "node.called":
            return f"  {paint('calling', 'waiting', sys.stderr)}  {node}  {event['execution']}"
        case "node.waiting":
            return f"  {paint('waiting', 'waiting', sys.stderr)}  {node}"
        case "node.responded":
            return f"  {'answer' if event['counts'] else 'too late'}   {node}"
        case "node.uncertain":
            return f"  {paint('unsure', 'uncertain', sys.stderr)}   {node}  {event['message']}"
        case "node.saying" if event["state"] == "broken":
            return f"  {paint('again', 'waiting', sys.stderr)}    {node}  what it said so far does not count"
        case "node.saying" if event["text"]:
            return f"  {paint('says', 'dim', sys.stderr)}     {node}  {' '.join(event['text'].split())}"
        case "node.log":
            return f"  {event['level']:<8} {node}  {event['message']}"
        case "segment.limited":
            return f"  {paint('waiting', 'waiting', sys.stderr)}  its turn at {event['key']}"
        case "segment.lost":
            return f"  {paint('lost', 'waiting', sys.stderr)}     a worker died; another goes on"
        case "execution.paused" | "execution.resumed" | "execution.cancel_requested":
            return f"  {kind.removeprefix('execution.').replace('_', ' ')}"
    return None
