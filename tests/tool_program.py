"""A server of tools that is a program: `python tool_program.py FILE [bad manners]`. It knows the standard library alone.

It writes its pid, and those of all it starts, into FILE. With bad manners it greets on its output, babbles, stays silent, or
ends, as the words say.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SLEEPS = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)",
]
TOOLS = ("add", "die", "environment", "fail", "file", "hang", "long", "ping", "start")


def main(file: Path, *manners: str) -> None:
    note(file, os.getpid())
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "greets" in manners:
        print("Welcome to tools 1.0!", flush=True)
    while "babbles" in manners:
        print("[info] ready", flush=True)
    if "ends" in manners:
        print("There is no configuration.", file=sys.stderr)
        sys.exit(3)
    if "silent" in manners:
        time.sleep(600)
    if "chatty" in manners:
        print("x" * 1_000_000, file=sys.stderr)
    version = "1999-01-01" if "old" in manners else "2025-06-18"
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" in asked:
            say({"id": asked["id"], **answer(asked, file, version)})
    if "stays" in manners:
        time.sleep(600)


def answer(asked: dict[str, Any], file: Path, version: str) -> dict[str, Any]:
    match asked["method"]:
        case "initialize":
            return {"result": {"protocolVersion": version, "serverInfo": {"name": "program"}}}
        case "tools/list":
            return {
                "result": {"tools": [{"name": each, "inputSchema": {"type": "object"}} for each in TOOLS]}
            }
        case "tools/call":
            return used(asked["params"]["name"], asked["params"]["arguments"], file)
    return {"error": {"code": -32601, "message": "What?"}}


def used(tool: str, given: dict[str, Any], file: Path) -> dict[str, Any]:
    if tool == "add":
        return text(given["a"] + given["b"])
    if tool == "die":
        print(f"Out of paper. {os.environ.get('TOKEN', '')}", file=sys.stderr, flush=True)
        os._exit(7)
    if tool == "environment":
        found = {
            "directory": str(Path.cwd()),
            "open": [each for each in range(3, 1024) if Path(f"/proc/self/fd/{each}").exists()],
        }
        return text({**found, "variables": dict(os.environ)})
    if tool == "fail":
        return {**text("There is no paper."), "result": {"content": [], "isError": True}}
    if tool == "file":
        with file.with_suffix(".filed").open("a") as filed:
            filed.write(f"{given['text']}\n")
        return text("Filed.")
    if tool == "hang":
        time.sleep(600)
    if tool == "long":
        return text("x" * given["size"])
    if tool == "ping":
        print("no message at all", flush=True)
        say({"method": "notifications/progress"})
        say({"id": "a", "method": "ping"})
        say({"id": "b", "method": "sampling/createMessage", "params": {}})
        return text([json.loads(sys.stdin.readline()) for _ in range(2)])
    if tool == "start":
        # One that stays in the group, one that leaves it, and one whose parent is gone.
        note(file, subprocess.Popen(SLEEPS).pid)
        note(file, subprocess.Popen(SLEEPS, start_new_session=True).pid)
        started = f"subprocess.Popen({SLEEPS!r}, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)"
        orphaned = f"import subprocess; print({started}.pid)"
        note(
            file,
            int(subprocess.run([sys.executable, "-c", orphaned], check=True, capture_output=True).stdout),
        )
        return text("Started.")
    return {"error": {"code": -32602, "message": f"There is no tool {tool}."}}


def text(value: Any) -> dict[str, Any]:
    return {
        "result": {
            "content": [{"type": "text", "text": json.dumps(value)}],
            "structuredContent": {"is": value},
        }
    }


def say(message: dict[str, Any]) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def note(file: Path, pid: int) -> None:
    with file.open("a") as notes:
        notes.write(f"{pid}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
