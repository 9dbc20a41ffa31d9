"""Forks: what of an execution a new one takes over, and where it begins. Pure: plans and outcomes in, verdicts and rows out.

A node is kept when what came of it would come of it again: it is the same in the wanted version, and so are the edges that
lead to it, and everything before it is kept. What follows from the kept ones is found by the same fold as in any execution
(`advance`), so a fork begins exactly where an execution would stand that had done the kept nodes and nothing else.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

from celeriac import Json
from engine import expressions
from engine.advance import Completed, Decision, advance
from engine.definition import TRIGGER
from engine.fans import Fan
from engine.plan import Container, Exit, Plan, PlanNode, Region, Segment
from engine.timeline import SegmentState, skipped

Word = Literal["kept", "pinned", "again", "changed", "removed", "added"]

OVER = frozenset({"succeeded", "continued"})
SKIPPED = "skipped"

_INNER = frozenset({"nodes", "execution", "item", "index", "loop"})
"""Root names that say nothing of the payload."""

Edge = tuple[str, str | None, str, str | None]
"""Where an edge of a node comes from or leads to, its port, what it is on, and its condition."""


@dataclass(frozen=True, slots=True)
class Base:
    """What the nodes outside of every body came to: outcomes with a row of their own, and those that share one."""

    plan: Plan
    rows: Mapping[int, SegmentState]
    outcomes: Mapping[str, str]
    packs: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be done again: nodes by name, or (without any) only what has not ended well.

    `pins` are nodes whose output a person gives; `payload` says that the new execution has another one.
    """

    again: frozenset[str] = frozenset()
    pins: frozenset[str] = frozenset()
    payload: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one node, why, and what it came to in the base."""

    node: str
    word: Word
    reason: str
    effect: str
    outcome: str | None

    def to_json(self) -> dict[str, Json]:
        """Return the form every surface shows."""
        return {
            "node": self.node,
            "verdict": self.word,
            "reason": self.reason,
            "effect": self.effect,
            "outcome": self.outcome,
        }


@dataclass(frozen=True, slots=True)
class Born:
    """A row of the new execution. Only what a join `each` has opened has an `item`; its row counts these in a `fan`."""

    segment: int
    status: str
    pending: int
    taken: int
    exits: tuple[bool, ...] | None = None
    item: str = ""
    fan: Fan | None = None


@dataclass(frozen=True, slots=True)
class Fork:
    """What a fork takes over and where it begins. `instances` are maps whose instances may be taken over one by one."""

    verdicts: tuple[Verdict, ...]
    rows: tuple[Born, ...]
    kept: tuple[str, ...]
    instances: tuple[str, ...]


def weigh(base: Base, plan: Plan, wish: Wish) -> Fork:
    """Decide what is kept of a base in a version's plan."""
    return _Scale(base, plan, wish).weigh()


