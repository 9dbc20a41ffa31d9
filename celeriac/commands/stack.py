"""The whole installation from one process: this one serves the API, a worker and the bundled Valkey are its children.

Whatever the settings name already (DATABASE_URL, BROKER_URL) is used and not started. Children die with this process,
also when it is killed; the lock does too.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import importlib
import os
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.listening import listen, url_of
from celeriac.commands import lock as locks
from celeriac.commands.program import Kept, Program, Runs
from engine.errors import Misconfigured, Unavailable
from engine.settings import Settings
from engine.store import schema
from engine.valkey import LONGEST_SOCKET, Valkey

if TYPE_CHECKING:
    from api.server import Server

_DRAIN = "CELERIAC_DRAIN_SECONDS"
_DRAINED_WITHIN = "3"


class Stack:
    """The parts of a running installation."""

    def __init__(
        self, settings: Settings, lock: locks.Lock, listening: socket.socket, say: Callable[[str], None]
    ) -> None:
        self.settings = settings
        self.url = ""
        self._lock = lock
        self._listening = listening
        self._say = say
        self._kept: dict[str, Kept] = {}
        self._server: Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._flower: dict[str, str] | None = None
        self._socket: Path | None = None
        self._at_head = asyncio.Event()
        self._is_up = False

    async def start(self, *, monitor: bool) -> None:
        """Start everything that is missing; return when executions are accepted and carried out."""
        settings = self.settings
        if not os.environ.get("BROKER_URL"):
            self._socket = _socket_path(settings.data)
            settings = dataclasses.replace(settings, broker_url=f"redis+socket://{self._socket}")
        self.settings = settings = dataclasses.replace(settings, monitor=monitor or settings.monitor)
        broker = asyncio.create_task(self._start_broker())
        worker = asyncio.create_task(self._start_worker())
        # Importing what the API needs takes as long as a worker's start, and there are two processors.
        serving = asyncio.create_task(self._start_api(worker))
        parts = (broker, worker, serving)
        try:
            await asyncio.gather(*parts)
        except BaseException:
            for each in parts:
                each.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            raise
        if settings.monitor:
            await self._start_flower()
        self._is_up = True
        self._tell()

    async def stop(self) -> None:
        """Stop everything in the order that lets each finish: worker and API, then what they talk to."""
        broker = self._kept.pop("broker", None)
        parts = [each.stop() for each in self._kept.values()]
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            parts.append(self._served())
        await asyncio.gather(*parts)
        if broker is not None:
            await broker.stop()
        self._listening.close()
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)
            if self._socket.parent != locks.folder(self.settings.data):
                with suppress(OSError):  # something else is in it: leave it
                    self._socket.parent.rmdir()
        self._lock.release()

    async def failed(self) -> None:
        """Return when the API has ended by itself, which it should not."""
        if self._serving is not None:
            await asyncio.wait([self._serving])

    def describe(self) -> dict[str, Any]:
        """Return where it is, as others read it."""
        pids = {name: kept.current.process.pid for name, kept in self._kept.items()}
        found: dict[str, Any] = {
            "url": self.url,
            "data": str(self.settings.data),
            "pid": os.getpid(),
            "pids": pids,
        }
        return found if self._flower is None else {**found, "flower": self._flower}

    async def _start_broker(self) -> None:
        path = self._socket
        if path is not None:
            await self._keep("broker", lambda: Valkey.start(path))

    async def _start_worker(self) -> None:
        await self._migrated()
        line = [sys.executable, "-m", "celeriac", "worker"]

        async def start() -> Runs:
            return await Program.start(line, self._environment(), ready="CELERIAC_READY_FD")

        await self._keep("worker", start)

    async def _migrated(self) -> None:
        """Bring the schema up to date, in a process of its own: what that needs is never needed again.

        Raises `SchemaTooNew`.
        """
        if await asyncio.to_thread(schema.is_at_head, self.settings):
            self._at_head.set()
            return
        line = [sys.executable, "-m", "celeriac", "migrate"]
        migration = await Program.start(line, self._environment())
        try:
            status = await migration.process.wait()
        finally:
            await migration.stop()
        if status != 0:
            message = f"The database could not be migrated (exit code {status})."
            raise Unavailable(message, hint="The lines above say why.")
        self._at_head.set()

    async def _start_api(self, worker: asyncio.Task[None]) -> None:
        module = await asyncio.to_thread(importlib.import_module, "api.server")
        waiting = asyncio.create_task(self._at_head.wait())
        await asyncio.wait([waiting, worker], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not self._at_head.is_set():
            return  # the worker's task says why
        server: Server = module.make(self.settings)
        self._server = server
        self.url = url_of(self._listening)
        self._serving = asyncio.create_task(server.serve(sockets=[self._listening]))
        while not server.started:
            if self._serving.done():
                await self._serving  # raises what kept it from starting
            await asyncio.sleep(0.005)

    async def _served(self) -> None:
        if self._serving is not None:
            await asyncio.wait([self._serving])

    async def _start_flower(self) -> None:
        with listen("127.0.0.1", 5555 if _is_free(5555) else 0) as probe:
            port = probe.getsockname()[1]
        password = secrets.token_urlsafe(18)
        line = [
            sys.executable,
            "-m",
            "celery",
            "--app",
            "worker",
            "flower",
            "--address=127.0.0.1",
            f"--port={port}",
        ]
        environment = {
            **self._environment(),
            "FLOWER_BASIC_AUTH": f"celeriac:{password}",
            "FLOWER_LOGGING": "warning",
        }

        async def start() -> Runs:
            return await Program.start(line, environment, patience=2.0)

        await self._keep("flower", start)
        self._flower = {"url": f"http://127.0.0.1:{port}", "user": "celeriac", "password": password}

    async def _keep(self, name: str, start: Callable[[], Any]) -> None:
        self._kept[name] = Kept(name, await start(), start, self._changed)

    def _changed(self, what: str) -> None:
        self._say(what)
        if self._is_up:
            self._tell()

    def _tell(self) -> None:
        self._lock.tell(self.describe())

    def _environment(self) -> dict[str, str]:
        settings = self.settings
        return {
            _DRAIN: _DRAINED_WITHIN,
            **os.environ,
            "CELERIAC_DATA": str(settings.data),
            "DATABASE_URL": settings.database_url,
            "BROKER_URL": settings.broker_url,
            "CELERIAC_EGRESS_ALLOW": settings.egress_allow,
            "CELERIAC_MONITOR": "1" if settings.monitor else "",
            "CELERIAC_PUBLIC_URL": settings.public_url or url_of(self._listening),
        }


@asynccontextmanager
async def running(
    settings: Settings,
    lock: locks.Lock,
    *,
    port: int,
    monitor: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Stack]:
    """Run the whole installation inside the block. Port 0 takes any. Raises what keeps it from starting."""
    try:
        _check_secret(settings)
        listening = listen(settings.api_host, port)
    except BaseException:
        lock.release()
        raise
    stack = Stack(settings, lock, listening, say)
    try:
        await stack.start(monitor=monitor)
        yield stack
    finally:
        await asyncio.shield(asyncio.create_task(stack.stop()))


def _check_secret(settings: Settings) -> None:
    """Fail at once and not in a worker's log when a key is missing that nobody may make. Raises `Misconfigured`."""
    if not settings.sqlite:
        from engine.outside import secret_key

        secret_key.load(settings.secret_key, settings.data, make=False, random_bytes=os.urandom)


def short_folder(data: Path) -> Path:
    """Return where the broker's socket is when the path of the data directory is too long for one."""
    digest = hashlib.sha256(str(data).encode()).hexdigest()[:12]
    return Path(f"/tmp/celeriac-{os.getuid()}-{digest}")  # noqa: S108  who makes it looks at its owner and mode


def _socket_path(data: Path) -> Path:
    """Return where the broker's socket is to be: beside the data, or in a short folder when that path is too long.

    The name is new at every start: a server that is still ending cannot take its follower's socket along.
    """
    name = f"valkey-{os.getpid()}-{time.time_ns() % 1_000_000:06}.sock"
    folder = locks.folder(data)
    if len(str(folder / name).encode()) > LONGEST_SOCKET:
        folder = short_folder(data)
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if found.st_uid != os.getuid() or found.st_mode & 0o077 or folder.is_symlink():
            message = f"{folder} belongs to someone else, or is open to others."
            raise Misconfigured(message, hint="Remove it, or choose a data directory with a shorter path.")
    for stale in folder.glob("valkey-*.sock"):
        stale.unlink(missing_ok=True)
    return folder / name


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
