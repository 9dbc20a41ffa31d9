"""A child process: reads one call at a time from its socket, runs the node, answers. `python -m worker.child FD MODULES`."""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Protocol

from celeriac import Call, Emit, Exit, Fail, Json, Respond, Route, TryAgain, Uncertain, Wait
from engine.context import NodeContext
from engine.failure import error_of, knows_outcome
from engine.registry import Registry
from engine.signals import wait_to_json

_LENGTH = struct.Struct(">I")
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Say that it is ready with an empty frame, then serve calls until the parent closes its end."""
    die_with_parent()
    stream = socket.socket(fileno=int(arguments[0])).makefile("rwb")
    registry = Registry.load(arguments[1].split(","))
    stream.write(_LENGTH.pack(0))
    stream.flush()
    while len(head := stream.read(_LENGTH.size)) == _LENGTH.size:
        request = json.loads(stream.read(_LENGTH.unpack(head)[0]))
        _send(stream, _encoded(_serve(registry, request, partial(_beat, stream))))


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies (Linux; elsewhere the closed socket ends it)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:
            sys.exit(0)


class _Stream(Protocol):
    def write(self, body: bytes, /) -> int: ...

    def flush(self) -> None: ...


def _send(stream: _Stream, body: bytes) -> None:
    stream.write(_LENGTH.pack(len(body)) + body)
    stream.flush()


class _Done:
    """What is over already: it may be awaited, and need not be."""

    def __await__(self) -> Iterator[None]:
        return iter(())


def _beat(stream: _Stream, details: Json) -> _Done:
    """Tell a heartbeat, in between. Raises `Fail` when its details are no JSON."""
    try:
        body = json.dumps({"beat": details}, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        message = f"The details of the heartbeat are not JSON: {error}."
        raise Fail("node.output_invalid", message) from error
    _send(stream, body)
    return _Done()


def _serve(registry: Registry, request: dict[str, Any], beat: Callable[[Json], Any]) -> dict[str, Any]:
    context = NodeContext(**request["context"], around=None, step=None, beat=beat)
    try:
        node_type = registry.resolve(request["type"])
        result = node_type.run(node_type.config.model_validate(request["config"]), context)
        if isinstance(result, Awaitable):
            result = asyncio.run(_awaited(result))
    except Exception as error:  # noqa: BLE001  anything a node may raise is that node's failure  # anything a node may raise is that node's failure
        return {"lines": context.lines, "error": _failure(error)}
    if isinstance(result, Route):
        return {"lines": context.lines, "ports": list(result.ports), "value": result.value}
    if isinstance(result, Wait):
        return {"lines": context.lines, "wait": wait_to_json(result)}
    if isinstance(result, Emit):
        return {"lines": context.lines, "emit": [result.type, result.correlation, result.data]}
    if isinstance(result, Exit):
        return {"lines": context.lines, "scope": result.scope, "value": result.value}
    if isinstance(result, Respond):
        return {"lines": context.lines, "respond": [result.body, result.status, dict(result.headers)]}
    if isinstance(result, Call):
        return {"lines": context.lines, "call": dataclasses.asdict(result)}
    return {"lines": context.lines, "value": result}


def _failure(error: Exception) -> dict[str, Any]:
    """Return a failure with its kind: how far the node itself said what came of its effect."""
    known = error_of(error)
    said: dict[str, Any] = {"code": str(known.code), "message": str(known.message), "details": known.details}
    if isinstance(error, TryAgain):
        return {**said, "kind": "try_again", "after": error.after}
    if isinstance(error, Uncertain):
        return {**said, "kind": "uncertain"}
    if knows_outcome(error):
        return {**said, "kind": "fail"}
    return {**said, "kind": "crashed", "kinds": list(known.kinds)}


def _encoded(reply: dict[str, Any]) -> bytes:
    """Return the text of a reply. What cannot be told is left out of a failure, and makes a success one."""
    try:
        return json.dumps(reply, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        if "error" in reply:
            failed = {**reply["error"], "details": {}}
            if "after" in failed:
                failed["after"] = None
        else:
            deep = isinstance(error, RecursionError)
            message = f"The output is not JSON: {'it is nested too deep' if deep else error}."
            failed = _failure(Fail("node.output_invalid", message))
    return json.dumps({"lines": [], "error": failed}).encode()


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


if __name__ == "__main__":
    main(sys.argv[1:])
