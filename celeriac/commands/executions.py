"""Executions: listed, shown as a timeline, followed, stopped, held, repeated."""

from __future__ import annotations

import sys
import uuid
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celeriac.commands import payloads, reach, running
from celeriac.commands.loop import drive
from celeriac.commands.terminal import (
    AsJson,
    Url,
    answered,
    answering,
    error_text,
    is_live,
    lasting,
    paint,
    refuse,
    say,
    show,
    table,
    when,
)

if TYPE_CHECKING:
    from celeriac.client import Client

app = typer.Typer(
    help="Executions: list, show, events, cancel, pause, resume, retry, fork, skip, cancel-node, items.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="EXECUTION", help="Its id.")]
Node = Annotated[str, typer.Argument(metavar="NODE", help="The id of a node of it.")]
Item = Annotated[
    str, typer.Option("--item", help="Which of its runs, in a map or a loop: 3, or 3.2 inside of another.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why, for whoever reads the history.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the result.")]


class Status(StrEnum):
    """What an execution may be."""

    CREATED = "created"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


@app.command("list")
def list_(
    workflow: Annotated[str | None, typer.Option("--workflow", help="Only those of this workflow.")] = None,
    status: Annotated[Status | None, typer.Option("--status", help="Only those of this status.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="How many at most.")] = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List executions, the latest first."""
    with answering(as_json):
        page = drive(
            reach.ask(url, lambda client: client.executions(workflow=workflow, status=status, limit=limit))
        )
        rows = [
            [
                each["id"],
                each["workflow"]["name"],
                each["status"],
                when(each["created_at"]),
                lasting(each["duration_ms"]),
            ]
            for each in page["data"]
        ]
        headers = ["execution", "workflow", "status", "created", "took"]
        show(page["data"], as_json, lambda: table(headers, rows, status=2))


@app.command("show")
def show_(
    name: Name,
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="How many nodes to show at most.")] = 200,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show what became of an execution: its first error with the remedy, and each node in the order of time."""
    with answering(as_json):

        async def ask(client: Client) -> tuple[dict[str, Any], list[dict[str, Any]]]:
            return await client.execution(name), await client.nodes(name)

        body, found = drive(reach.ask(url, ask))
        show({**body, "nodes": found}, as_json, lambda: _timeline(body, found, nodes))


@app.command()
def events(
    name: Name,
    after: Annotated[int, typer.Option("--after", min=0, help="Only those behind this number.")] = 0,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the end.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show the history of an execution. With --json and --follow one object a line."""
    with answering(as_json):
        if not follow:
            found = drive(reach.ask(url, lambda client: client.events(name, after)))
            show(found, as_json, lambda: "\n".join(map(_event_line, found)))
            return

        async def go_on(client: Client) -> None:
            import json

            def tell(event: dict[str, Any]) -> None:
                print(json.dumps(event) if as_json else _event_line(event), flush=True)

            if not client.live:
                for event in await client.events(name, after):
                    tell(event)
                say("Nothing is running here, so nothing more happens: celeriac up")
                return
            async for event in client.follow(name, after):
                tell(event)

        drive(reach.ask(url, go_on))


@app.command()
def cancel(
    name: Name,
    reason: Reason = "",
    force: Annotated[
        bool, typer.Option("--force", help="Without what its scopes do in their end: finally and compensate.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Ask an execution to stop. Its scopes do first what they do in their end."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.cancel(name, reason, force=force)))
        final = found["status"] in ("cancelled", "succeeded", "failed", "timed_out")
        text = f"{name} is {found['status']}" if final else f"{name} was asked to stop"
        show(found, as_json, lambda: text)


@app.command()
def pause(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Hold an execution between segments."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.pause(name)))
        show(found, as_json, lambda: f"{name} is held; it goes on with: celeriac executions resume {name}")


@app.command()
def resume(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Let a held execution go on."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.resume(name)))
        show(found, as_json, lambda: f"{name} goes on")


@app.command()
def retry(
    name: Name,
    from_failure: Annotated[
        bool, typer.Option("--from-failure", help="Keep what had ended well, and do the rest.")
    ] = False,
    wait: Wait = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Start an ended execution's version on its input once more, as a new execution."""
    with answering(as_json):
        key = str(uuid.uuid4())
        _start(url, as_json, wait, lambda client: client.retry(name, from_failure=from_failure, key=key))


@app.command()
def fork(
    name: Name,
    again: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="NODE", help="Do this node again, and what comes after it."),
    ] = None,
    version: Annotated[
        str, typer.Option("--version", help="pinned (that of the execution), latest, or a number.")
    ] = "pinned",
    outputs: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NODE=JSON", help="Take this for the node's output instead of running it."
        ),
    ] = None,
    payload: payloads.Input = None,
    dry: Annotated[bool, typer.Option("--dry", help="Only show what would be kept.")] = False,
    wait: Wait = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Start a new execution that keeps what this one came to, but for some nodes and what comes after them."""
    with answering(as_json):
        edits: dict[str, Any] = {"nodes": _given(outputs or [])}
        if payload is not None:
            edits["input"] = payloads.read(payload)
        wanted: str | int = int(version) if version.isdecimal() else version
        wish: dict[str, Any] = {"from": again or [], "version": wanted, "edits": edits, "dry": dry}
        if dry:
            found = drive(reach.ask(url, lambda client: client.fork(name, wish)))
            show(found, as_json, lambda: _verdicts(found["nodes"]))
            return
        _start(url, as_json, wait, lambda client: client.fork(name, wish, key=str(uuid.uuid4())))


@app.command()
def skip(
    name: Name,
    node: Node,
    item: Item = "",
    output: Annotated[
        str | None, typer.Option("--output", metavar="JSON", help="Go on as if it had come to this.")
    ] = None,
    reason: Reason = "",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Go on without a node that is under way: nothing that only it leads to runs, or all of it with --output."""
    with answering(as_json):
        wish: dict[str, Any] = {"item": item, "reason": reason}
        if output is not None:
            wish["output"] = payloads.read(output, "--output")
        found = drive(reach.ask(url, lambda client: client.skip(name, node, wish)))
        show(found, as_json, lambda: f"{node} of {name} is skipped")


@app.command("cancel-node")
def cancel_node(
    name: Name, node: Node, item: Item = "", reason: Reason = "", url: Url = None, as_json: AsJson = False
) -> None:
    """Let a node that is under way fail with node.cancelled, and its definition deal with that."""
    with answering(as_json):
        wish: dict[str, Any] = {"item": item, "reason": reason}
        found = drive(reach.ask(url, lambda client: client.cancel_node(name, node, wish)))
        show(found, as_json, lambda: f"{node} of {name} is cancelled")


@app.command()
def items(
    name: Name,
    node: Node,
    add: Annotated[
        str | None, typer.Option("--add", metavar="JSON", help="A list of further items, or @FILE.")
    ] = None,
    cancel: Annotated[
        list[str] | None, typer.Option("--cancel", metavar="INDEX", help="Let this item fail, or: all.")
    ] = None,
    complete: Annotated[
        bool, typer.Option("--complete", help="Go on with what has finished, without the rest.")
    ] = False,
    item: Item = "",
    reason: Reason = "",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Change the items of a map that runs."""
    with answering(as_json):
        wish: dict[str, Any] = {"item": item, "reason": reason, "complete": complete}
        if add is not None:
            wish["add"] = payloads.read(add, "--add")
        if cancel:
            wish["cancel"] = "all" if cancel == ["all"] else [_index(each) for each in cancel]
        found = drive(reach.ask(url, lambda client: client.items(name, node, wish)))
        show(found, as_json, lambda: f"{node} of {name} has {found.get('count', 'no more')} items")


def _index(text: str) -> int:
    if not text.isdecimal():
        refuse(
            "usage.option",
            f"--cancel {text} is no index.",
            "Items are counted from 0; --cancel all means each.",
        )
    return int(text)


def _given(outputs: list[str]) -> dict[str, Any]:
    """Return what `--set` gives."""
    found = {}
    for each in outputs:
        node, separator, text = each.partition("=")
        if not separator:
            refuse("usage.option", f"--set {each} names no output.", "Write --set NODE=JSON.")
        found[node] = {"output": payloads.read(text)}
    return found


def _verdicts(nodes: list[dict[str, Any]]) -> str:
    rows = [
        [each["node"], each["verdict"], each["effect"], each["outcome"] or "-", each["reason"]]
        for each in nodes
    ]
    return table(["node", "verdict", "effect", "so far", "why"], rows, status=1)


def _start(url: str | None, as_json: bool, wait: bool, asked: Any) -> None:
    """Start an execution; show its id, or wait for its result."""

    async def ask(client: Client) -> dict[str, Any]:
        started: dict[str, Any] = await asked(client)
        return await running.wait_for(client, started["id"], None) if wait else started

    found = drive(reach.ask(url, ask))
    if wait:
        raise typer.Exit(running.report(found, as_json))
    show({"execution": found["id"], **found}, as_json, lambda: found["id"])
    if not as_json:
        say(f"  celeriac executions show {found['id']}")


def _timeline(body: dict[str, Any], nodes: list[dict[str, Any]], most: int) -> str:
    """Return what a person wants to know first, first."""
    took = lasting(body["duration_ms"]) if body["duration_ms"] is not None else "so far"
    title = f"{body['workflow']['name']} v{body['version']['number']}"
    lines = [f"{paint(body['id'], 'bold')}  {title}  {paint(body['status'], body['status'])}  {took}"]
    if (answer := body.get("answer")) is not None:
        lines.append(answered(answer))
    lines.extend(_first_error(body, nodes))
    begun = body["created_at"]
    rows = [_node_row(each, begun) for each in nodes[:most]]
    headers = ["node", "status", "start", "took", "tries", "first error"]
    lines += ["", table(headers, rows, status=1)]
    if len(nodes) > most:
        lines.append(f"... and {len(nodes) - most} more: --nodes {len(nodes)}")
    return "\n".join(lines)


def _first_error(body: dict[str, Any], nodes: list[dict[str, Any]]) -> list[str]:
    failed = [each for each in nodes if each.get("error")]
    error = body.get("error") or (failed[0]["error"] if failed and body["status"] != "succeeded" else None)
    lines = []
    if error is not None:
        where = error.get("node") or (failed[0]["node"] if failed else None)
        lines.append(
            error_text({**error, "message": f"{where}: {error['message']}" if where else error["message"]})
        )
    if body["status"] in ("failed", "timed_out", "cancelled"):
        lines.append(f"  celeriac executions retry {body['id']}")
    unsure = [each for each in nodes if each["status"] in ("uncertain", "quarantined")]
    if unsure and body.get("finished_at") is None:
        lines.append(f"  {unsure[0]['node']} waits for a person: celeriac attention list")
    if body.get("ends_as") and body.get("finished_at") is None:
        until = f", until {when(body['deadline'])} at the latest" if body.get("deadline") else ""
        lines.append(f"  it is to end as {body['ends_as']}, and does what is done in its end{until}")
        lines.append(f"  without that: celeriac executions cancel {body['id']} --force")
    if body.get("paused_at") and body.get("finished_at") is None:
        lines.append(f"  held since {when(body['paused_at'])}: celeriac executions resume {body['id']}")
    return lines


def _node_row(each: dict[str, Any], begun: int) -> list[str]:
    start = "-" if each["started_at"] is None else f"+{lasting(each['started_at'] - begun)}"
    start = "kept" if each.get("kept") else start
    error = each.get("first_error")
    text = "" if error is None else f"{error['code']}: {error['message']}"
    wide = 100 if is_live(sys.stdout) else 1000
    name = f"{each['node']}[{each['item']}]" if each.get("item") else each["node"]
    if each.get("items"):
        name = f"{name}  {_counted(each['items'])}"
    tries = str(each["tries"]) if each["tries"] else "-"
    return [name, each["status"], start, lasting(each["duration_ms"]), tries, text[:wide]]


def _counted(items: dict[str, int]) -> str:
    """Say how many items there are, and what became of those that did not simply succeed."""
    count = sum(items.values())
    others = [
        f"{number:,} {state}" for state, number in items.items() if state not in ("succeeded", "continued")
    ]
    return ", ".join(["1 item" if count == 1 else f"{count:,} items", *others])


def _event_line(event: dict[str, Any]) -> str:
    known = ("seq", "type", "at", "node", "segment")
    subject = event.get("node", event.get("segment", ""))
    more = ", ".join(f"{key}={value}" for key, value in event.items() if key not in known)
    if event["type"] == "node.saying":
        more = repr(event["text"]) if event["state"] != "broken" else "what it said so far does not count"
    number = event.get("seq", "")  # a piece of what a model says has none
    return f"{number:>5}  {when(event['at'])}  {event['type']:<24} {subject}  {more}".rstrip()