@dataclass(slots=True)
class _Shape:
    """The nodes of a plan that are in no body, with their edges and signatures."""

    plan: Plan
    region: Region
    entering: dict[str, set[Edge]] = field(default_factory=lambda: defaultdict(set))
    leaving: dict[str, list[Edge]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for source, target, port, on, when in edges(self.plan, self.region):
            self.entering[target].add((source, port, on, when))
            self.leaving[source].append((target, port, on, when))

    @property
    def segments(self) -> Iterator[Segment]:
        """The segments outside of every body."""
        return (each for each in self.plan.segments if each.region == self.region.id)

    def order(self) -> list[str]:
        """Return the nodes, each after all that lead to it."""
        undecided = Counter(target for leaving in self.leaving.values() for target, *_ in leaving)
        found, heads = [], deque([TRIGGER])
        while heads:
            name = heads.popleft()
            found.append(name)
            for target, *_ in self.leaving[name]:
                undecided[target] -= 1
                if undecided[target] == 0:
                    heads.append(target)
        return found

    def is_end(self, name: str) -> bool:
        """Whether a node is one that nobody has written."""
        return name == TRIGGER or self.plan.nodes[name].ends


@dataclass
class _Scale:
    base: Base
    plan: Plan
    wish: Wish
    why: dict[str, str] = field(default_factory=dict)
    barred: set[str] = field(default_factory=set)

    @cached_property
    def before(self) -> _Shape:
        return _Shape(self.base.plan, self.base.plan.regions[0])

    @cached_property
    def after(self) -> _Shape:
        return _Shape(self.plan, self.plan.regions[0])

    @cached_property
    def order(self) -> list[str]:
        return self.after.order()

    @cached_property
    def over(self) -> set[str]:
        """The nodes of the base with an outcome that a fork can go on from."""
        found = {name for name, status in self.base.outcomes.items() if status in OVER or status == SKIPPED}
        found |= set(self.base.packs)
        for name, status in self.base.outcomes.items():
            row = self.base.rows.get(self.base.plan.segment_of.get(name, -1))
            if status == "failed" and row is not None and row.status == "done":
                found.add(name)
        return found

    @cached_property
    def passed_by(self) -> set[str]:
        """The nodes of the base that no way led to, or that a join did without."""
        plan, rows = self.base.plan, self.base.rows
        dead = skipped(plan, list(rows.values())) | {
            number for number, row in rows.items() if row.status == "skipped"
        }
        for number, joins in plan.losing.items():
            started = (rows.get(each) for each in joins)
            if any(row is not None and row.status not in ("blocked", "skipped") for row in started):
                dead.add(number)
        dead |= {number for number, row in rows.items() if row.status == "done"}
        names = {node.id for number in dead for node in plan.segments[number].nodes}
        return names - self.over - {TRIGGER}

    def weigh(self) -> Fork:
        """Keep as much as can be, and take back what the fold over it does not reach."""
        self._bar_early_ends()
        while True:
            kept, settled = self._kept()
            rows, lost = self._rows(kept)
            if not lost:
                break
            self.barred |= lost
        instances = tuple(self._instances(kept, settled))
        return Fork(
            tuple(self._verdicts(kept, settled, instances)),
            rows,
            tuple(name for name in self.order if name in kept and name != TRIGGER),
            instances,
        )

    def _bar_early_ends(self) -> None:
        """Do again what may have ended more than its own branch: it took no exit though it had some."""
        for number, row in self.base.rows.items():
            segment = self.base.plan.segments[number]
            if row.status != "done" or segment.region:
                continue
            ran = [each for each in segment.nodes if each.id in self.over]
            if not ran:
                continue
            last = ran[-1]
            cut_short = (
                last is not segment.nodes[-1] and not segment.nodes[segment.nodes.index(last) + 1].ends
            )
            silent = last.waits and last.container is None and segment.exits and "1" not in bits(segment, row)
            if (cut_short or silent) and self.base.outcomes.get(last.id) != SKIPPED:
                self.barred.add(last.id)
                self.why[last.id] = "it ended its branch early"

    def _kept(self) -> tuple[set[str], set[str]]:
        """Return the nodes that are kept, and those from which nothing that comes is changed."""
        kept, settled = {TRIGGER}, {TRIGGER}
        for name in self.order:
            if self.after.is_end(name):
                continue
            sources = [source for source, *_ in self.after.entering[name]]
            first = next((each for each in sources if each not in settled), None)
            if first is not None:
                self.why.setdefault(name, f"it comes after {first}")
            elif (reason := self._against(name)) is not None:
                self.why[name] = reason
            else:
                settled.add(name)
                if name in self.over:
                    kept.add(name)
        return kept, settled

    def _against(self, name: str) -> str | None:
        """Return why a node whose predecessors are all kept is not."""
        if name in self.wish.pins:
            return "its output is given"
        if name in self.wish.again:
            return "it is named"
        if name not in self.base.plan.segment_of or self.base.plan.region_of(name).id:
            return "it is new"
        if self._entrance(self.after, name) != self._entrance(self.before, name):
            return "the edges that lead to it differ"
        if name in self.passed_by:
            return None
        if self.base.outcomes.get(name) == "intent":
            return "nobody knows whether its effect happened"
        if name not in self.over:
            return f"it had not ended well: {self.base.outcomes.get(name) or 'no outcome'}"
        if signature(self.plan, name) != signature(self.base.plan, name):
            return "its type or config differs"
        if self.base.outcomes.get(name) == "failed" and self._leaves_otherwise(name):
            return "it had failed, and the edges that lead from it differ"
        if self.wish.payload and reads_payload(self.plan, name):
            return "it reads the payload, which differs"
        if name in self.barred:
            return self.why.get(name, "where it leads is not known")
        return None

    @staticmethod
    def _entrance(shape: _Shape, name: str) -> tuple[Any, ...]:
        segment = shape.plan.segments[shape.plan.segment_of[name]]
        join = segment.join if segment.nodes[0].id == name else None
        counted = None if join is None else (join.mode, join.count, join.done, join.collect)
        return shape.entering[name], counted if len(shape.entering[name]) > 1 else None

    def _leaves_otherwise(self, name: str) -> bool:
        return set(self.after.leaving[name]) != set(self.before.leaving[name])

    def _rows(self, kept: Collection[str]) -> tuple[tuple[Born, ...], set[str]]:
        """Return the rows of the new execution, and kept nodes that no kept way leads to or leads on from."""
        done: dict[int, tuple[bool, ...]] = {}
        lost: set[str] = set()
        for segment in self.after.segments:
            if not all(node.id in kept for node in segment.nodes):
                continue
            taken = self._exits(segment)
            if taken is not None:
                done[segment.id] = taken
            elif any(each.port not in (None, "out", "error") for each in segment.exits):
                lost.add(segment.nodes[-1].id)
                self.why[segment.nodes[-1].id] = "its exits differ"
        decision = advance(self.plan, {}, [Completed(number, "", taken) for number, taken in done.items()])
        several = {number for (number, _), _ in decision.opened}
        reached = {0, *(number for number, _ in decision.ready), *several}
        for segment in self.after.segments:
            held = [node.id for node in segment.nodes if node.id in kept and node.id != TRIGGER]
            if segment.id not in reached and held:
                lost.update(held)
                self.why.update(dict.fromkeys(held, "whether a way leads to it is decided anew"))
        rows = [
            Born(number, "done", *_counts(decision, number), done[number])
            if number in done
            else Born(number, "ready", *_counts(decision, number))
            for number in sorted(reached - self._losers(reached - set(done), decision))
            if number in done or number not in several
        ]
        for number in sorted(several - set(done)):
            rows += self._opened(number, decision)
        for (number, _), arrivals in decision.joins.items():
            if number not in reached:
                status = "skipped" if arrivals.decided else "blocked"
                rows.append(Born(number, status, arrivals.pending, arrivals.taken))
        return tuple(rows), lost

    def _opened(self, number: int, decision: Decision) -> Iterator[Born]:
        """Yield the row of a join `each` that is not kept, and those of what its edges open."""
        segment, arrivals = self.plan.segments[number], decision.joins[(number, "")]
        region = self.plan.owned[segment.nodes[-1].id][0]
        opened = [entry for (place, _), entry in decision.opened if place == number]
        fan = Fan.of_edges(region.id, segment.entries)
        fan.pending, fan.undecided = len(opened), arrivals.pending
        yield Born(number, "waiting", arrivals.pending, arrivals.taken, fan=fan)
        yield from (Born(region.first, "ready", 0, 1, item=str(entry)) for entry in opened)

    def _losers(self, open_: Iterable[int], decision: Decision) -> set[int]:
        """Return the segments that a join which has started does without."""
        started = {number for (number, _), arrivals in decision.joins.items() if arrivals.decided}
        return {number for number in open_ if started.intersection(self.plan.losing.get(number, ()))}

    def _exits(self, segment: Segment) -> tuple[bool, ...] | None:
        """Return which exits a kept segment takes, as far as the base has decided them or nothing is to be decided."""
        last = segment.nodes[-1]
        known = self._decided(last.id)
        found = []
        for exit_ in segment.exits:
            way = _way(self.plan, exit_)
            if way in known and not (self.wish.payload and way[3] and _roots(way[3]) - _INNER):
                found.append(known[way])
            elif (
                way[1] is None and way[2] in ("success", "any") and way[3] is None and self._is_plain(last.id)
            ):
                found.append(True)
            else:
                return None
        return tuple(found)

    def _decided(self, name: str) -> dict[Edge, bool]:
        """Return what the base decided of the edges that leave a node."""
        plan = self.base.plan
        segment = plan.segments[plan.segment_of[name]]
        row = self.base.rows.get(segment.id)
        if row is None or row.status != "done" or segment.nodes[-1].id != name:
            return {}
        return {
            _way(plan, each): bit == "1" for each, bit in zip(segment.exits, bits(segment, row), strict=True)
        }

    def _is_plain(self, name: str) -> bool:
        """Whether a node has only one way out when it succeeds, and did succeed."""
        ported = any(
            port not in (None, "error")
            for shape in (self.before, self.after)
            for _, port, _, _ in shape.leaving[name]
        )
        return not ported and (name in self.base.packs or self.base.outcomes.get(name) in OVER)

    def _verdicts(
        self, kept: Collection[str], settled: Collection[str], instances: Collection[str]
    ) -> Iterator[Verdict]:
        for name in self.order:
            if self.after.is_end(name):
                continue
            node = self.plan.nodes[name]
            outcome = "succeeded" if name in self.base.packs else self.base.outcomes.get(name)
            if outcome is None and name in self.passed_by:
                outcome = SKIPPED
            reason = self.why.get(name, "")
            if name in instances:
                reason += "; items that succeeded are kept where they are equal"
            word: Word = "again"
            if name in self.wish.pins:
                word = "pinned"
            elif name in kept or name in settled:
                word, reason = "kept", ""
            elif name not in self.base.plan.segment_of:
                word = "added"
            elif signature(self.plan, name) != signature(self.base.plan, name):
                word = "changed"
            yield Verdict(name, word, reason, str(node.effect), outcome)
        for name in self.before.order():
            if name not in self.plan.segment_of and not self.before.is_end(name):
                node = self.base.plan.nodes[name]
                yield Verdict(name, "removed", "", str(node.effect), self.base.outcomes.get(name))

    def _instances(self, kept: Collection[str], settled: Collection[str]) -> Iterator[str]:
        """Yield the maps that begin now, and whose instances would do what they did."""
        for name in self.order:
            node, was = self.plan.nodes[name], self.base.plan.nodes.get(name)
            if node.container is None or was is None or was.container is None:
                continue
            if node.container.each is None or was.container.each is None:
                continue
            sources = {source for source, *_ in self.after.entering[name]}
            stands = name not in kept and name not in self.wish.again and sources <= set(settled)
            if (
                stands
                and name not in self.wish.pins
                and not self.base.plan.region_of(name).id
                and _performs(self.plan, node.container) == _performs(self.base.plan, was.container)
                and not (self.wish.payload and _body_reads_payload(self.plan, node.container))
            ):
                yield name


def bits(segment: Segment, row: SegmentState) -> str:
    """Return the exits a segment's row says it took, a digit for each."""
    return "1" * len(segment.exits) if row.exits in (None, "*") else str(row.exits)


def edges(plan: Plan, region: Region) -> Iterator[tuple[str, str, str | None, str, str | None]]:
    """Yield the edges of a region as (source, target, port, on, when), also those inside of segments."""
    for segment in plan.segments[region.first : region.beyond]:
        if segment.region != region.id:
            continue
        names = [each.id for each in segment.nodes]
        for source, target in pairwise(names):
            yield source, target, None, "any" if plan.nodes[target].ends else "success", None
        for exit_ in segment.exits:
            target, port, on, when = _way(plan, exit_)
            yield names[-1], target, port, on, when


def signature(plan: Plan, name: str) -> Any:
    """Return what a node does, comparable between versions."""
    node = plan.nodes[name]
    found: dict[str, Any] = {"type": node.type, "config": node.config, "waits": node.waits}
    if node.container is not None:
        found |= {
            "each": node.container.each,
            "loop": node.container.loop,
            "timeout": node.container.timeout,
            "part": node.container.part,
            "performs": _performs(plan, node.container),
        }
    if "vars" in _mentions(plan, node):
        found["vars"] = plan.variables, plan.shared
    return found


def reads_payload(plan: Plan, name: str) -> bool:
    """Whether what a node does depends on the payload of its execution."""
    found = _mentions(plan, plan.nodes[name]) - _INNER
    return bool(found - {"vars"}) or ("vars" in found and bool(_roots(plan.variables) - _INNER))


def _body_reads_payload(plan: Plan, container: Container) -> bool:
    found = _mentioned_inside(plan, plan.regions[container.body]) - _INNER
    if container.each is not None:
        found.discard(container.each.name or "")
    return bool(found)


def _performs(plan: Plan, container: Container) -> Any:
    """Return what a container performs, region by region."""
    regions = [
        container.body,
        *(each for _, each in container.undo),
        *(each.region for each in container.catch),
    ]
    regions += [] if container.last is None else [container.last]
    each = container.each
    return (
        [_region(plan, plan.regions[number]) for number in regions],
        [(one.on, one.excluding) for one in container.catch],
        [name for name, _ in container.undo],
        None if each is None else (each.name, each.batch),
    )


def _region(plan: Plan, region: Region) -> Any:
    nodes = {
        node.id: signature(plan, node.id)
        for segment in plan.segments[region.first : region.beyond]
        if segment.region == region.id
        for node in segment.nodes
    }
    return nodes, set(edges(plan, region))


def _mentions(plan: Plan, node: PlanNode) -> set[str]:
    """Return the root names that a node reads, with all that is inside of it."""
    found = _roots(dict(node.config))
    container = node.container
    if container is None:
        return found
    regions = [
        container.body,
        *(each for _, each in container.undo),
        *(each.region for each in container.catch),
    ]
    regions += [] if container.last is None else [container.last]
    for number in regions:
        found |= _mentioned_inside(plan, plan.regions[number])
    if container.each is not None:
        found.discard(container.each.name or "")
    return found


def _mentioned_inside(plan: Plan, region: Region) -> set[str]:
    found: set[str] = set()
    for segment in plan.segments[region.first : region.beyond]:
        if segment.region == region.id:
            for node in segment.nodes:
                found |= _mentions(plan, node)
            for exit_ in segment.exits:
                found |= _roots(exit_.when) if exit_.when else set()
    return found


def _roots(value: Json | Mapping[str, Json]) -> set[str]:
    """Return the root names in a config, or in a bare condition."""
    if isinstance(value, str):
        with_braces = expressions.compile_expression(value)
        return {str(each.path[0]) for each in with_braces.references}
    compiled = expressions.compile_value(dict(value) if isinstance(value, Mapping) else value)
    return {str(each.path[0]) for each in compiled.references}


def _way(plan: Plan, exit_: Exit) -> Edge:
    """Return an edge as it is written, whatever the numbers of the segments."""
    first = plan.segments[exit_.target].nodes[0]
    plain = None if exit_.port == "out" else exit_.port
    if exit_.mark is not None:
        return first.id, f"{plain}@{exit_.mark}", exit_.on, exit_.when
    return first.id, plain, "any" if first.ends else exit_.on, exit_.when


def _counts(decision: Decision, number: int) -> tuple[int, int]:
    arrivals = decision.arrivals((number, ""))
    return arrivals.pending, arrivals.taken
