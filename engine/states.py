"""The states of executions, segments and node runs, and which may follow which. docs/lifecycle.md shows the same table."""

from __future__ import annotations

from enum import StrEnum


class ExecutionStatus(StrEnum):
    """One run of one version. Cancelling and pausing are requests (a time on the row), not states."""

    CREATED = "created"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class SegmentStatus(StrEnum):
    """One row of dispatch. A node run's state is derived from it and the journal."""

    BLOCKED = "blocked"
    READY = "ready"
    RUNNING = "running"
    WAITING = "waiting"
    BACKING_OFF = "backing_off"
    UNCERTAIN = "uncertain"
    QUARANTINED = "quarantined"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


E, S = ExecutionStatus, SegmentStatus

EXECUTION_FINAL = frozenset({E.SUCCEEDED, E.FAILED, E.CANCELLED, E.TIMED_OUT})
SEGMENT_FINAL = frozenset({S.DONE, S.FAILED, S.SKIPPED, S.CANCELLED})

ACTIVE = frozenset({S.READY, S.RUNNING})
"""Segments that will move without anything from outside. An execution with none of them, and not ended, is waiting."""

TIMED = frozenset({S.READY, S.RUNNING, S.WAITING, S.BACKING_OFF})
"""Segments whose `due` the poller looks at: time to send again, end of the lease, timer, next attempt."""

EXECUTION_MOVES: dict[ExecutionStatus, frozenset[ExecutionStatus]] = {
    E.CREATED: frozenset({E.RUNNING, E.WAITING}) | EXECUTION_FINAL,
    E.RUNNING: frozenset({E.WAITING}) | EXECUTION_FINAL,
    E.WAITING: frozenset({E.RUNNING}) | EXECUTION_FINAL,
}

SEGMENT_MOVES: dict[SegmentStatus, frozenset[SegmentStatus]] = {
    S.BLOCKED: frozenset({S.READY, S.RUNNING, S.WAITING, S.SKIPPED, S.CANCELLED}),
    S.READY: frozenset({S.RUNNING, S.DONE, S.FAILED, S.WAITING, S.BACKING_OFF, S.CANCELLED}),
    S.RUNNING: frozenset(
        {S.DONE, S.FAILED, S.WAITING, S.BACKING_OFF, S.UNCERTAIN, S.READY, S.QUARANTINED, S.CANCELLED}
    ),
    S.WAITING: frozenset({S.READY, S.RUNNING, S.CANCELLED}),
    S.BACKING_OFF: frozenset({S.READY, S.CANCELLED}),
    S.UNCERTAIN: frozenset({S.READY, S.CANCELLED}),
    S.QUARANTINED: frozenset({S.READY, S.CANCELLED}),
}
"""As one commit leads from a state to the next. A pure segment goes from ready to its end without a claim: it may be run
twice, and one of the two commits wins. A join that is handed over with the commit that completes it goes from blocked to
running."""
