"""The audit: looked at, and verified."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from celeriac.commands import reach
from celeriac.commands.loop import drive
from celeriac.commands.terminal import FAILED, AsJson, Url, answering, refuse, show, table, when

if TYPE_CHECKING:
    from engine.access.audit import Verdict

app = typer.Typer(help="What was done, by whom, to what: list, verify.", no_args_is_help=True)


@app.command("list")
def list_(
    actor: Annotated[
        str | None, typer.Option("--actor", metavar="NAME", help="Of this principal only.")
    ] = None,
    action: Annotated[
        str | None, typer.Option("--action", help="Of this deed only, like key:create.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Of the whole installation, and not of one project.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200)] = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List what was done, the latest first."""
    with answering(as_json):
        found = drive(
            reach.ask(
                url,
                lambda client: (client.audit_installation if everything else client.audit)(
                    actor=actor, action=action, limit=limit
                ),
            )
        )["data"]
        rows = [
            [
                str(each["seq"]),
                when(each["at"]),
                each["name"] or "-",
                each["action"],
                each["subject"],
                each["outcome"],
                each["address"],
            ]
            for each in found
        ]
        show(found, as_json, lambda: table(["seq", "when", "who", "did", "what", "outcome", "from"], rows))


@app.command()
def verify(
    head: Annotated[
        str | None,
        typer.Option(
            "--head", metavar="SEQ:HASH", help="What was printed the last time: it has to be still there."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Go through the whole chain of the audit and tell where it was altered. Keep what it prints: the next time, say --head.

    It reads the database of this machine's installation, and needs its secret key.
    """
    with answering(as_json):
        from engine.access import audit
        from engine.outside import secret_key
        from engine.settings import from_environment
        from engine.store.database import open_database
        from engine.store.schema import check

        settings = from_environment()
        kept = _kept(head)
        secrets = secret_key.load(settings.secret_key, settings.data, make=False, random_bytes=os.urandom)
        connection = open_database(settings).connect()
        try:
            check(connection)
            found = audit.verify(connection, *(secret_key.derive(each, "audit") for each in secrets))
            there = kept is None or audit.has(connection, *kept)
        finally:
            connection.close()
        sound = found.broken is None and there
        body = {
            "sound": sound,
            "rows": found.count,
            "broken_at": found.broken,
            "head": f"{found.count}:{found.head}",
            "head_found": there,
        }
        show(body, as_json, lambda: _text(found, there=there))
        if not sound:
            raise typer.Exit(FAILED)


def _kept(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    number, _, digest = text.partition(":")
    if not number.isdecimal() or len(digest) != 64:
        refuse(
            "usage.head", f"--head is {text!r}, which is no head of an audit.", "It looks like 17:9f86d0..."
        )
    return int(number), digest


def _text(found: Verdict, *, there: bool) -> str:
    if found.broken is not None:
        return f"broken at {found.broken}: {found.count} rows before it are as they were written"
    if not there:
        return f"{found.count} rows hang together, but what was the head is not there: the end was cut off or replaced"
    return f"{found.count} rows are as they were written; head {found.count}:{found.head}"
