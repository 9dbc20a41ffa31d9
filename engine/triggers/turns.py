"""What a schedule does when somebody looks at it: which slots start something now, and which one is next. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from engine.triggers.slots import due_of, latest_slots, slots
from engine.triggers.spec import Spec

AT_ONCE = 50
"""Slots of one schedule that start in one transaction; the others follow at the next look."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The slots that start something now, in order; the next slot and when it is due, or None when there is no more.

    `missed` is the last of those that start nothing any more.
    """

    fire: tuple[int, ...]
    slot: int | None
    due: int | None
    missed: int | None = None


def first(spec: Spec, name: str, after: int) -> Turn:
    """Return the turn of a schedule that begins, or goes on after a pause: what lies behind is not made up for."""
    slot = next(slots(spec, after), None)
    return Turn((), slot, None if slot is None else due_of(spec, name, slot))


def turn(spec: Spec, name: str, slot: int, now: int) -> Turn:
    """Return what a schedule whose next slot is `slot` does at `now`.

    A slot that is later than the grace (and the jitter) allows is missed, and the policy decides. `latest` starts the last
    one that was missed, unless one that is in time stands for it.
    """
    horizon = now - spec.misfire.grace - spec.jitter
    made_up: list[int] = []
    after = slot - 1
    missed = None
    if slot <= horizon:
        policy = spec.misfire.policy
        if policy != "skip":
            made_up = latest_slots(spec, after, horizon, spec.misfire.most if policy == "all" else 1)
        if len(made_up) >= AT_ONCE:
            made_up, rest = made_up[:AT_ONCE], made_up[AT_ONCE:]
            if rest:
                return Turn(tuple(made_up), rest[0], now)
        after = horizon
        missed = horizon
    fire: list[int] = []
    following: int | None = None
    for each in slots(spec, after):  # In order: whoever waits for its jitter holds up those behind it.
        if due_of(spec, name, each) > now or len(made_up) + len(fire) >= AT_ONCE:
            following = each
            break
        fire.append(each)
    if spec.misfire.policy == "latest" and fire:
        made_up = []
    due = None if following is None else due_of(spec, name, following)
    return Turn((*made_up, *fire), following, due, missed)
