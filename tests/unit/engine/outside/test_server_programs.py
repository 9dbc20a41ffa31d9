"""What a setting allows as programs, what a program gets to see, and that nothing of it outlives the call."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from celeriac import Fail, TryAgain
from engine.errors import Misconfigured
from engine.outside.server_programs import LINE_BYTES, SAID_BYTES, Command, Programs, Running
from tests.builders import ROOT, wait_until


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("", {}),
        (" ; ", {}),
        ("a=/bin/a", {"a": Command(("/bin/a",), {})}),
        (
            "a = /bin/a -x 'two words' b=c; b-2=TOKEN={token} MODE='x y' /b",
            {
                "a": Command(("/bin/a", "-x", "two words", "b=c"), {}),
                "b-2": Command(("/b",), {"TOKEN": "{token}", "MODE": "x y"}),
            },
        ),
    ],
)
def test_programs_are_read_from_the_setting(text: str, commands: dict[str, Command]) -> None:
    assert Programs.parse(text).commands == commands


@pytest.mark.parametrize(
    "text",
    ["a", "a=", "=/bin/a", "a b=/bin/a", "a=bin/a", "a=X=1", "a='/bin/a", "a=/bin/a;a=/bin/b", "a=$(x)"],
)
def test_what_cannot_be_read_is_told_with_the_name_of_the_setting(text: str) -> None:
    with pytest.raises(Misconfigured, match="CELERIAC_MCP_PROGRAMS"):
        Programs.parse(text)


def python(code: str, before: str = "") -> Programs:
    """What allows one program, `p`, of this code."""
    return Programs({"p": Command((sys.executable, "-c", code), dict([before.split("=")] if before else []))})


async def refusal(programs: Programs, name: str = "p", **values: str) -> str:
    with pytest.raises((Fail, TryAgain)) as caught:
        async with programs.started(name, values):
            pytest.fail("it started")
    assert isinstance(caught.value, (Fail, TryAgain))
    return caught.value.code


async def test_what_is_not_allowed_is_not_started() -> None:
    assert await refusal(Programs({}), "/bin/sh") == "program.unknown"
    assert await refusal(Programs.parse("p=/bin/sh -c true"), "P") == "program.unknown"


async def test_what_is_not_there_is_not_started(tmp_path: Path) -> None:
    (tmp_path / "plain").touch(0o644)
    assert await refusal(Programs.parse("p=/nowhere/p")) == "program.missing"
    assert await refusal(Programs.parse(f"p={tmp_path}/plain")) == "program.missing"


async def test_values_and_their_places_belong_together() -> None:
    assert await refusal(python("", "T={token}")) == "program.values"
    assert await refusal(python(""), token="x") == "program.values"
    assert await refusal(python("", "T={token}"), token="a\0b") == "program.values"


async def test_a_machine_that_starts_nothing_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fail)
    assert await refusal(python("")) == "program.not_started"


async def test_a_file_that_is_no_program_says_so(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("no header")
    (tmp_path / "p").chmod(0o755)
    async with Programs.parse(f"p={tmp_path}/p").started("p", {}) as program:
        assert await program.read() is None
        assert "Exec format error" in await program.last_words()


async def test_a_program_sees_nothing_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERIAC_SECRET_KEY", "k3y")
    monkeypatch.setenv("LD_PRELOAD", "")
    code = "import os, json; print(json.dumps([dict(os.environ), os.getcwd()])); print(open('x', 'w'))"
    with os.fdopen(os.memfd_create("secret"), "wb") as secret:
        os.set_inheritable(secret.fileno(), True)
        async with python(code, "TOKEN=Bearer {token}").started("p", {"token": "t0ken"}) as program:
            line = await program.read()
            environment, folder = json.loads(line or b"")
            assert await program.read() is not None
    environment.pop("LC_CTYPE", None)  # which Python sets for itself
    assert environment == {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": folder,
        "TMPDIR": folder,
        "TOKEN": "Bearer t0ken",
    }
    assert not await asyncio.to_thread(Path(folder).exists)


async def test_lines_go_both_ways_until_the_program_ends() -> None:
    echo = "import sys\nfor line in sys.stdin: print(line.strip()[::-1], flush=True)\nprint('rest', end='')"
    async with python(echo).started("p", {}) as program:
        await program.write(b"abc")
        assert await program.read() == b"cba"
        await program.write(b"")
        assert await program.read() == b""
        assert isinstance(program, Running)
        await program.leave()
        assert await program.read() is None  # a line without an end is none


async def test_a_line_that_is_too_long_is_not_read() -> None:
    code = f"print('x' * {LINE_BYTES + 1}, flush=True); import time; time.sleep(600)"
    async with python(code).started("p", {}) as program:
        with pytest.raises(Fail) as caught:
            await program.read()
    assert caught.value.code == "program.line_too_large"


async def test_the_last_of_what_it_says_beside_its_answers_is_kept() -> None:
    code = "import sys; sys.stderr.write('a' * 1_000_000 + '\\0the end'); sys.exit(3)"
    async with python(code).started("p", {}) as program:
        assert await program.read() is None
        words = await program.last_words()
    assert words.startswith("It ended with the code 3, and said: aaa")
    assert words.endswith("\ufffdthe end")
    assert len(words) < SAID_BYTES + 100


async def test_a_program_that_a_signal_ends_and_one_that_lives_say_so() -> None:
    async with python("import os; os.kill(os.getpid(), 15)").started("p", {}) as program:
        assert await program.read() is None
        assert await program.last_words() == "It ended with the code 143, and said nothing."
    async with python("import time; print(1, flush=True); time.sleep(600)").started("p", {}) as program:
        assert await program.read() == b"1"
        assert await program.last_words() == "It lives, and said nothing."


# Nothing outlives the call

FAMILY = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleeps = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"]
print(os.getpid(), flush=True)
print(subprocess.Popen(sleeps).pid, flush=True)
print(subprocess.Popen(sleeps, start_new_session=True).pid, flush=True)
started = f"subprocess.Popen({sleeps!r}, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)"
orphaned = f"import subprocess; print({started}.pid)"
print(int(subprocess.run([sys.executable, "-c", orphaned], capture_output=True).stdout), flush=True)
"""
STAYS = f"{FAMILY}\ntime.sleep(600)"
"""A program, a child of it in its group, one that has left it, and one that has lost its parent as well."""


