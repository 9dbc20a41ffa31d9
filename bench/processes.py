"""What processes cost, asked of the kernel: processor time and memory of a process with all that descend from it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

_PROC = Path("/proc")

Snapshot = dict[str, dict[int, float]]
"""Seconds of processor time by role and process."""


def family(roots: Iterable[int]) -> list[int]:
    """Return processes and all that descend from them."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and (parent := _parent(entry)) is not None:
            children[parent].append(int(entry.name))
    found = list(roots)
    for each in found:
        found.extend(children[each])
    return found


def snapshot(roles: Mapping[str, Iterable[int]]) -> Snapshot:
    """Return the processor time that the families of each role have used so far."""
    return {role: _times(family(roots)) for role, roots in roles.items()}


def spent(before: Snapshot, after: Snapshot) -> dict[str, float]:
    """Return the seconds by role between two snapshots. A process that ended in between counts for nothing."""
    return {
        role: sum(seconds - before[role].get(pid, 0.0) for pid, seconds in times.items())
        for role, times in after.items()
    }


def megabytes(roots: Iterable[int]) -> dict[str, float]:
    """Return the memory of each process of some families: its own pages, and its share of those it shares (PSS)."""
    found: dict[str, float] = {}
    for pid in family(roots):
        try:
            lines = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines()
            line = (_PROC / str(pid) / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended since it was listed
        sizes = [int(each.split()[1]) for each in lines if each.startswith("Pss:")]
        if sizes and line:
            found[f"{pid} {_name(line)}"] = sizes[0] / 1024
    return found


def _times(pids: Iterable[int]) -> dict[int, float]:
    found = {}
    for pid in pids:
        try:
            # The kernel's clock of another process: user and system, all threads, to the nanosecond.
            found[pid] = time.clock_gettime((~pid << 3) | 2)
        except OSError:
            continue  # it has ended since it was listed
    return found


def _parent(entry: Path) -> int | None:
    try:
        return int(
            (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]
        )
    except (FileNotFoundError, ProcessLookupError):
        return None


def _name(line: bytes) -> str:
    """Return what a command line runs, in few words: the program, or the module that Python runs."""
    words = [each.decode(errors="replace") for each in line.rstrip(b"\0").split(b"\0")]
    if "-m" in words[:-1]:
        return " ".join(words[words.index("-m") + 1 :][:3])
    return Path(words[0].split(": ")[0].split()[0]).name
