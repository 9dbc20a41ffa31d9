"""What an installation keeps: its schema, its backups, and what it lets go of."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from celeriac.commands import lock as locks
from celeriac.commands.terminal import AsJson, answering, refuse, say, show


def migrate(as_json: AsJson = False) -> None:
    """Bring the database to this version's schema. Safe to repeat, and from several machines at once."""
    with answering(as_json):
        from engine.settings import from_environment
        from engine.store import schema

        settings = from_environment()
        if not schema.is_at_head(settings):
            schema.migrate(settings, round(time.time() * 1000))
        show({"schema": schema.HEAD}, as_json, lambda: f"the database is at schema {schema.HEAD}")


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; it must not exist.")],
    as_json: AsJson = False,
) -> None:
    """Write a backup of a SQLite installation into one file, while it runs."""
    with answering(as_json):
        from engine import backup as backups
        from engine.settings import from_environment

        content = backups.backup(from_environment(), file)
        text = f"{content.path}: {content.workflows} workflows, {content.executions} executions, {content.size:,} bytes"
        show(_content(content), as_json, lambda: text)
        say("It holds no secret key: keep secret.key, or CELERIAC_SECRET_KEY, apart from it.")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What celeriac backup wrote.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="In the place of the present database, which is kept beside it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a backup in the place of a SQLite installation's database. Nothing may run meanwhile."""
    with answering(as_json):
        from celeriac.client import Refused
        from engine import backup as backups
        from engine.settings import from_environment

        settings = from_environment()
        lock = locks.Lock.take(settings.data)
        if lock is None:
            message = f"Celeriac is up on {settings.data}."
            raise Refused("stack.running", message, hint="Stop it first; then restore.")
        try:
            content, kept = backups.restore(settings, file, now=round(time.time() * 1000), replace=replace)
        finally:
            lock.release()
        text = f"{content.path}: {content.workflows} workflows, {content.executions} executions"
        body = {**_content(content), "replaced": None if kept is None else str(kept)}
        show(body, as_json, lambda: text)
        if kept is not None:
            say(f"The database of before is {kept}")
        if content.unfinished:
            say(
                f"{content.unfinished} executions go on from the time of the backup; what they did after it may be "
                "done once more. Look first: celeriac executions list"
            )


def purge(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="DURATION", help="Like 30d, 12h or 90m.")
    ],
    as_json: AsJson = False,
) -> None:
    """Delete executions that ended longer ago than that, with all they kept. The installation may run meanwhile."""
    with answering(as_json):
        from celeriac.duration import seconds
        from engine import retention
        from engine.settings import from_environment
        from engine.store.database import open_database
        from engine.store.schema import check

        try:
            age = seconds(older_than)
        except ValueError as error:
            refuse(
                "usage.duration", f"--older-than is {older_than!r}. {error}", "For example: --older-than 30d"
            )
        settings = from_environment()
        database = open_database(settings)
        connection = database.connect()
        check(connection)
        now = connection.now()
        connection.close()

        def tell(gone: retention.Purged) -> None:
            if not as_json and gone.executions:
                say(f"{gone.executions:,} executions are gone")

        gone = retention.purge(database, now - round(age * 1000), now, tell)
        body = {
            "executions": gone.executions,
            "events": gone.events,
            "arrivals": gone.arrivals,
            "workflows": gone.workflows,
            "cached": gone.cached,
            "blobs": gone.blobs,
            "writer_marks": gone.marks,
            "sessions": gone.sessions,
        }
        show(body, as_json, lambda: f"deleted {gone.executions:,} executions and {gone.blobs:,} large values")


def _content(content: object) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(content)  # type: ignore[call-overload, no-any-return]
