"""A child process: reads one call at a time from its socket, runs the node, answers. `python -m worker.child FD MODULES`."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Awaitable
from typing import Any

from celeriac import Fail, Route, TryAgain
from engine.context import NodeContext
from engine.failure import error_of
from engine.registry import Registry

_LENGTH = struct.Struct(">I")
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Serve calls until the parent closes its end."""
    die_with_parent()
    stream = socket.socket(fileno=int(arguments[0])).makefile("rwb")
    registry = Registry.load(arguments[1].split(","))
    while len(head := stream.read(_LENGTH.size)) == _LENGTH.size:
        reply = _serve(registry, json.loads(stream.read(_LENGTH.unpack(head)[0])))
        try:
            body = json.dumps(reply, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            failed = {"kind": "fail", "code": "node.output_invalid", "message": str(error), "details": {}}
            body = json.dumps({"lines": [], "error": failed}).encode()
        stream.write(_LENGTH.pack(len(body)) + body)
        stream.flush()


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies (Linux; elsewhere the closed socket ends it)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:
            sys.exit(0)


def _serve(registry: Registry, request: dict[str, Any]) -> dict[str, Any]:
    context = NodeContext(**request["context"], around=None, step=None)
    try:
        node_type = registry.resolve(request["type"])
        result = node_type.run(node_type.config.model_validate(request["config"]), context)
        if isinstance(result, Awaitable):
            result = asyncio.run(_awaited(result))
    except TryAgain as error:
        failed = {"kind": "try_again", "code": error.code, "message": error.message, "after": error.after}
        return {"lines": context.lines, "error": {**failed, "details": error.details}}
    except Fail as error:
        failed = {"kind": "fail", "code": error.code, "message": error.message, "details": error.details}
        return {"lines": context.lines, "error": failed}
    except Exception as error:
        known = error_of(error)
        failed = {"kind": "fail", "code": known.code, "message": known.message, "details": {}}
        return {"lines": context.lines, "error": failed}
    if isinstance(result, Route):
        return {"lines": context.lines, "ports": list(result.ports), "value": result.value}
    return {"lines": context.lines, "ports": None, "value": result}


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


if __name__ == "__main__":
    main(sys.argv[1:])
