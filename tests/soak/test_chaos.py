"""The whole installation under random faults: sound, it keeps every promise; with a planted bug, the judge sees it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.builders import ROOT

pytestmark = pytest.mark.timeout(400)


def chaos(stack: str, seed: int, minutes: float, **more: str) -> subprocess.CompletedProcess[str]:
    line = [
        sys.executable,
        "-m",
        "tests.chaos",
        "--stack",
        stack,
        "--seed",
        str(seed),
        "--minutes",
        str(minutes),
    ]
    around = {**os.environ, **more}
    return subprocess.run(
        line, cwd=ROOT, env=around, capture_output=True, text=True, check=False, timeout=390
    )


@pytest.mark.parametrize("stack", ["sqlite", "postgresql"])
def test_no_promise_is_broken_under_random_faults(stack: str) -> None:
    done = chaos(stack, 7, 2)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "violations 0" in done.stdout


@pytest.mark.parametrize("stack", ["sqlite", "postgresql"])
def test_a_missing_fence_is_seen(stack: str) -> None:
    done = chaos(stack, 8, 0.5, CELERIAC_TEST="1", CELERIAC_BUG="no_fence")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "violations 0" not in done.stdout
    assert "violations with seed 8" in done.stdout
