"""Programs that the deployment allows as servers for one call: named in a setting, and started with nothing of this process.

What a workflow or a connection says chooses among these names and no more: the command, its arguments and its environment
are the operator's. Nothing of a program outlives the call it was started for (`warden`).
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from celeriac import Fail, TryAgain
from engine.errors import Misconfigured
from engine.failpoints import crossing
from engine.nearest import nearest
from engine.outside import warden

if TYPE_CHECKING:
    from celeriac import Program

SETTING = "CELERIAC_MCP_PROGRAMS"
LINE_BYTES = 10_485_760
"""How long a line of a program may be."""
SAID_BYTES = 4_096
"""How much of what a program writes to its standard error is kept: the last of it."""
GRACE_SECONDS = 1.0
"""How long a program has for its own end, when its input has ended."""

_WARDEN = str(Path(warden.__file__).resolve())
_END_SECONDS = 5.0
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_VARIABLE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>.*)", re.DOTALL)
_PLACE = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Command:
    """A command, and the environment it gets besides PATH, LANG, HOME and TMPDIR. `{token}` in a value is a connection's."""

    words: tuple[str, ...]
    environment: Mapping[str, str]

    @property
    def places(self) -> set[str]:
        """The names of what a connection has to bring along."""
        return {each for value in self.environment.values() for each in _PLACE.findall(value)}


@dataclass(frozen=True, slots=True)
class Programs:
    """What is allowed, by name."""

    commands: Mapping[str, Command]

    @classmethod
    def parse(cls, text: str) -> Programs:
        """Read `name=VARIABLE=value /path/to/program argument; name=...`. Raises `Misconfigured`."""
        found: dict[str, Command] = {}
        for each in filter(None, map(str.strip, text.split(";"))):
            name, _, line = each.partition("=")
            if not _NAME.fullmatch(name.strip()) or name.strip() in found:
                raise _unusable(f"{name.strip()!r} is no name for a program, or stands there twice")
            found[name.strip()] = _command(name.strip(), line)
        return cls(found)

    @asynccontextmanager
    async def started(self, name: str, values: Mapping[str, str]) -> AsyncIterator[Program]:
        """Start a program, hand it over, and end it with all that came of it.

        Raises `Fail` (`program.*`), and `TryAgain` (`program.not_started`).
        """
        command = self._find(name)
        _check_values(name, command, values)
        with tempfile.TemporaryDirectory(prefix="celeriac-", ignore_cleanup_errors=True) as folder:
            running = await _spawn(name, command, _environment(command, values, folder), folder)
            try:
                yield running
                await running.leave()
            finally:
                await running.end()

    def _find(self, name: str) -> Command:
        if name not in self.commands:
            near = nearest(name, self.commands)
            remedy = f"Did you mean {near!r}?" if near else f"Whoever runs it allows programs with {SETTING}."
            message = f"This installation has no server program {name!r}. {remedy}"
            raise Fail("program.unknown", message, {"program": name})
        return self.commands[name]


