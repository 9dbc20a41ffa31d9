"""Two minutes of random faults at a small load; at full load and for longer they are `python3 dev.py chaos`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import ROOT

pytestmark = pytest.mark.timeout(400)


def test_no_promise_is_broken_under_two_minutes_of_random_faults(tmp_path: Path) -> None:
    told = tmp_path / "chaos.json"
    line = [sys.executable, "-m", "tests.chaos", "--stack", "sqlite", "--seed", "7", "--minutes", "2"]
    line += ["--open", "5", "--json", str(told)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=390)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "violations 0" in done.stdout
    assert json.loads(told.read_text(encoding="utf-8"))["violations"] == []
