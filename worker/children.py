"""Child processes for nodes that compute: they can be killed, and their death is heard at once.

Each child is a fresh interpreter on one end of a socket pair. The end of the stream means it is dead, in milliseconds;
SIGKILL is what a timeout means; and the kernel kills a child whose parent dies. A child has no database, no broker and no
network client: it gets a rendered config and gives back JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from celeriac import Fail, Json, Route, TryAgain
from engine.context import NodeContext
from engine.execute import ChildDied, NodeTimeout
from engine.programs import Step
from engine.settings import Settings

_LENGTH = struct.Struct(">I")


@dataclass(slots=True, eq=False)
class _Child:
    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Children:
    """As many children as there are processors (or as the setting says), started when they are first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.children or os.cpu_count() or 1)
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()

    async def call(self, step: Step, config: Json, context: NodeContext, timeout: float) -> Any:
        """Run a node in a child. Raises what the node raised, `NodeTimeout`, or `ChildDied`."""
        request = {
            "type": step.node.type,
            "config": config,
            "context": {
                "execution_id": context.execution_id,
                "node_id": context.node_id,
                "item": context.item,
                "attempt": context.attempt,
                "ready_at": round(context.now().timestamp() * 1000),
                "project": context.project,
                "log_limit": context.log_limit,
            },
        }
        async with self._slots:
            child = self._idle.pop() if self._idle else await self._spawn()
            try:
                async with asyncio.timeout(timeout):
                    reply = await _exchange(child, request)
            except TimeoutError:
                await self._kill(child)
                message = f"The attempt took longer than {timeout:g} s; its process was killed."
                raise NodeTimeout(message) from None
            except (asyncio.IncompleteReadError, ConnectionError, OSError):
                status = await self._kill(child)
                message = f"The child process of {context.node_id} died ({_how(status)})."
                raise ChildDied(message) from None
            except BaseException:
                await self._kill(child)
                raise
            self._idle.append(child)
        context.lines.extend((level, message, fields) for level, message, fields in reply["lines"])
        return _result(reply)

    async def end(self) -> None:
        """Kill every child."""
        for child in list(self._all):
            await self._kill(child)

    async def _spawn(self) -> _Child:
        ours, theirs = socket.socketpair()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "worker.child",
            str(theirs.fileno()),
            ",".join(self._settings.node_modules),
            pass_fds=(theirs.fileno(),),
            stdin=asyncio.subprocess.DEVNULL,
        )
        theirs.close()
        ours.setblocking(False)
        reader, writer = await asyncio.open_connection(
            sock=ours, limit=self._settings.limits.output_bytes * 2
        )
        child = _Child(process, reader, writer)
        self._all.add(child)
        return child

    async def _kill(self, child: _Child) -> int:
        self._all.discard(child)
        child.writer.close()
        with suppress(ProcessLookupError):
            child.process.kill()
        return await child.process.wait()

    def __len__(self) -> int:
        """Return how many children live."""
        return len(self._all)


async def _exchange(child: _Child, request: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps(request).encode()
    child.writer.write(_LENGTH.pack(len(body)) + body)
    await child.writer.drain()
    (size,) = _LENGTH.unpack(await child.reader.readexactly(_LENGTH.size))
    reply: dict[str, Any] = json.loads(await child.reader.readexactly(size))
    return reply


def _result(reply: dict[str, Any]) -> Any:
    if "value" in reply:
        return reply["value"] if reply["ports"] is None else Route(tuple(reply["ports"]), reply["value"])
    error = reply["error"]
    if error["kind"] == "try_again":
        raise TryAgain(error["code"], error["message"], error["after"], error["details"])
    raise Fail(error["code"], error["message"], error["details"])


def _how(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit code {status}"