class Running:
    """A program that lives, and the socket whose end it does not survive."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self._name = name
        self._process = process
        self._control = control
        self._said = b""
        self._hearing = asyncio.ensure_future(self._hear())

    async def write(self, line: bytes) -> None:
        """Write a line. Raises `ConnectionError` when the program does not read any more."""
        assert self._process.stdin is not None  # noqa: S101  it was started with one
        self._process.stdin.write(line + b"\n")
        await self._process.stdin.drain()

    async def read(self) -> bytes | None:
        """Return the next line, without its end; None when there is none any more. Raises `Fail` (`program.line_too_large`)."""
        assert self._process.stdout is not None  # noqa: S101  it was started with one
        try:
            line = await self._process.stdout.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return None  # a line without an end is none
        except asyncio.LimitOverrunError:
            message = f"The program {self._name} writes a line of more than {LINE_BYTES} bytes. Have it say less at a time."
            raise Fail(
                "program.line_too_large", message, {"program": self._name, "limit": LINE_BYTES}
            ) from None
        return line.rstrip(b"\r\n")

    async def last_words(self) -> str:
        """Return the last of what it has written to its standard error, and how it ended, if it has."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await self._process.wait()
                await asyncio.wait([self._hearing])
        code = self._process.returncode
        how = "It lives" if code is None else f"It ended with the code {code}"
        said = self._said.decode("utf-8", "replace").replace("\0", "\ufffd").strip()
        return f"{how}, and said: {said}" if said else f"{how}, and said nothing."

    async def leave(self) -> None:
        """End its input, and give it a moment."""
        assert self._process.stdin is not None  # noqa: S101  it was started with one
        self._process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await self._process.wait()

    async def end(self) -> None:
        """Kill it and all that came of it. That is decided before anything is waited for, so a caller may be cancelled here."""
        self._control.close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()  # then the kernel kills the program, too
        finally:
            self._hearing.cancel()
            if self._process.stdin is not None:
                self._process.stdin.close()

    async def _hear(self) -> None:
        """Read what it says beside its answers, so that it can go on saying it, and keep the last."""
        assert self._process.stderr is not None  # noqa: S101  it was started with one
        while piece := await self._process.stderr.read(SAID_BYTES):
            self._said = (self._said + piece)[-SAID_BYTES:]


def _lost(place: str) -> Exception:
    """What a start comes to that does not come about, for a failpoint."""
    return TryAgain("program.not_started", f"No program was started at {place}.")


@crossing("program.start", _lost)
async def _spawn(name: str, command: Command, environment: Mapping[str, str], folder: str) -> Running:
    if sys.platform != "linux":
        raise Fail("program.unsupported", "Server programs are started on Linux only.", {"program": name})
    if not os.access(command.words[0], os.X_OK):
        message = (
            f"The program {name}, {command.words[0]}, is not there or must not be run. Correct {SETTING}."
        )
        raise Fail("program.missing", message, {"program": name})
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", _WARDEN, str(theirs.fileno())),
                *command.words,
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=LINE_BYTES,
                cwd=folder,
                env=dict(environment),
                start_new_session=True,
            )
    except OSError as error:
        ours.close()
        message = f"The program {name} could not be started: {error.strerror}."
        raise TryAgain("program.not_started", message) from error
    except BaseException:
        ours.close()  # which ends what was started already
        raise
    return Running(name, process, ours)


def _command(name: str, line: str) -> Command:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise _unusable(f"the command of {name} cannot be read: {error}") from error
    environment: dict[str, str] = {}
    while words and (match := _VARIABLE.fullmatch(words[0])):
        environment[match["name"]] = match["value"]
        words.pop(0)
    if not words or not words[0].startswith("/"):
        raise _unusable(f"the command of {name} does not begin with the whole path of a program")
    return Command(tuple(words), environment)


def _environment(command: Command, values: Mapping[str, str], folder: str) -> dict[str, str]:
    """Return what the program gets to see: nothing of this process's environment."""
    own = {
        name: _PLACE.sub(lambda found: values[found[1]], value) for name, value in command.environment.items()
    }
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": folder,
        "TMPDIR": folder,
        **own,
    }


def _check_values(name: str, command: Command, values: Mapping[str, str]) -> None:
    if missing := sorted(command.places - values.keys()):
        message = (
            f"The program {name} takes a {missing[0]}, and the connection has none. Store it anew with one."
        )
    elif stray := sorted(values.keys() - command.places):
        message = (
            f"The program {name} takes no {stray[0]}, and the connection has one. Store it anew without it."
        )
    elif any("\0" in each for each in values.values()):
        message = f"A value for the program {name} has the character NUL in it. Store the connection anew."
    else:
        return
    raise Fail("program.values", message, {"program": name})


def _unusable(why: str) -> Misconfigured:
    hint = f"Write it like {SETTING}='tickets=TICKETS_TOKEN={{token}} /opt/tickets/server --stdio; notes=/opt/notes'."
    return Misconfigured(f"In {SETTING} {why}.", hint=hint)
