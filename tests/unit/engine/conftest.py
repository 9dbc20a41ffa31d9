"""What tests of the core share: the core itself, on a file of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.theatre import STAGE, Stage, Theatre, theatre
from tests.workbench import Workbench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    made = Workbench(tmp_path)
    yield made
    made.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    for each in (STAGE.acts, STAGE.calls, STAGE.seen):
        each.clear()
    yield STAGE
    STAGE.acts.clear()


@pytest.fixture
async def at(tmp_path: Path, stage: Stage) -> AsyncIterator[Theatre]:
    made = theatre(tmp_path)
    yield made
    assert made.leases.held() == []
    made.close()
