"""Withdrawing one node run from whoever has it. Pure: what stands in rows and journal in, a refusal or nothing out.

Only what is next in its segment can be taken out of it without undoing anything else: what has not ended before it in the
same segment is carried again, so it has to be free of effects.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from celeriac import Effect
from engine.definition import TRIGGER
from engine.errors import Conflict, Invalid, NotFound
from engine.fans import Fan
from engine.nearest import nearest
from engine.plan import BEGIN, Plan, PlanNode, Segment

ACTIVE = frozenset({"ready", "running", "waiting", "backing_off"})
OVER = frozenset({"succeeded", "continued", "failed", "skipped"})


class Refusal(StrEnum):
    """Why a node run is not withdrawn."""

    ENDED = "ended"
    NOT_ACTIVE = "not_active"
    OVER = "over"
    IN_DOUBT = "in_doubt"
    BEHIND_EFFECT = "behind_effect"
    IN_CHUNK = "in_chunk"
    PAST_FINALLY = "past_finally"
    NO_MAP = "no_map"
    NO_ITEM = "no_item"
    TOO_MANY = "too_many"


@dataclass(frozen=True, slots=True)
class Standing:
    """A segment's row, with what its nodes have journaled (outcomes, and the nodes with an effect of unknown fate) and called."""

    status: str
    epoch: int
    stop: bool
    chunked: bool
    fan: Fan | None
    outcomes: Mapping[str, str]
    intents: Collection[str]
    child: str | None = None


def against(
    plan: Plan, segment: Segment, name: str, standing: Standing | None, *, skips: bool
) -> Refusal | None:
    """Return why a node run cannot be withdrawn; nothing when it can."""
    if standing is None:
        return Refusal.NOT_ACTIVE
    if standing.chunked:
        return Refusal.IN_CHUNK
    if standing.status in ("uncertain", "quarantined"):
        return Refusal.IN_DOUBT
    if standing.status not in ACTIVE or standing.stop:
        return Refusal.NOT_ACTIVE
    if standing.outcomes.get(name) in OVER:
        return Refusal.OVER
    if standing.intents:
        return Refusal.IN_DOUBT
    for node in segment.nodes:
        if node.id == name:
            return Refusal.PAST_FINALLY if _ends_badly(plan, node, standing.fan, skips=skips) else None
        if node.effect is not Effect.NONE and standing.outcomes.get(node.id) not in OVER:
            return Refusal.BEHIND_EFFECT
    return Refusal.NOT_ACTIVE


def _ends_badly(plan: Plan, node: PlanNode, fan: Fan | None, *, skips: bool) -> bool:
    """Whether withdrawing a container would pass by what it does in the end."""
    if node.container is None or fan is None:
        return False
    if plan.regions[fan.region].kind in ("undo", "finally"):
        return True
    return skips and (node.container.last is not None or bool(node.container.undo))


def fails_body(node: PlanNode, fan: Fan | None) -> bool:
    """Whether a cancelled node is a scope that has begun: then its body fails, so that it deals with that as with any failure."""
    container = node.container
    return container is not None and fan is not None and container.each is None and container.loop is None


class NotActive(Conflict):
    """The node run is not under way: nothing has led to it yet, or its segment has ended or been stopped."""

    code = "node.not_active"


class Over(Conflict):
    """The node run has an outcome already."""

    code = "node.over"


class InDoubt(Conflict):
    """An effect that cannot be repeated has begun, and nobody knows whether it happened."""

    code = "node.in_doubt"


class BehindEffect(Conflict):
    """Before it in the same segment stands a node whose effect has not ended."""

    code = "node.behind_effect"


class InChunk(Conflict):
    """The item is performed together with others, which have no runs of their own."""

    code = "node.in_chunk"


class PastFinally(Conflict):
    """It would pass by what the scope does in the end."""

    code = "node.past_finally"


class NoMap(Conflict):
    """The node is no map, or none that is under way."""

    code = "map.not_running"


class NoItem(Conflict):
    """The map has no item of this index."""

    code = "map.no_such_item"


class TooMany(Conflict):
    """The map would have more items than are allowed."""

    code = "map.too_many_items"


class WrongItem(Invalid):
    """The item does not say which run of the node is meant."""

    code = "node.wrong_item"


_ERRORS: dict[Refusal, tuple[type[Conflict], str]] = {
    Refusal.ENDED: (Conflict, "celeriac executions fork starts a new one that keeps what this one came to."),
    Refusal.NOT_ACTIVE: (NotActive, "celeriac executions show tells what is under way."),
    Refusal.OVER: (Over, "What comes after it may still be skipped or cancelled."),
    Refusal.IN_DOUBT: (InDoubt, "When its process is gone: celeriac attention list"),
    Refusal.BEHIND_EFFECT: (BehindEffect, "Ask again when that has ended."),
    Refusal.IN_CHUNK: (InChunk, "Skip or cancel the map itself, or complete it."),
    Refusal.NO_MAP: (NoMap, "celeriac executions show tells what is under way."),
    Refusal.NO_ITEM: (NoItem, "Its items are counted from 0."),
    Refusal.TOO_MANY: (TooMany, "CELERIAC_LIMIT_MAP_ITEMS is the limit."),
    Refusal.PAST_FINALLY: (
        PastFinally,
        "Cancel it before that begins: then it does what it does in the end.",
    ),
}


def error_of(refusal: Refusal, execution: str, name: str) -> Conflict:
    """Return a refusal as it is told."""
    kind, hint = _ERRORS[refusal]
    if refusal is Refusal.ENDED:
        message = f"The execution {execution} has ended, or was asked to."
        return Conflict(message, hint=hint)
    said = (kind.__doc__ or "").strip()
    return kind(f"{name} of {execution}: {said}", hint=hint)


def place(plan: Plan, name: str, item: str) -> tuple[int, str]:
    """Return the segment in which the run of a node for an item stands, and the node's name there.

    An item of a node that repeats itself is one deeper than the node. Raises `NotFound`, or `WrongItem`.
    """
    node = plan.nodes.get(name)
    if node is None or node.type == TRIGGER or node.ends or node.type == BEGIN:
        message = f"The version has no node {name!r}."
        near = nearest(name, [each for each in plan.nodes if "@" not in each and each != TRIGGER])
        raise NotFound(
            message, hint=f"Did you mean {near}?" if near else "celeriac executions show lists them."
        )
    given, depth = len(item.split(".")) if item else 0, plan.region_of(name).depth
    inner = f"{name}@item"
    if given == depth + 1 and inner in plan.nodes and all(each.isdecimal() for each in item.split(".")):
        return plan.segment_of[inner], inner
    if given != depth or (item and not all(each.isdecimal() for each in item.split("."))):
        wanted = "none" if not depth else ".".join("0" for _ in range(depth))
        message = f"The item {item!r} does not say which run of {name} is meant."
        raise WrongItem(message, hint=f"Its runs have items like: {wanted}.")
    return plan.segment_of[name], name
