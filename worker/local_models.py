"""The models of this machine: one child process, started when it is first asked, ended when it is idle, killed when it hangs.

It is reached as any provider is, through a client that knows no other address. One question is answered at a time; whoever
gives up waiting ends the process, since nothing else could make it stop thinking.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from celeriac import Fail, Link, Program
from worker.model_child import LENGTH

BASE = "http://local/v1/"
IDLE_SECONDS = 600.0
"""How long it keeps its memory after the last answer: about 300 MB for the chat model, 120 MB for the vectors."""

_START_SECONDS = 60.0
_LARGEST = 64 * 1024 * 1024
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(slots=True, eq=False)
class _Child:
    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@dataclass(slots=True, eq=False)
class _LocalLink:
    http: httpx2.AsyncClient
    kind: str = "local"
    fields: Any = None

    def file(self, name: str) -> Path:
        raise _nothing_else(name)

    async def dial(self, host: str, port: int) -> socket.socket:
        raise _nothing_else(f"{host}:{port}")

    async def addresses(self, host: str, port: int) -> list[str]:
        raise _nothing_else(f"{host}:{port}")

    def program(self, name: str, values: Mapping[str, str]) -> AbstractAsyncContextManager[Program]:
        raise _nothing_else(name)


def _nothing_else(what: str) -> Fail:
    message = f"The connection to the models of this machine leads to nothing else, and not to {what}."
    return Fail("connection.host_not_bound", message)


class LocalModels:
    """The way to the models of this machine, for one event loop."""

    def __init__(self, folder: Path, idle_seconds: float = IDLE_SECONDS) -> None:
        self._folder = folder
        self._idle_seconds = idle_seconds
        self._turn = asyncio.Lock()
        self._child: _Child | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()

    def link(self) -> Link:
        """Return an opened connection to them. It has no secret, and dials nobody."""
        return _LocalLink(httpx2.AsyncClient(transport=_Transport(self), base_url=BASE, trust_env=False))

    @property
    def lives(self) -> bool:
        """Whether there is a process."""
        return self._child is not None

    async def ask(self, path: str, body: Any) -> tuple[int, Any]:
        """Return status and body of the answer. Raises `Fail` (`ai.not_installed`), `ConnectionError` when the process dies."""
        if not (self._folder / "xllamacpp").is_dir():
            message = "There are no models on this machine. Put them there with: celeriac models install."
            raise Fail("ai.not_installed", message, {"folder": str(self._folder)})
        async with self._turn:
            self._stay()
            child = self._child or await self._spawn()
            try:
                status, answer = await _exchange(child, {"path": path, "body": body})
            except (asyncio.IncompleteReadError, OSError) as error:
                await self._kill()
                message = "the process of the local models died"
                raise ConnectionError(message) from error
            except BaseException:
                await self._kill()
                raise
            self._rest()
            return status, answer

    async def end(self) -> None:
        """End the process."""
        self._stay()
        await self._kill()
        await asyncio.gather(*self._ending)

    async def _spawn(self) -> _Child:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "worker.model_child",
                    str(theirs.fileno()),
                    str(self._folder),
                    pass_fds=(theirs.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                    env={**os.environ, **_ONE_THREAD},
                )
            ours.setblocking(False)
            reader, writer = await asyncio.open_connection(sock=ours, limit=_LARGEST)
        except BaseException:
            ours.close()  # which ends a child that was started already
            raise
        child = self._child = _Child(process, reader, writer)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await reader.readexactly(LENGTH.size)
        except BaseException:
            await self._kill()
            raise
        return child

    async def _kill(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.writer.close()
            with suppress(ProcessLookupError):
                child.process.kill()
            await child.process.wait()

    def _rest(self) -> None:
        self._idle = asyncio.get_running_loop().call_later(self._idle_seconds, self._let_go)

    def _stay(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _let_go(self) -> None:
        task = asyncio.get_running_loop().create_task(self._kill())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


class _Transport(httpx2.AsyncBaseTransport):
    """Carries requests to the process. What is not for it goes nowhere."""

    def __init__(self, models: LocalModels) -> None:
        self._models = models

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.host != httpx2.URL(BASE).host:
            message = f"The local models are not at {request.url.host}."
            raise Fail("egress.refused", message)
        seconds = request.extensions.get("timeout", {}).get("read")
        try:
            async with asyncio.timeout(seconds):
                status, body = await self._models.ask(request.url.path, json.loads(await request.aread()))
        except TimeoutError as error:
            message = f"No answer within {seconds:g} seconds."
            raise httpx2.ReadTimeout(message, request=request) from error
        except OSError as error:
            raise httpx2.ReadError(str(error), request=request) from error
        return httpx2.Response(status, json=body, request=request)


async def _exchange(child: _Child, request: dict[str, Any]) -> tuple[int, Any]:
    body = json.dumps(request).encode()
    child.writer.write(LENGTH.pack(len(body)) + body)
    await child.writer.drain()
    (size,) = LENGTH.unpack(await child.reader.readexactly(LENGTH.size))
    status, answer = json.loads(await child.reader.readexactly(size))
    return status, answer
