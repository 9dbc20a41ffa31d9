"""Backup and restore of a SQLite installation. A backup is one file, taken at one instant, while everything runs on.

It holds no secret key: sealed connections open only where the same key is. A PostgreSQL server has better tools of its
own.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from engine.errors import Conflict, Invalid, Misconfigured, NotFound
from engine.settings import Settings
from engine.store.database import SqliteConnection, SqliteDatabase
from engine.store.schema import check, revision

_COUNTS = (
    "SELECT (SELECT count(*) FROM workflow), (SELECT count(*) FROM execution), "
    "(SELECT count(*) FROM execution WHERE finished_at IS NULL)"
)


class NotABackup(Invalid):
    """The file is no backup of Celeriac."""

    code = "backup.invalid"


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a backup."""

    path: str
    size: int
    schema: str
    workflows: int
    executions: int
    unfinished: int


def backup(settings: Settings, target: Path) -> Content:
    """Write a backup and read it once to see that it is whole. Raises `Misconfigured`, `Conflict`, `NotFound`.

    It appears under its name only when it is complete.
    """
    _require_sqlite(settings, "pg_dump --format=custom")
    if not settings.sqlite_path.exists():
        message = f"There is nothing to back up: {settings.sqlite_path} does not exist."
        raise NotFound(message, hint="CELERIAC_DATA names the folder of the installation.")
    if target.exists():
        message = f"{target} exists already."
        raise Conflict(message, hint="Give the backup another name, or remove the file.")
    if not target.parent.is_dir():
        message = f"There is no folder {target.parent}."
        raise NotFound(message, hint=f"Make it: mkdir -p {target.parent}")
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        connection = SqliteDatabase(settings.sqlite_path).connect()
        try:
            connection.backup(draft)
        finally:
            connection.close()
        content = inspect(draft)
        _settle(draft, target)
    finally:
        _remove(draft)
    return Content(str(target), content.size, *_rest(content))


def inspect(path: Path) -> Content:
    """Return what is in a backup. Raises `NotABackup`, or `SchemaTooNew` when a newer version wrote it."""
    if not path.is_file():
        message = f"There is no file {path}."
        raise NotFound(message)
    with path.open("rb") as file:
        if file.read(16) != b"SQLite format 3\0":
            message = f"{path} is no SQLite database."
            raise NotABackup(message, hint="Restore a file that celeriac backup wrote.")
    database = SqliteDatabase(path)
    try:
        connection = database.connect()
        try:
            schema, counts = _read(path, connection)
        finally:
            connection.close()
    except database.damaged as error:
        raise _damaged(path, str(error)) from None
    finally:
        Path(f"{path}.lock").unlink(missing_ok=True)
    return Content(str(path), path.stat().st_size, schema, *counts)


def _read(path: Path, connection: SqliteConnection) -> tuple[str, tuple[int, int, int]]:
    broken = connection.run("PRAGMA quick_check(1)")[0][0]
    if broken != "ok":
        raise _damaged(path, broken)
    schema = revision(connection)
    if schema is None:
        message = f"{path} is a database of something else."
        raise NotABackup(message, hint="Restore a file that celeriac backup wrote.")
    check(connection)
    workflows, executions, unfinished = connection.run(_COUNTS)[0]
    # As one file, without the log that a database in use has beside it.
    connection.run("PRAGMA journal_mode=DELETE")
    return schema, (workflows, executions, unfinished)


def _damaged(path: Path, reason: str) -> NotABackup:
    return NotABackup(f"{path} is damaged: {reason}.", hint="Take another backup.")


def restore(settings: Settings, source: Path, *, now: int, replace: bool) -> tuple[Content, Path | None]:
    """Put a backup in the place of the installation's database, which must not be in use.

    Returns what is in it, and where the database went that it took the place of. The backup itself is only read.
    Raises `Misconfigured`, `NotABackup`, or `Conflict` when there is a database and `replace` is not said.
    """
    _require_sqlite(settings, "pg_restore --clean")
    path = settings.sqlite_path
    if not source.is_file():
        message = f"There is no file {source}."
        raise NotFound(message)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        shutil.copyfile(source, draft)
        content = inspect(draft)
        if path.exists() and not replace:
            message = f"There is a database already: {path}."
            raise Conflict(message, hint="Say --replace; the present one is kept beside it.")
        kept = _set_aside(path, now) if path.exists() else None
        _settle(draft, path)
    finally:
        _remove(draft)
    return Content(str(path), content.size, *_rest(content)), kept


def _rest(content: Content) -> tuple[str, int, int, int]:
    return content.schema, content.workflows, content.executions, content.unfinished


def _require_sqlite(settings: Settings, instead: str) -> None:
    if not settings.sqlite:
        message = "The database is a PostgreSQL server, and this backs up SQLite files."
        raise Misconfigured(message, hint=f"Use the server's own tool: {instead}")


def _set_aside(path: Path, now: int) -> Path:
    """Fold the log into the present database and move it out of the way."""
    connection: SqliteConnection = SqliteDatabase(path).connect()
    connection.run("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    kept = path.with_name(f"{path.name}.{now}")
    path.rename(kept)
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    return kept


def _settle(draft: Path, target: Path) -> None:
    """Give a written file its name, durably."""
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.rename(target)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove(draft: Path) -> None:
    for suffix in ("", "-wal", "-shm", ".lock"):
        Path(f"{draft}{suffix}").unlink(missing_ok=True)
