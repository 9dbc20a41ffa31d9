from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import valkey
from engine.errors import Unavailable
from engine.valkey import BinaryMissing, Valkey
from tests.builders import wait_until


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        yield Path(made)


def names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def test_a_started_server_answers_on_its_socket_and_leaves_nothing(folder: Path) -> None:
    server = await Valkey.start(folder / "v.sock")
    assert await server.answers()
    assert names(folder) == ["v.sock"]
    await server.stop()
    assert names(folder) == []
    assert not await server.answers()


async def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    with pytest.raises(Unavailable) as refused:
        await Valkey.start(folder / "missing" / "v.sock")
    assert "did not start" in refused.value.message


async def test_a_stale_socket_is_no_problem(folder: Path) -> None:
    first = await Valkey.start(folder / "v.sock")
    first.process.kill()
    await first.process.wait()
    assert (folder / "v.sock").exists()
    second = await Valkey.start(folder / "v.sock")
    assert await second.answers()
    await second.stop()
    await first.stop()


def test_without_the_wheel_the_remedy_names_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(valkey, "PACKAGE", "no_such_package")
    with pytest.raises(BinaryMissing) as refused:
        valkey.binary()
    assert "BROKER_URL" in str(refused.value.hint)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_a_tied_process_goes_with_its_parent() -> None:
    program = (
        "import subprocess, sys; from engine.valkey import tied; "
        "child = subprocess.Popen(tied(['/bin/sleep', '60'])); print(child.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    child = int(parent.stdout.readline())
    wait_until(lambda: "sleep" in Path(f"/proc/{child}/cmdline").read_text(), 10, "the child's program")
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    wait_until(lambda: gone(child), 10, "the child's end")


async def test_two_servers_do_not_disturb_each_other(folder: Path) -> None:
    servers = await asyncio.gather(*(Valkey.start(folder / f"{name}.sock") for name in "ab"))
    assert all(await asyncio.gather(*(each.answers() for each in servers)))
    await asyncio.gather(*(each.stop() for each in servers))
