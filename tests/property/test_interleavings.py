"""Thousands of orders in which things can happen: each seed is one, and every one of them keeps what was promised."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import ROOT
from tests.chaos.dags import Case, Taste, draw
from tests.chaos.world import SINK, play

SEEDS = int(os.environ.get("CELERIAC_TEST_SEEDS", "120"))
BLOCKS = 4
TASTE = Taste(sink=SINK, nodes=8, waits=0.8, once=True, fatal=0.3, regions=0.4)

pytestmark = pytest.mark.timeout(600)


def drawn(seed: int) -> dict[str, Case]:
    """Three definitions that a world runs at once."""
    rng = random.Random(seed)
    return {f"case-{index}": draw(rng, TASTE, f"case-{index}") for index in range(3)}


@pytest.mark.parametrize("block", range(BLOCKS))
def test_every_interleaving_keeps_every_promise(tmp_path: Path, block: int) -> None:
    for seed in range(block, SEEDS, BLOCKS):
        found = play(tmp_path, seed, drawn(seed))
        assert not found, found[0]
        for left in tmp_path.iterdir():
            left.unlink()


def test_a_missing_fence_shows_in_some_interleaving(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.property.test_interleavings import drawn, play\n"
        "found = (each for seed in range(40) for each in play(Path(sys.argv[1]), seed, drawn(seed)))\n"
        "print(next(found, 'nothing'))"
    )
    around = {**os.environ, "CELERIAC_TEST": "1", "CELERIAC_BUG": "no_fence"}
    line = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(
        line, cwd=ROOT, env=around, capture_output=True, text=True, check=False, timeout=120
    )
    assert "violations with seed" in done.stdout, done.stdout + done.stderr
