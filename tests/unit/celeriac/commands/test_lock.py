from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from celeriac.commands import lock as locks
from celeriac.commands.lock import Lock


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_PATIENCE", 0.0)


def test_one_at_a_time_has_it(tmp_path: Path) -> None:
    first = Lock.take(tmp_path)
    assert first is not None
    assert locks.is_taken(tmp_path)
    assert Lock.take(tmp_path) is None
    first.release()
    assert not locks.is_taken(tmp_path)
    second = Lock.take(tmp_path)
    assert second is not None
    second.release()


def test_what_a_stack_tells_is_private_and_gone_with_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    taken = Lock.take(data)
    assert taken is not None
    assert locks.running(data) is None
    taken.tell({"url": "http://x"})
    assert locks.running(data) == {"url": "http://x"}
    for path in (data, data / locks.FOLDER):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for path in (data / locks.FOLDER).iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    taken.release()
    assert list((data / locks.FOLDER).iterdir()) == []


def test_what_a_killed_stack_has_left_is_not_believed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from celeriac.commands.lock import Lock; "
        "Lock.take(Path(sys.argv[1])).tell({'url': 'http://dead'}); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert locks.running(tmp_path) == {"url": "http://dead"}
        os.kill(process.pid, signal.SIGKILL)
    assert locks.running(tmp_path) is None
    taken = Lock.take(tmp_path)
    assert taken is not None
    assert locks.running(tmp_path) is None
    taken.release()


def test_nothing_runs_where_nothing_is(tmp_path: Path) -> None:
    assert locks.running(tmp_path / "none") is None
    assert not (tmp_path / "none").exists()
