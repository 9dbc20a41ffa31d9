"""Limits as authors write them, and who may go on at a key where only so many may. Pure.

A slot of a key is a row that lives with the segment, or with the execution, that holds it. So slots are counted and never
kept as a number, and whatever ends the holder gives its slot back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeVar

from celeriac import Fail, Json
from celeriac.duration import seconds

LONGEST_KEY = 200
"""The characters a key may have."""

QUEUE_TIMED_OUT = "timeout.queue"
REJECTED, QUEUE_FULL, BAD_KEY = "limit.rejected", "limit.queue_full", "limit.bad_key"

Strategy = Literal["queue", "reject", "cancel_oldest", "coalesce"]


@dataclass(frozen=True, slots=True)
class Concurrency:
    """At most `limit` at a time under a key; the others wait, `max_queued` of them at most, or are turned away."""

    key: str
    limit: int = 1
    strategy: Strategy = "queue"
    max_queued: int | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limit` starts under a key within `period` seconds."""

    key: str
    limit: int
    period: float


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits that a node has, or a whole workflow."""

    concurrency: Concurrency | None = None
    rate: Rate | None = None

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Limits | None:
        """Read them from the node or the definition in whose JSON form they stand. A mutex is a limit of one."""
        concurrency, rate = body.get("concurrency"), body.get("rate")
        if "mutex" in body:
            concurrency = {"key": body["mutex"]}
        if concurrency is None and rate is None:
            return None
        return cls(
            None if concurrency is None else Concurrency(**concurrency),
            None if rate is None else Rate(**{**rate, "period": seconds(rate["period"])}),
        )

    @classmethod
    def from_json(cls, body: Mapping[str, Any] | None) -> Limits | None:
        """Read the stored form."""
        if body is None:
            return None
        concurrency, rate = body["concurrency"], body["rate"]
        return cls(
            None if concurrency is None else Concurrency(**concurrency),
            None if rate is None else Rate(**rate),
        )

    @property
    def keys(self) -> dict[str, Json]:
        """The templates of its keys."""
        found = {"concurrency": self.concurrency, "rate": self.rate}
        return {name: each.key for name, each in found.items() if each is not None}

    def rendered(self, keys: Json) -> Limits:
        """Return the limits with what their keys came to. Raises `Fail` for one that cannot be a key."""
        found = keys if isinstance(keys, dict) else {}
        concurrency, rate = self.concurrency, self.rate
        return Limits(
            None if concurrency is None else replace(concurrency, key=key_of(found["concurrency"])),
            None if rate is None else replace(rate, key=key_of(found["rate"])),
        )


class Asks(Protocol):
    """Somebody who asks for a slot of a key."""

    @property
    def most(self) -> int:
        """How many may hold the key when this one does."""

    @property
    def waits(self) -> bool:
        """Whether it waits when there is no slot, and is not turned away."""


AsksT = TypeVar("AsksT", bound=Asks)


def key_of(value: Json) -> str:
    """Return the key that a template came to. Raises `Fail` for one that cannot be a key."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_KEY:
        message = f"The key of a limit has to be text of 1 to {LONGEST_KEY} characters, or a whole number."
        raise Fail(BAD_KEY, message)
    return value


def refusal(code: str) -> Fail:
    """Return the failure of a node that may not begin: its limit has refused it, or it has waited too long for a worker."""
    messages = {
        QUEUE_TIMED_OUT: "No worker took it up within the time for which it may wait for one.",
        REJECTED: "As many as may are at work under the key already.",
        QUEUE_FULL: "As many as may wait for the key already.",
    }
    return Fail(code, messages[code])


def admitted(held: int, asking: Iterable[AsksT]) -> Iterator[AsksT]:
    """Yield who goes on, of those who ask in their order. Nobody passes the first one who has to wait."""
    waiting = False
    for each in asking:
        if not waiting and held < each.most:
            held += 1
            yield each
        elif each.waits:
            waiting = True


def take_token(rate: Rate, expected: int | None, now: int) -> tuple[int, int]:
    """Take one token of a rate. Returns when it may be used (milliseconds), and what to expect next (microseconds).

    `expected` is when the key would be at rest again: a token adds its share of the period to that, and may be used when the
    sum is no more than a period ahead. So nobody has to count, and whoever waits has a time of its own, in order.
    """
    period = round(rate.period * 1_000_000)
    following = max(expected or 0, now * 1000) + -(-period // rate.limit)
    return max(now, -(-(following - period) // 1000)), following
