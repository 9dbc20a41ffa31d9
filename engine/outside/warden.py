"""Stands between a worker and a program that it has started, and sees to it that nothing of the program outlives the call.

`python -I -S warden.py FD PROGRAM ARGUMENT...`: starts the program in a group of its own, with this process's environment and
its standard streams. When the program ends, or the other end of the socket FD closes (which a killed worker's does, too),
everything that came of the program is killed, also what has left its group. Linux only; it knows the standard library alone.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PAUSE = 0.005


def main(arguments: list[str]) -> int:
    """Return the program's exit code; 128 and the signal's number if one has ended it, or 137 if it was killed here."""
    control = socket.socket(fileno=int(arguments[0]))
    control.set_inheritable(False)
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)  # orphans of the program become children of this process
    warden = os.getpid()
    program = os.fork()
    if program == 0:
        _become(arguments[1:], warden, libc)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    try:
        return _watch(program, control)
    finally:
        _end(program)


def _become(command: list[str], warden: int, libc: ctypes.CDLL) -> None:
    """Turn into the program; does not return."""
    try:
        os.setsid()
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        if os.getppid() == warden:
            os.execve(command[0], command, dict(os.environ))  # noqa: S606  no shell shall read it
    except OSError as error:
        os.write(2, f"{command[0]} cannot be started: {error.strerror}".encode())
    finally:
        os._exit(127)


def _watch(program: int, control: socket.socket) -> int:
    """Return when the program has ended, or nobody wants it any more."""
    ended = os.pidfd_open(program)
    readable, _, _ = select.select([ended, control.fileno()], [], [])
    if ended not in readable:
        return 128 + signal.SIGKILL
    # It is looked at and not taken away: until then no other process can get its number, which is its group's, too.
    found = os.waitid(os.P_PID, program, os.WEXITED | os.WNOWAIT)
    assert found is not None  # noqa: S101  only WNOHANG may come to nothing
    return found.si_status if found.si_code == os.CLD_EXITED else 128 + found.si_status


def _end(program: int) -> None:
    """Kill the program's group, and whatever else is left, until nothing is."""
    with suppress(ProcessLookupError):
        os.killpg(program, signal.SIGKILL)
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while True:
        for child in map(int, children.read_text(encoding="ascii").split()):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(_PAUSE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
