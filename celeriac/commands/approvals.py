"""Approvals: listed, looked at, and decided."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celeriac.commands import payloads, reach
from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, Url, answering, paint, say, show, when

if TYPE_CHECKING:
    from celeriac.client import Client

app = typer.Typer(help="Decisions that executions wait for.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="APPROVAL")]


class Decision(StrEnum):
    """A person's voice."""

    APPROVE = "approve"
    REJECT = "reject"


@app.command("list")
def list_(
    status: Annotated[
        str, typer.Option("--status", help="open, approved, rejected, timed_out, withdrawn; or all.")
    ] = "open",
    mine: Annotated[bool, typer.Option("--mine", help="Only what waits for your voice.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200)] = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List approvals, the latest first."""
    with answering(as_json):
        found = drive(_list(url, None if status == "all" else status, limit, mine=mine))
        show(found, as_json, lambda: "\n".join(map(_line, found)))
        if not found:
            say("Nothing waits to be decided." if status == "open" else "There are none.")


@app.command("show")
def show_(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Show what an approval asks, and who has said what."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.approval(name)))
        show(found, as_json, lambda: _text(found))


@app.command()
def decide(
    name: Name,
    decision: Annotated[Decision, typer.Argument()],
    comment: Annotated[str, typer.Option("--comment", help="Why.")] = "",
    form: Annotated[
        str | None, typer.Option("--form", metavar="JSON|@FILE", help="What the form asks for.")
    ] = None,
    shown: Annotated[
        str | None,
        typer.Option("--shown", metavar="HASH", help="What you have seen; without it, what is shown now."),
    ] = None,
    principal: Annotated[str | None, typer.Option("--as", metavar="NAME", help="Who decides.")] = None,
    roles: Annotated[str, typer.Option("--roles", help="Whose roles are these, with commas between.")] = "",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Approve or reject. The execution goes on when enough people have.

    Example: celeriac approvals decide appr_01m80ns36neestyw2tc6xpgqvz approve --as ann --comment 'Looks right.'
    """
    with answering(as_json):
        body: dict[str, Any] = {"decision": str(decision), "comment": comment}
        if form is not None:
            body["form"] = payloads.read(form, "--form")
        found = drive(_decide(url, name, body, shown, principal, roles))
        show(
            found,
            as_json,
            lambda: found["status"] if found["decided"] else "Counted; more voices are needed.",
        )


async def _list(url: str | None, status: str | None, limit: int, *, mine: bool) -> list[dict[str, Any]]:
    async with reach.api(url) as client:
        found: list[dict[str, Any]] = (await client.approvals(status=status, limit=limit, mine=mine))["data"]
        return found


async def _decide(
    url: str | None,
    name: str,
    body: dict[str, Any],
    shown: str | None,
    principal: str | None,
    roles: str,
) -> dict[str, Any]:
    client: Client
    async with reach.api(url) as client:
        seen = shown or (await client.approval(name))["shown_hash"]
        return await client.decide(name, {**body, "shown_hash": seen}, principal=principal, roles=roles)


def _line(each: dict[str, Any]) -> str:
    return f"{paint(each['status'], each['status'])}  {each['id']}  {each['workflow']}  {each['title']}"


def _text(each: dict[str, Any]) -> str:
    lines = [_line(each)]
    lines += [f"  {each['description']}"] if each.get("description") else []
    if "show" in each:
        lines += [f"  {line}" for line in json.dumps(each["show"], indent=2, ensure_ascii=False).splitlines()]
    asked = ", ".join([*each["approvers"]["users"], *each["approvers"]["roles"]]) or "anybody"
    lines.append(f"  asked: {asked}; quorum {each['quorum']}, {each['rule']}")
    lines += [f"  until {when(each['due'])}"] if each.get("due") else []
    for vote in each["votes"]:
        why = f", {vote['comment']}" if vote["comment"] else ""
        lines.append(f"  {vote['principal']}: {vote['decision']}{why}")
    lines.append(f"  shown: {each['shown_hash']}")
    return "\n".join(lines)
