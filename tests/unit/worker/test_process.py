from __future__ import annotations

import os

import pytest

from worker import process


def test_who_waits_is_told_once_that_messages_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setenv(process.READY_FD, str(writing))
    process._ready()
    assert os.read(reading, 100) == b"ready\n"
    assert os.read(reading, 100) == b""
    assert process.READY_FD not in os.environ
    os.close(reading)
    process._ready()
