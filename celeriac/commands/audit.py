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

app = typer.Typer(help="What was done, by whom, to what: list, verify, purge.", no_args_is_help=True)


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
        sound = found.broken is None and bool(there)
        body = {
            "sound": sound,
            "rows": found.count - found.purged,
            "purged": found.purged,
            "broken_at": found.broken,
            "head": f"{found.count}:{found.head}",
            "head_found": there,
        }
        show(body, as_json, lambda: _text(found, there=there))
        if not sound:
            raise typer.Exit(FAILED)


@app.command()
def purge(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="DURATION", help="Like 365d. What is younger stays.")
    ],
    as_json: AsJson = False,
) -> None:
    """Let go of old rows. The rest can be verified as before, and the audit itself says what is gone.

    It changes the database of this machine's installation, and needs its secret key. The installation may run meanwhile.
    """
    with answering(as_json):
        from getpass import getuser

        from celeriac.duration import seconds
        from engine.access import audit
        from engine.outside import secret_key
        from engine.settings import from_environment
        from engine.store.database import open_database
        from engine.store.schema import check

        try:
            age = seconds(older_than)
        except ValueError as error:
            refuse(
                "usage.duration", f"--older-than is {older_than!r}. {error}", "For example: --older-than 365d"
            )
        settings = from_environment()
        secret, *_ = secret_key.load(settings.secret_key, settings.data, make=False, random_bytes=os.urandom)
        connection = open_database(settings).connect()
        gone = 0
        try:
            check(connection)
            key, now = secret_key.derive(secret, "audit"), connection.now()
            entry = audit.Entry("", f"{getuser()} on this machine", audit.PURGE, "audit")
            change = audit.purge(key, entry, now - round(age * 1000), now)
            more = True
            while more:
                connection.begin()
                count = change(connection)
                connection.commit()
                gone, more = gone + count, count == audit.PURGED_AT_ONCE
        finally:
            connection.close()
        show({"rows": gone}, as_json, lambda: f"deleted {gone:,} rows of the audit")


def _kept(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    number, _, digest = text.partition(":")
    if not number.isdecimal() or len(digest) != 64:
        refuse(
            "usage.head", f"--head is {text!r}, which is no head of an audit.", "It looks like 17:9f86d0..."
        )
    return int(number), digest


def _text(found: Verdict, *, there: bool | None) -> str:
    rows = found.count - found.purged
    if found.broken is not None:
        return f"broken at {found.broken}: {rows} rows before it are as they were written"
    if there is None:
        return f"{rows} rows hang together, but what was the head was purged since: nobody can say whether it was there"
    if not there:
        return (
            f"{rows} rows hang together, but what was the head is not there: the end was cut off or replaced"
        )
    return f"{rows} rows are as they were written; head {found.count}:{found.head}"
