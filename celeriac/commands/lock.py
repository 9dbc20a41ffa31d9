"""One stack a data directory: a lock that dies with its holder, and a file that tells others where the stack is."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

FOLDER = "run"
"""Where a running stack keeps its sockets and its file: in the data directory, only for its owner."""

_LOCK, _FILE = "up.lock", "up.json"
_PATIENCE = 0.2


class Lock:
    """The right to run a stack on a data directory. Held by the process; a killed one has let go of it."""

    def __init__(self, data: Path, descriptor: int) -> None:
        self._data = data
        self._descriptor = descriptor

    @classmethod
    def take(cls, data: Path) -> Lock | None:
        """Return the lock, or None when another process has it. Makes the data directory."""
        folder(data)
        descriptor = os.open(data / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # Someone who only looks lets go at once; a stack does not, and then has a file.
                if time.monotonic() > deadline:
                    os.close(descriptor)
                    return None
                time.sleep(0.01)
            else:
                (data / FOLDER / _FILE).unlink(missing_ok=True)
                return cls(data, descriptor)

    def tell(self, content: dict[str, Any]) -> None:
        """Write where the stack is, whole or not at all."""
        path = self._data / FOLDER / _FILE
        draft = path.with_suffix(".new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file)
        draft.replace(path)

    def release(self) -> None:
        """Let others start."""
        (self._data / FOLDER / _FILE).unlink(missing_ok=True)
        os.close(self._descriptor)


def folder(data: Path) -> Path:
    """Return the stack's folder in a data directory; makes both."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = data / FOLDER
    path.mkdir(mode=0o700, exist_ok=True)
    path.chmod(0o700)
    return path


def is_taken(data: Path) -> bool:
    """Whether a stack runs, or is being started or stopped, on a data directory."""
    try:
        descriptor = os.open(data / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def running(data: Path) -> dict[str, Any] | None:
    """Return what the stack on a data directory tells of itself; None when none is up."""
    if not is_taken(data):
        return None
    with suppress(FileNotFoundError):
        content: dict[str, Any] = json.loads((data / FOLDER / _FILE).read_text(encoding="utf-8"))
        return content
    return None
