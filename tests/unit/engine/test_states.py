from __future__ import annotations

from engine.states import (
    ACTIVE,
    EXECUTION_FINAL,
    EXECUTION_MOVES,
    SEGMENT_FINAL,
    SEGMENT_MOVES,
    TIMED,
    ExecutionStatus,
    SegmentStatus,
)
from engine.store.tables import segment


def test_nothing_leaves_a_final_state_and_everything_else_can_end() -> None:
    assert EXECUTION_MOVES.keys() == set(ExecutionStatus) - EXECUTION_FINAL
    assert SEGMENT_MOVES.keys() == set(SegmentStatus) - SEGMENT_FINAL
    assert all(SegmentStatus.CANCELLED in each for each in SEGMENT_MOVES.values())
    assert all(ExecutionStatus.CANCELLED in each for each in EXECUTION_MOVES.values())


def test_every_state_is_reached_from_the_first_ones() -> None:
    assert {ExecutionStatus.CREATED}.union(*EXECUTION_MOVES.values()) == set(ExecutionStatus)
    assert {SegmentStatus.BLOCKED}.union(*SEGMENT_MOVES.values()) == set(SegmentStatus)


def test_what_is_active_can_end_by_itself() -> None:
    assert all(SegmentStatus.DONE in SEGMENT_MOVES[each] for each in ACTIVE)


def test_the_index_of_the_poller_holds_the_states_that_have_a_time() -> None:
    (index,) = (each for each in segment.indexes if each.name == "segment_timed")
    for dialect in ("sqlite", "postgresql"):
        where = str(index.dialect_options[dialect]["where"])
        assert {each for each in SegmentStatus if f"'{each}'" in where} == TIMED
