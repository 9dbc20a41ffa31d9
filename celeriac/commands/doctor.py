"""`celeriac doctor`: what an installation needs, what is missing, and the remedy of each."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import typer

from celeriac.commands import lock as locks
from celeriac.commands.terminal import FAILED, AsJson, answering, paint, show

if TYPE_CHECKING:
    from pathlib import Path

    from engine.settings import Settings

OLDEST_PYTHON = (3, 11)
_PATIENCE_MS = 30_000


@dataclass(frozen=True, slots=True)
class Need:
    """One need: whether it is met, what was found, and what to do when it is not."""

    name: str
    ok: bool
    found: str
    remedy: str | None = None


def doctor(as_json: AsJson = False) -> None:
    """Look for everything an installation needs; exit with 1 when something is missing."""
    with answering(as_json):
        from engine.settings import from_environment

        needs = list(_needs(from_environment()))
        healthy = all(each.ok for each in needs)
        show(
            {"ok": healthy, "needs": [asdict(each) for each in needs]},
            as_json,
            lambda: "\n".join(map(_line, needs)),
        )
        if not healthy:
            raise typer.Exit(FAILED)


def _needs(settings: Settings) -> Iterator[Need]:
    for name, look in _LOOKS:
        try:
            ok, found, remedy = look(settings)
        except Exception as error:  # noqa: BLE001  whatever goes wrong with a need is what is told about it
            message = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
            yield Need(name, ok=False, found=str(message), remedy=getattr(error, "hint", None))
        else:
            yield Need(name, ok, found, None if ok else remedy)


_Finding = tuple[bool, str, str | None]


def _python(_: Settings) -> _Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    return sys.version_info >= OLDEST_PYTHON, found, "Use Python 3.11 or newer."


def _sqlite(settings: Settings) -> _Finding:
    from engine.store.database import OLDEST_SQLITE

    good = sqlite3.sqlite_version_info >= OLDEST_SQLITE or not settings.sqlite
    remedy = "3.38 or newer is needed: use a newer build of Python, or PostgreSQL through DATABASE_URL."
    return good, sqlite3.sqlite_version, remedy


def _data(settings: Settings) -> _Finding:
    data = settings.data
    if not data.exists():
        above = next(each for each in data.parents if each.exists())
        return os.access(above, os.W_OK), f"{data} (not made yet)", f"Make it: mkdir -p -m 700 {data}"
    mode = stat.S_IMODE(data.stat().st_mode)
    if not os.access(data, os.W_OK | os.X_OK):
        return (
            False,
            f"{data} is not writable",
            "Let its owner run celeriac, or name another in CELERIAC_DATA.",
        )
    secrets = [data / name for name in ("api.token", "secret.key", "celeriac.db")]
    exposed = [str(each) for each in secrets if _open_to_others(each)]
    if exposed:
        return False, f"others may read {', '.join(exposed)}", f"chmod 600 {' '.join(exposed)}"
    return True, f"{data} (mode {mode:03o})", None


def _database(settings: Settings) -> _Finding:
    from engine.store.database import open_database
    from engine.store.schema import HEAD, check

    if settings.sqlite and not settings.sqlite_path.exists():
        return True, f"{settings.sqlite_path} (celeriac up makes it)", None
    connection = open_database(settings).connect()
    try:
        check(connection)
    finally:
        connection.close()
    return True, f"{'SQLite' if settings.sqlite else 'PostgreSQL'}, schema {HEAD}", None


def _broker(settings: Settings) -> _Finding:
    import dataclasses

    from engine.broker import DOWN, Broker, make_app
    from engine.valkey import binary

    if not os.environ.get("BROKER_URL"):
        there = locks.running(settings.data)
        found = list((settings.data / locks.FOLDER).glob("valkey-*.sock")) if there else []
        if not found:
            return True, f"the bundled Valkey ({binary()})", None
        settings = dataclasses.replace(settings, broker_url=f"redis+socket://{found[0]}")
    broker = Broker(make_app(settings))
    try:
        broker.lengths(settings.queues)
    except DOWN:
        return False, "the broker does not answer", "Start it, or correct BROKER_URL."
    finally:
        broker.close()
    return True, "reachable", None


def _secret_key(settings: Settings) -> _Finding:
    from engine.outside import secret_key

    if settings.sqlite and not settings.secret_key and not (settings.data / secret_key.FILE).exists():
        return True, "none yet (the first start makes one)", None
    secret_key.load(settings.secret_key, settings.data, make=False, random_bytes=os.urandom)
    return True, "CELERIAC_SECRET_KEY" if settings.secret_key else str(settings.data / secret_key.FILE), None


def _token(settings: Settings) -> _Finding:
    from api import token

    if not settings.api_token and not (settings.data / token.FILE).exists():
        return True, "none yet (the first start makes one)", None
    token.load(settings)
    return True, "CELERIAC_API_TOKEN" if settings.api_token else str(settings.data / token.FILE), None


def _port(settings: Settings) -> _Finding:
    from api.listening import listen

    there = locks.running(settings.data)
    if there is not None:
        return True, f"Celeriac is up at {there['url']}", None
    listen(settings.api_host, settings.api_port).close()
    return True, f"{settings.api_host}:{settings.api_port} is free", None


def _work(settings: Settings) -> _Finding:
    """Whether somebody takes up what is ready: for half a minute nobody has, if a segment is overdue by that."""
    from engine.store.database import open_database
    from engine.store.schema import check

    if settings.sqlite and not settings.sqlite_path.exists():
        return True, "nothing is to be done", None
    connection = open_database(settings).connect()
    try:
        check(connection)
        since = connection.now() - _PATIENCE_MS
        rows = connection.run(
            "SELECT queue, count(*) FROM segment WHERE status = 'ready' AND due < ? AND ready_at < ? "
            "GROUP BY queue ORDER BY queue",
            (since, since),
        )
    finally:
        connection.close()
    if not rows:
        return True, "nothing waits for a worker", None
    waiting = ", ".join(f"{count} in {queue}" for queue, count in rows)
    if settings.sqlite and not locks.is_taken(settings.data):
        return True, f"segments wait until celeriac up: {waiting}", None
    queues = ",".join(queue for queue, _ in rows)
    return False, f"segments wait for a worker: {waiting}", f"Start one: celeriac worker --queues {queues}"


def _nodes(settings: Settings) -> _Finding:
    from engine.registry import Registry

    return (
        True,
        f"{len(Registry.load(settings.node_modules, settings.declarations).names())} node types",
        None,
    )


_LOOKS: tuple[tuple[str, Callable[[Settings], _Finding]], ...] = (
    ("python", _python),
    ("sqlite", _sqlite),
    ("data directory", _data),
    ("database", _database),
    ("broker", _broker),
    ("secret key", _secret_key),
    ("api token", _token),
    ("api port", _port),
    ("node types", _nodes),
    ("work", _work),
)


def _open_to_others(path: Path) -> bool:
    return path.exists() and bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def _line(need: Need) -> str:
    mark = paint("ok     ", "ok") if need.ok else paint("missing", "error")
    line = f"{mark}  {need.name:<14}  {need.found}"
    return f"{line}\n           {need.remedy}" if need.remedy else line
