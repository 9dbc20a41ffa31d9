"""What follows from what is done. Pure: a plan, the joins as they stand and the completions in, decisions out.

Every edge of the graph is decided once, taken or not. A segment that can no longer be reached decides its own exits as
not taken, and so on to the fixpoint (dead-path elimination), so a join never waits for a branch that will not come.
Only taken and not-taken of *performed* segments are stored; what was skipped is this fold over them.

Source: Leymann and Roller, Production Workflow (2000), dead-path elimination; van der Aalst et al., WCP-37.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field

from engine.plan import Plan, Segment

Address = tuple[int, str]
"""(segment, item)."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A performed segment and, for each of its exits, whether it is taken; nothing for one that is not decided now."""

    segment: int
    item: str
    taken: tuple[bool | None, ...]


@dataclass(slots=True)
class Arrivals:
    """A join's row: edges still undecided, edges taken so far, and whether it has been decided already."""

    pending: int
    taken: int = 0
    decided: bool = False


@dataclass(slots=True)
class Decision:
    """What a fold over completions came to: segments that start, joins whose rows change, segments never to run.

    `skipped` names joins that have a row and will not run; skipped segments without a row are not named. `unreached` are those
    that start though no way leads to them, since their region ends with them: only that is to be done of them. `opened` are
    joins `each`, with the number of an edge to them that was taken.
    """

    ready: list[Address] = field(default_factory=list)
    joins: dict[Address, Arrivals] = field(default_factory=dict)
    skipped: list[Address] = field(default_factory=list)
    unreached: set[Address] = field(default_factory=set)
    opened: list[tuple[Address, int]] = field(default_factory=list)

    def arrivals(self, address: Address) -> Arrivals:
        """Return what has arrived at a segment that starts."""
        return self.joins.get(address) or Arrivals(0, int(address not in self.unreached))


def joins_touched(plan: Plan, completed: Completed) -> set[Address]:
    """Return every join a completion may reach: those it leads to, and those reached through what it skips.

    Even a taken edge may lead to a skip: it may be the last to arrive at a join that more of them were needed for.
    """
    found: set[Address] = set()
    seen: set[int] = set()
    edges = deque(
        (exit_.target, taken)
        for exit_, taken in zip(plan.segments[completed.segment].exits, completed.taken, strict=True)
        if taken is not None
    )
    while edges:
        target, taken = edges.popleft()
        segment = plan.segments[target]
        if is_join(segment):
            found.add((target, completed.item))
        found.update((each, completed.item) for each in plan.losing.get(target, ()))
        if target not in seen and (not taken or segment.join.mode == "n"):
            seen.add(target)
            edges.extend((exit_.target, False) for exit_ in segment.exits)
    return found


def advance(plan: Plan, joins: Mapping[Address, Arrivals], completions: Iterable[Completed]) -> Decision:
    """Fold completions over the joins as they stand. The order of completions does not change what becomes ready."""
    decision = Decision()
    for completed in completions:
        edges = deque(
            (exit_.target, taken, exit_.entry, True)
            for exit_, taken in zip(plan.segments[completed.segment].exits, completed.taken, strict=True)
            if taken is not None
        )
        while edges:
            target, taken, entry, performed = edges.popleft()
            segment = plan.segments[target]
            address = (target, completed.item)
            if _has_lost(plan, address, joins, decision):
                continue  # it was stopped, and with it all that it leads to
            counts = taken or (performed and segment.join.done)
            runs = (
                _arrive(segment, address, joins, decision.joins, taken=counts)
                if is_join(segment)
                else taken or segment.ends
            )
            if taken and segment.join.mode == "each":
                decision.opened.append((address, entry))
            if runs:
                decision.ready.append(address)
                if not taken and not is_join(segment):
                    decision.unreached.add(address)
            elif runs is False:
                if is_join(segment):
                    decision.skipped.append(address)
                edges.extend((exit_.target, False, exit_.entry, False) for exit_ in segment.exits)
    return decision


def _has_lost(plan: Plan, address: Address, joins: Mapping[Address, Arrivals], decision: Decision) -> bool:
    """Whether a join has started that was to stop whatever only leads to it."""
    number, item = address
    for each in plan.losing.get(number, ()):
        arrivals = decision.joins.get((each, item)) or joins.get((each, item))
        if arrivals is not None and arrivals.decided:
            return True
    return False


def is_join(segment: Segment) -> bool:
    """Whether arrivals at a segment are counted in a row: several edges lead in, or each of them opens an instance."""
    return segment.entries > 1 or segment.join.mode == "each"


def _arrive(
    segment: Segment,
    address: Address,
    stored: Mapping[Address, Arrivals],
    changed: MutableMapping[Address, Arrivals],
    *,
    taken: bool,
) -> bool | None:
    """Count one decided edge. Returns whether the join runs now (True), is skipped now (False), or nothing yet (None).

    A join `each` never runs by an edge: what its edges open does, and it goes on when that has ended.
    """
    arrivals = changed.get(address)
    if arrivals is None:
        before = stored.get(address)
        arrivals = (
            Arrivals(before.pending, before.taken, before.decided) if before else Arrivals(segment.entries)
        )
        changed[address] = arrivals
    arrivals.pending -= 1
    arrivals.taken += taken
    if segment.join.mode == "each":
        arrivals.decided = arrivals.pending == 0 and arrivals.taken == 0
        return False if arrivals.decided else None
    if arrivals.decided:
        return None
    needed = {"all": segment.entries, "any": 1, "n": segment.join.count}[segment.join.mode]
    if segment.join.mode != "all" and arrivals.taken >= needed:
        arrivals.decided = True
        return True
    if arrivals.pending > 0:
        return None
    arrivals.decided = True
    return segment.ends or (segment.join.mode == "all" and arrivals.taken > 0)
