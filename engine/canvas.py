"""The compile target: a plan, or what remains of it, as a Celery canvas.

`segment` and `join` are signature types of our own, composed with Celery's `chain` and `group`, so that a plan can be
drawn, stored and read as any canvas. `join` is a chord by type and by shape, and not by mechanism: nothing counts in a
result backend. Its count is a row, decremented in the transaction that commits a predecessor; whoever brings it to zero
sends the body. The canvas proposes, the row disposes.

`compile` is linear in the plan: a join's body stands where it is first met, later mentions name it by id. What a container
performs stands behind it, region by region, as it is for the first instance.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from celery import chain, group
from celery.canvas import Signature, _chord  # type: ignore[attr-defined]  # what chord() makes

from engine.advance import is_join
from engine.plan import Plan, item_of

TASK = "celeriac.perform"
"""The one task there is: perform the segments a message refers to."""

Done = Mapping[int, tuple[bool, ...]]
"""Performed segments and their decided exits: the state `compile` starts from."""


@Signature.register_type("celeriac.segment")
class segment(Signature):  # noqa: N801  stands beside chain, group and chord
    """Perform segments by reference. All it carries is references; results never travel."""

    @classmethod
    def of(cls, references: Iterable[Sequence[Any]], queue: str, **show: Any) -> segment:
        """Return the signature of one message: references of one queue. `show` is for people who look at a canvas."""
        made = cls(TASK, args=([list(each) for each in references],), options={"queue": queue})
        made["subtask_type"] = "celeriac.segment"
        if show:
            made["show"] = show
        return made

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> segment:
        """Read the JSON form back."""
        return cls(dict(d), app=app)  # type: ignore[arg-type]  # Celery's own way of reading one

    def clone(self, args: Any = None, kwargs: Any = None, **options: Any) -> Signature:
        """Return a copy with what it shows; Celery's own copy leaves that out."""
        made: Signature = super().clone(args, kwargs, **options)
        if "show" in self:
            made["show"] = self["show"]
        return made

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:  # type: ignore[override]
        """Send the one message. What Celery would chain behind it is dropped: the commit sends what follows."""
        options.pop("chain", None)
        return super().apply_async(args, kwargs, **{**options, "chain": None})


@Signature.register_type("celeriac.join")
class join(_chord):  # type: ignore[misc]  # noqa: N801  the same
    """Predecessors and what follows when enough of them are done. Sending it sends the predecessors only."""

    @classmethod
    def of(cls, header: Sequence[Signature], body: Signature) -> join:
        """Return the join of predecessors before a body."""
        made: join = cls(list(header), body)
        made["subtask_type"] = "celeriac.join"
        return made

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Any = None) -> join:
        """Read the JSON form back."""
        made: join = super().from_dict(dict(d), app=app)
        made["subtask_type"] = "celeriac.join"
        return made

    def apply_async(self, *_: Any, **options: Any) -> Any:
        """Send the header; the row that counts it sends the body."""
        return [each.apply_async(**options) for each in self.tasks]


def compile(plan: Plan, done: Done | None = None, *, execution: str = "", item: str = "") -> Signature | None:
    """Return the canvas of what remains after `done`; None when nothing does.

    With nothing done it is the whole DAG. The same function serves start, continuation, wake-up and repair, which differ
    only in what is done.
    """
    done = done or {}
    heads = _frontier(plan, done)
    if not heads:
        return None
    met = set(done)
    parts = [_from(plan, each, execution, item, met) for each in heads]
    return parts[0] if len(parts) == 1 else group(parts)


def mention(number: int, queue: str) -> Signature:
    """Return a segment that stands elsewhere in the canvas, by its id."""
    made = segment.of([], queue, see=number)
    made["immutable"] = True
    return made


def _frontier(plan: Plan, done: Done) -> list[int]:
    """Return the segments that may start now: reached by a taken edge, and not waiting for others."""
    if not done:
        return [0]
    arrived: dict[int, int] = {}
    for number, taken in done.items():
        for exit_, is_taken in zip(plan.segments[number].exits, taken, strict=True):
            if is_taken:
                arrived[exit_.target] = arrived.get(exit_.target, 0) + 1
    open_ = _reachable(plan, [each for each in arrived if each not in done], frozenset(done))
    feeding = {exit_.target for number in open_ for exit_ in plan.segments[number].exits}
    return sorted(each for each in arrived if each not in done and each not in feeding)


def _reachable(plan: Plan, starts: Iterable[int], without: Collection[int]) -> set[int]:
    found: set[int] = set()
    heads = [each for each in starts if each not in without]
    while heads:
        number = heads.pop()
        if number not in found:
            found.add(number)
            heads.extend(exit_.target for exit_ in plan.segments[number].exits)
    return found


def _from(plan: Plan, first: int, execution: str, item: str, met: set[int]) -> Signature:
    """Return the canvas that starts at a segment. Iterative along chains, so its depth is that of nested fan-outs only."""
    links: list[Signature] = []
    number: int | None = first
    while number is not None:
        if number in met:
            links.append(mention(number, plan.segments[number].queue))
            break
        met.add(number)
        here = plan.segments[number]
        links += _performed(plan, number, execution, item, met)
        targets = list(dict.fromkeys(exit_.target for exit_ in here.exits))
        if len(targets) > 1:
            links.append(_fan_out(plan, targets, execution, item, met))
            break
        number = targets[0] if targets else None
    return links[0] if len(links) == 1 else chain(*links, app=None)


def _performed(plan: Plan, number: int, execution: str, item: str, met: set[int]) -> list[Signature]:
    """Return a segment and, when it ends in a container, what that performs."""
    here = plan.segments[number]
    region = plan.regions[here.region]
    show: dict[str, Any] = {"segment": number, "nodes": [each.id for each in here.nodes]}
    if region.id and number == region.first:
        show["region"] = region.name
    made: list[Signature] = [segment.of([(execution, number, item)], here.queue, **show)]
    if here.nodes[-1].container is not None:
        inside = plan.owned[here.nodes[-1].id]
        made += (_from(plan, each.first, execution, item_of(item, 0), met) for each in inside)
    return made


def _fan_out(plan: Plan, targets: list[int], execution: str, item: str, met: set[int]) -> Signature:
    """Return parallel branches, as a join when all of them meet at once in one segment, else as a group."""
    following = {exit_.target for number in targets for exit_ in plan.segments[number].exits}
    meets = len(following) == 1 and not any(is_join(plan.segments[each]) for each in targets)
    body = next(iter(following), None)
    if meets and body is not None and body not in met:
        header: list[Signature] = []
        for each in targets:
            met.add(each)
            links = _performed(plan, each, execution, item, met)
            header.append(links[0] if len(links) == 1 else chain(*links, app=None))
        return join.of(header, _from(plan, body, execution, item, met))
    return group([_from(plan, each, execution, item, met) for each in targets])
