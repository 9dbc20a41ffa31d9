"""Programs of the stack: started, waited for, started again when they die, and stopped."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol

from engine.errors import CeleriacError, Unavailable
from engine.valkey import tied

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
_LIVED_WELL = 30.0


class Runs(Protocol):
    """Something with a process."""

    process: Process

    async def stop(self) -> None:
        """End it."""


class Program:
    """One process of this stack. It dies with this one, in whatever way this one dies."""

    def __init__(self, process: Process, patience: float) -> None:
        self.process = process
        self._patience = patience

    @classmethod
    async def start(
        cls,
        line: list[str],
        environment: Mapping[str, str],
        *,
        ready: str | None = None,
        within: float = 60.0,
        patience: float = 8.0,
    ) -> Program:
        """Start a process. With `ready`, a variable's name, wait until it writes to the pipe that the variable names.

        `patience` is how many seconds it gets to stop by itself. Raises `Unavailable` when it ends before it is ready.
        """
        if ready is None:
            return cls(await _spawn(line, environment, ()), patience)
        reading, writing = os.pipe()
        try:
            process = await _spawn(line, {**environment, ready: str(writing)}, (writing,))
        finally:
            os.close(writing)
        program = cls(process, patience)
        try:
            async with asyncio.timeout(within):
                said = await _read(reading)
                if not said:
                    await process.wait()
        except TimeoutError:
            said = b""
        except BaseException:
            await program.stop()
            raise
        finally:
            os.close(reading)
        if not said:
            await program.stop()
            message = f"{' '.join(line[2:4])} did not start ({_how(process.returncode)})."
            raise Unavailable(message, hint="The lines above say why.")
        return program

    async def stop(self) -> None:
        """Ask it to stop, and kill it if it does not."""
        if self.process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self.process.terminate()
        try:
            async with asyncio.timeout(self._patience):
                await self.process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


class Kept:
    """A program that is started again when it dies, ever later if it keeps dying."""

    def __init__(
        self, name: str, current: Runs, start: Callable[[], Awaitable[Runs]], changed: Callable[[str], None]
    ) -> None:
        self.name = name
        self.current = current
        self._start = start
        self._changed = changed
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Stop keeping it, and stop it."""
        self._keeper.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeper
        await self.current.stop()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        while True:
            begun = loop.time()
            how = _how(await self.current.process.wait())
            pause = _FIRST_PAUSE if loop.time() - begun > _LIVED_WELL else min(pause * 2, _LONGEST_PAUSE)
            self._changed(f"the {self.name} died ({how}); starting it again")
            await asyncio.sleep(pause)
            try:
                self.current = await self._start()
            except CeleriacError as error:
                self._changed(f"the {self.name} does not start: {error}")
            else:
                self._changed(f"the {self.name} is back")


async def _spawn(line: list[str], environment: Mapping[str, str], descriptors: tuple[int, ...]) -> Process:
    return await asyncio.create_subprocess_exec(
        *tied(line, signal.SIGKILL),
        stdin=DEVNULL,
        stdout=DEVNULL,
        env=dict(environment),
        pass_fds=descriptors,
        # A Ctrl-C in the terminal is for whoever stops all of them in order.
        start_new_session=True,
    )


async def _read(descriptor: int) -> bytes:
    """Return what comes out of a pipe first; nothing when the other end is closed."""
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(descriptor, there.set)
    try:
        await there.wait()
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, 64)


def _how(status: int | None) -> str:
    if status is None:
        return "not in time"
    return signal.Signals(-status).name if status < 0 else f"exit code {status}"
