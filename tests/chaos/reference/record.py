"""What is known of an execution that was carried out: the order of its decisions, which the rules have to allow."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SLACK = 20
"""Milliseconds by which clocks of several processes may differ."""

Place = tuple[str, str]
"""A node and the path of its item."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A node run with an outcome. `seq` is its place in the history, 0 when it has none; what was written together has one
    `commit`. `at` and `ms` are when it ended and how long it took.
    """

    state: str
    output: Any = None
    error: Any = None
    tries: int = 1
    seq: int = 0
    commit: int = 0
    at: int = 0
    ms: int = 0

    @property
    def code(self) -> Any:
        """The code of its error."""
        return self.error.get("code") if isinstance(self.error, Mapping) else None


@dataclass(frozen=True, slots=True)
class Child:
    """An execution that a node called, with the definition it has."""

    execution: str
    workflow: str
    definition: Mapping[str, Any]
    input: Any
    status: str
    output: Any
    error: Any


@dataclass(frozen=True, slots=True)
class Published:
    """An event."""

    type: str
    correlation: str
    data: Any
    at: int
    source: str


@dataclass(frozen=True, slots=True)
class Vote:
    """What somebody said on an approval."""

    principal: str
    decision: str


@dataclass(frozen=True, slots=True)
class Record:
    """One execution. `chunked` are the maps whose items were performed in one go, of which only the results are known.

    `base` is the execution of which it is a fork, `kept` what it has taken over. `begun_at` is when something of it
    was first taken up, and `slack` the milliseconds by which its times may be wrong.
    `over` is the place of its end, `asked` that at which it was asked to stop; with `forced`,
    without what scopes do in their end. `opened` are the containers that began, `repeated` the times from which last
    attempts could begin, `refused` how many attempts came to nothing because a limit let them not in. `times` are
    those of the places in its history, and `began` when waits and containers began. `listening` are the places where
    waits began, `emitted` those at which it published events itself. `heard` are the events that ended its waits.
    `claims` are the places at which something was taken up, each with its item, `skipped` those at which what could
    have begun was skipped, `answer` is what was answered, `answered` the answers in their order, each with whether it
    counts, and `beats` are the details of the last heartbeats.
    """

    execution: str
    status: str
    output: Any = None
    error: Any = None
    created_at: int = 0
    finished_at: int = 0
    begun_at: int | None = None
    slack: int = SLACK
    base: Record | None = None
    kept: Collection[Place] = ()
    depth: int = 0
    over: int = 0
    asked: int = 0
    forced: bool = False
    ends: Mapping[Place, Ended] = field(default_factory=dict)
    chunked: frozenset[str] = frozenset()
    children: Mapping[Place, Sequence[Child]] = field(default_factory=dict)
    published: Mapping[str, Published] = field(default_factory=dict)
    heard: Sequence[str] = ()
    times: Mapping[int, int] = field(default_factory=dict)
    emitted: Mapping[str, int] = field(default_factory=dict)
    began: Mapping[Place, int] = field(default_factory=dict)
    opened: frozenset[Place] = frozenset()
    repeated: Mapping[Place, int] = field(default_factory=dict)
    refused: Mapping[Place, int] = field(default_factory=dict)
    listening: Mapping[Place, int] = field(default_factory=dict)
    votes: Mapping[Place, Sequence[Vote]] = field(default_factory=dict)
    claims: Sequence[tuple[int, str]] = ()
    skipped: Mapping[Place, int] = field(default_factory=dict)
    answer: Any = None
    answered: Sequence[tuple[Place, bool]] = ()
    beats: Mapping[Place, Any] = field(default_factory=dict)
