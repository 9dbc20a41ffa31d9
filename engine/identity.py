"""Who this process is, in words that another process of the same host can test: host, pid and birth.

A pid alone is not enough, since pids come back; with the time of birth a dead owner is known to be dead at once, without
waiting for its lease. Processes of other hosts or of other pid namespaces are left to their leases.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from functools import lru_cache
from pathlib import Path

ALIVE = "alive"
"""The birth of a process of which only its being there is known."""


@lru_cache(maxsize=1)
def host() -> str:
    """Return a short name of this host and pid namespace, different after every boot."""
    parts = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            parts.append(
                str(Path(path).readlink()) if path.endswith("pid") else Path(path).read_text().strip()
            )
        except OSError:
            parts.append(sys.platform)
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:12]


def born(pid: int) -> str | None:
    """Return when a process of this host was born, in a unit that only compares; None when there is surely none.

    `ALIVE` when there is one and its birth cannot be read: no /proc, one that hides other users' processes, or no file
    descriptor left to look with. Only the kernel's own word, which needs neither, makes a process dead.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ALIVE if _answers(pid) else None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def owner() -> str:
    """Return this process's name as the owner of claims: `host:pid:birth`."""
    return f"{host()}:{os.getpid()}:{born(os.getpid())}"


def is_dead(name: str) -> bool:
    """Whether an owner is known to be dead: a process of this host that is not there any more.

    While there is one of that pid and either birth is unknown, its lease decides: to take work from the living costs more.
    """
    where, _, rest = name.partition(":")
    pid, _, birth = rest.partition(":")
    if where != host() or not pid.isdecimal():
        return False
    found = born(int(pid))
    return found is None or (ALIVE not in (found, birth) and found != birth)
