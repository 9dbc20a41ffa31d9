"""Time limits, heartbeats and what meets at joins, on both databases: what the unit tests say holds on each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from engine.settings import Settings
from tests.theatre import STAGE, Stage, Theatre, theatre
from tests.unit.engine.test_execute import (  # noqa: F401  they are collected here, too
    test_what_comes_after_the_start_is_never_seen,
    test_what_is_taken_meets_in_the_order_of_the_edges,
)
from tests.unit.engine.test_milestones import (  # noqa: F401
    test_a_wait_is_withdrawn_at_the_end,
    test_after_the_end_it_is_skipped_with_what_follows,
    test_each_item_has_its_own_milestone,
    test_what_nobody_has_taken_up_is_skipped_at_the_end_by_those_who_began,
)
from tests.unit.engine.test_timeouts import (  # noqa: F401  they are collected here, too
    test_details_are_durable_and_the_next_attempt_finds_them,
    test_edges_for_timeouts_and_catch_see_it,
    test_large_details_are_stored_beside_the_rows,
    test_the_time_of_a_pause_does_not_count,
    test_what_nobody_takes_up_in_time_fails_though_nobody_serves_its_queue,
    test_whoever_was_taken_up_once_waits_as_long_as_it_takes,
)


@pytest.fixture
def stage() -> Iterator[Stage]:
    for each in (STAGE.acts, STAGE.calls, STAGE.seen):
        each.clear()
    yield STAGE
    STAGE.acts.clear()


@pytest.fixture
async def at(store: Settings, tmp_path: Path, stage: Stage) -> AsyncIterator[Theatre]:
    made = theatre(tmp_path, store=store)
    yield made
    made.close()
