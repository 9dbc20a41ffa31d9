"""A few of the deaths that `python3 dev.py chaos --commits 1000` carries out."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.builders import ROOT
from tests.chaos.commits import Tally

pytestmark = pytest.mark.timeout(120)


def test_whoever_dies_while_it_writes_has_lost_nothing_that_it_told() -> None:
    line = [sys.executable, "-m", "tests.chaos", "--commits", "15", "--seed", "3"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("15 deaths: ")


def test_a_loss_is_told() -> None:
    assert Tally(deaths=1, answered=2).good
    assert not Tally(deaths=1, answered=2, lost=1).good
    assert not Tally(deaths=1, answered=2, broken=1).good
    assert not Tally(deaths=1, answered=2, violations=["I10"]).good
    assert not Tally(deaths=1).good
