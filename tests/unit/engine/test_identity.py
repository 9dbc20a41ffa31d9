from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine import identity


def test_this_process_is_not_dead() -> None:
    assert identity.owner().startswith(f"{identity.host()}:{os.getpid()}:")
    assert not identity.is_dead(identity.owner())


def test_a_process_that_has_ended_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = f"{identity.host()}:{process.pid}:{identity.born(process.pid)}"
    assert not identity.is_dead(name)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert identity.is_dead(name), "a zombie has ended too"
    process.communicate()
    assert identity.is_dead(name)


def test_a_pid_that_has_come_back_is_somebody_else() -> None:
    assert identity.is_dead(f"{identity.host()}:{os.getpid()}:1")


@pytest.mark.parametrize("name", ["elsewhere:1:1", "", "nonsense", "a:b:c:d"])
def test_who_lives_elsewhere_is_never_known_to_be_dead(name: str) -> None:
    assert not identity.is_dead(name)


def test_a_name_without_a_pid_is_never_known_to_be_dead() -> None:
    assert not identity.is_dead(f"{identity.host()}:x:1")


@pytest.fixture
def without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that has no /proc."""

    def missing(self: Path, *_: Any, **__: Any) -> str:
        raise OSError(self)

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(Path, "readlink", missing)
    monkeypatch.setattr(Path, "exists", lambda _: False)


@pytest.mark.usefixtures("without_proc")
def test_without_proc_a_process_that_answers_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    assert identity.born(os.getpid()) == "alive"
    answers: dict[int, type[Exception]] = {2: PermissionError, 3: ProcessLookupError}

    def kill(pid: int, signal: int) -> None:
        assert signal == 0
        raise answers[pid]

    monkeypatch.setattr(os, "kill", kill)
    assert [identity.born(2), identity.born(3)] == ["alive", None]


@pytest.mark.usefixtures("without_proc")
def test_without_proc_a_host_still_has_a_name() -> None:
    identity.host.cache_clear()
    try:
        assert len(identity.host()) == 12
    finally:
        identity.host.cache_clear()


@pytest.mark.parametrize(
    "error",
    [OSError(24, "Too many open files"), PermissionError(), FileNotFoundError(), ProcessLookupError()],
)
def test_a_living_process_that_cannot_be_looked_at_is_not_dead(
    monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    me = identity.owner()

    def unreadable(_: Path) -> str:
        raise error

    monkeypatch.setattr(Path, "read_text", unreadable)
    assert identity.born(os.getpid()) == identity.ALIVE
    assert not identity.is_dead(me)


def test_an_owner_that_could_not_read_its_own_birth_is_not_dead_while_its_pid_answers() -> None:
    assert not identity.is_dead(f"{identity.host()}:{os.getpid()}:{identity.ALIVE}")


def test_a_pid_that_nobody_has_is_dead_even_when_nothing_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        name = f"{identity.host()}:{process.pid}:{identity.born(process.pid)}"
    monkeypatch.setattr(
        Path, "read_text", lambda _: (_ for _ in ()).throw(OSError(24, "Too many open files"))
    )
    assert identity.is_dead(name)
