"""Child processes for nodes that compute: they can be killed, and their death is heard at once.

Each child is a fresh interpreter on one end of a socket pair. The end of the stream means it is dead, in milliseconds;
SIGKILL is what a timeout means; and the kernel kills a child whose parent dies. A child has no database, no broker and no
network client: it gets a rendered config and gives back JSON.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from celeriac import Call, Emit, Exit, Fail, Json, NodeError, Respond, Route, TryAgain, Uncertain
from engine import failpoints
from engine.context import NodeContext
from engine.performance import ChildDied, NoChild, out_of_time
from engine.programs import Step
from engine.settings import Settings
from engine.signals import wait_from_json

log = logging.getLogger(__name__)

_LENGTH = struct.Struct(">I")
_PAUSES = (0.1, 0.5, 2.0)
"""Seconds before starting a child is tried again: a machine that is short of processes or memory is so for a moment."""
_START_SECONDS = 30.0


class NodeCrashed(Exception):
    """A node raised in its child what it did not foresee. `error` has the kinds of what it raised, as `retry.on` names them."""

    def __init__(self, error: NodeError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(slots=True, eq=False)
class _Child:
    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def lives(self) -> bool:
        """Whether nothing has been heard of its death."""
        return self.process.returncode is None and not self.reader.at_eof()


class Children:
    """As many children as there are processors (or as the setting says), started when they are first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.children or os.cpu_count() or 1)
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()

    async def call(
        self, step: Step, config: Json, context: NodeContext, timeout: float, began: Callable[[], None]
    ) -> Any:
        """Run a node in a child. Raises what the node foresaw, `NodeCrashed` for the rest, what ends an attempt by its limits,
        `ChildDied` and `NoChild`.

        `began` is called when a child takes up the call: until then it waits its turn, which is none of its own time.
        """
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
                "last_heartbeat": context.last_heartbeat,
            },
        }
        async with self._slots:
            child = await self._ready()
            try:
                began()
                async with asyncio.timeout(None) as limit:
                    context.pulse.begin(limit, timeout)
                    reply = await _exchange(child, request, context)
            except TimeoutError:
                await self._kill(child)
                raise out_of_time(context.pulse, timeout, "; its process was killed") from None
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

    async def _ready(self) -> _Child:
        """Return a living child. One that died while it was idle took no call with it, so it costs none a delivery.

        Raises `NoChild` when none can be started.
        """
        while self._idle:
            child = self._idle.pop()
            if child.lives:
                return child
            await self._kill(child)
        for pause in _PAUSES:
            try:
                return await self._spawn()
            except (OSError, asyncio.IncompleteReadError) as error:
                log.warning("A child process could not be started: %s", error)
                await asyncio.sleep(pause)
        try:
            return await self._spawn()
        except (OSError, asyncio.IncompleteReadError) as error:
            message = f"No child process could be started: {error}"
            raise NoChild(message) from error

    async def _spawn(self) -> _Child:
        """Start a child and wait until it has imported its nodes, which is none of any call's time."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "worker.child",
                    str(theirs.fileno()),
                    ",".join(self._settings.node_modules),
                    pass_fds=(theirs.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL,
                )
            ours.setblocking(False)
            reader, writer = await asyncio.open_connection(
                sock=ours, limit=self._settings.limits.output_bytes * 2
            )
        except BaseException:
            ours.close()  # which ends a child that was started already
            raise
        child = _Child(process, reader, writer)
        self._all.add(child)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await reader.readexactly(_LENGTH.size)
        except BaseException:
            await self._kill(child)
            raise
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


@failpoints.crossing("child.exchange", ConnectionResetError)
async def _exchange(child: _Child, request: dict[str, Any], context: NodeContext) -> dict[str, Any]:
    """Hand a call over and return what it came to. The heartbeats before that are those of the call's own context."""
    body = json.dumps(request).encode()
    child.writer.write(_LENGTH.pack(len(body)) + body)
    await child.writer.drain()
    while True:
        (size,) = _LENGTH.unpack(await child.reader.readexactly(_LENGTH.size))
        reply = _read(await child.reader.readexactly(size))
        if "beat" not in reply:
            return reply
        await context.heartbeat(reply["beat"])


def _read(body: bytes) -> dict[str, Any]:
    try:
        reply: dict[str, Any] = json.loads(body)
    except RecursionError as error:
        message = "The output is not JSON: it is nested too deep."
        raise Fail("node.output_invalid", message) from error
    return reply


def _result(reply: dict[str, Any]) -> Any:
    match reply:
        case {"error": error}:
            raise _raised(**error)
        case {"wait": wait}:
            return wait_from_json(wait)
        case {"emit": emit}:
            return Emit(*emit)
        case {"scope": scope, "value": value}:
            return Exit(scope, value)
        case {"respond": answer}:
            return Respond(*answer)
        case {"call": call}:
            return Call(**call)
        case {"ports": ports, "value": value}:
            return Route(tuple(ports), value)
    return reply["value"]


def _raised(kind: str, code: str, message: str, **more: Any) -> Exception:
    """Return what the node raised, as far as the engine tells exceptions apart."""
    details = more["details"]
    if kind == "try_again":
        return TryAgain(code, message, more["after"], details)
    if kind == "uncertain":
        return Uncertain(code, message, details)
    if kind == "crashed":
        return NodeCrashed(NodeError(code, message, details, tuple(more["kinds"])))
    return Fail(code, message, details)


def _how(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit code {status}"
