"""What mutexes and limits say of the order across executions: who holds a key does so with no more others than it allows.

What is known of a holder is a part of the time for which it held its key: from its last attempt's beginning, or from the
opening of its body, to its end. So what overlaps here has overlapped. A rate lets in, and whoever was let in may begin
late, together with others. But nobody is let in before he asks: so of those who can have asked since some time, no more have
begun at a later one than could be let in between the two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.chaos.reference.expressions import render
from tests.chaos.reference.graphs import Node
from tests.chaos.reference.record import Ended, Place, Record


@dataclass(frozen=True, slots=True)
class Held:
    """Somebody held a key, from a time to a time, with at most so many others besides."""

    key: str
    others: int
    begin: int
    end: int
    execution: str
    place: Place


@dataclass(frozen=True, slots=True)
class Begun:
    """Somebody began under a rate, of whom it may be that he asked from a time on. `each` are milliseconds for one of them."""

    key: str
    limit: int
    each: float
    ready: int
    begin: int
    execution: str
    place: Place


def begun(
    record: Record, node: Node, place: Place, found: Ended, ready: int, scope: Mapping[str, Any]
) -> Iterator[Begun]:
    """Yield what a node began under a rate. One that has come to nothing may not have begun."""
    rule = node["rate"]
    if found.state != "succeeded":
        return
    begin = min(found.at - found.ms, record.began.get(place, found.at))
    each = seconds(rule["period"]) * 1000 / rule["limit"]
    key = str(render(rule["key"], scope, ""))
    yield Begun(key, rule["limit"], each, ready, begin, record.execution, place)


def seconds(duration: Any) -> float:
    """A duration as the tests write them: a number, or a number and `s`."""
    return float(str(duration).removesuffix("s"))


def crowds(starts: Iterable[Begun], slack: int) -> Iterator[tuple[Begun, str]]:
    """Yield who began earlier than could be, after all those that had begun before him."""
    of_key: dict[str, list[Begun]] = defaultdict(list)
    for each in starts:
        of_key[each.key].append(each)
    for some in of_key.values():
        limit, pause = max(each.limit for each in some), min(each.each for each in some)
        for since in {each.ready for each in some}:
            after = sorted((each for each in some if each.ready >= since), key=lambda each: each.begin)
            for number, one in enumerate(after):
                earliest = since + (number - limit + 1) * pause
                if one.begin < earliest - slack:
                    yield one, f"{number + 1} began under {one.key!r} from {since} to {one.begin}"


def held(record: Record, node: Node, place: Place, found: Ended, scope: Mapping[str, Any]) -> Iterator[Held]:
    """Yield what a node that has ended held meanwhile."""
    rule = node.get("concurrency", {"key": node.get("mutex"), "limit": 1})
    if rule["key"] is None or found.code in ("limit.rejected", "limit.queue_full"):
        return
    begin = min(found.at - found.ms, record.began.get(place, found.at))
    key = str(render(rule["key"], scope, ""))
    yield Held(key, rule["limit"] - 1, begin, found.at, record.execution, place)


def turns(
    record: Record, definition: Mapping[str, Any], scope: Mapping[str, Any]
) -> tuple[list[Held], list[Begun]]:
    """Return what an execution has held as a whole, and under which rate it began."""
    holders: list[Held] = []
    starts: list[Begun] = []
    if record.begun_at is None or not record.finished_at or record.base is not None:
        return holders, starts
    whole: Place = ("", "")
    if "concurrency" in definition:
        rule = definition["concurrency"]
        key, others = str(render(rule["key"], scope, "")), rule["limit"] - 1
        holders.append(Held(key, others, record.begun_at, record.finished_at, record.execution, whole))
    if "rate" in definition:
        rule = definition["rate"]
        key, each = str(render(rule["key"], scope, "")), seconds(rule["period"]) * 1000 / rule["limit"]
        ready, begin = record.created_at, record.begun_at
        starts.append(Begun(key, rule["limit"], each, ready, begin, record.execution, whole))
    return holders, starts


def overlaps(holders: Iterable[Held], slack: int) -> Iterator[tuple[Held, str]]:
    """Yield who held a key together with more than any of them allows. Who of them came last is not known for certain."""
    of_key: dict[str, list[Held]] = defaultdict(list)
    for each in holders:
        of_key[each.key].append(each)
    for some in of_key.values():
        for one in some:
            together = [each for each in some if each.begin <= one.begin < each.end - slack]
            if len(together) - 1 > max(each.others for each in [one, *together]):
                yield one, f"{len(together)} held {one.key!r} together from {one.begin} on"