def lives(pid: int) -> bool:
    """Whether a process is there, and more than an entry that nobody has read yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def none_lives(pids: Iterable[int]) -> Callable[[], bool]:
    found = list(pids)
    assert len(found) == 4
    return lambda: not any(map(lives, found))


async def family_of(program: object) -> list[int]:
    assert isinstance(program, Running)
    pids = [int(await program.read() or b"0") for _ in range(4)]
    assert all(map(lives, pids))
    return pids


async def test_nothing_is_left_when_the_call_is_over() -> None:
    async with python(STAYS).started("p", {}) as program:
        pids = await family_of(program)
    assert none_lives(pids)()


async def test_nothing_is_left_when_the_program_ends_and_leaves_others_behind() -> None:
    async with python(FAMILY).started("p", {}) as program:
        pids = [int(await program.read() or b"0") for _ in range(4)]
        assert await program.read() is None
        assert "the code 0" in await program.last_words()
        assert none_lives(pids)()


async def test_nothing_is_left_when_the_call_fails() -> None:
    pids: list[int] = []

    async def call() -> None:
        async with python(STAYS).started("p", {}) as program:
            pids.extend(await family_of(program))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await call()
    assert none_lives(pids)()


async def test_nothing_is_left_when_the_call_is_cancelled_however_often() -> None:
    pids: list[int] = []
    started: list[Running] = []
    there = asyncio.Event()

    async def call() -> None:
        async with python(STAYS).started("p", {}) as program:
            pids.extend(await family_of(program))
            assert isinstance(program, Running)
            started.append(program)
            there.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(call())
    await there.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await started[0]._process.wait()
    assert none_lives(pids)()


WORKER = """
import asyncio, sys
from engine.outside.server_programs import Command, Programs

async def main():
    programs = Programs({"p": Command((sys.executable, "-c", sys.argv[1]), {})})
    async with programs.started("p", {}) as program:
        for _ in range(4):
            print((await program.read()).decode(), flush=True)
        print(program._process.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("killed", ["worker", "warden", "program"])
def test_nothing_is_left_when_somebody_is_killed(killed: str) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, STAYS], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert worker.stdout is not None
    with worker:
        *pids, warden = (int(worker.stdout.readline()) for _ in range(5))
        assert all(map(lives, [*pids, warden]))
        os.kill({"worker": worker.pid, "warden": warden, "program": pids[0]}[killed], signal.SIGKILL)
        if killed == "warden":
            # What had left the group has nobody then who knows of it: the program itself dies with its warden.
            wait_until(lambda: not lives(pids[0]))
            for each in pids[1:]:
                os.kill(each, signal.SIGKILL)
        wait_until(none_lives(pids))
        wait_until(lambda: not lives(warden))
        worker.kill()
