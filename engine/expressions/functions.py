"""The functions: the only names that can be called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from engine.expressions.error import ARGUMENTS, VALUE, Refused
from engine.expressions.evaluation import Evaluation
from engine.expressions.filters.dates import rfc3339_of
from engine.expressions.filters.lists import largest, smallest
from engine.expressions.values import MISSING, Json, integer_from, list_from, text_from

CALLBACK_URL: Final = "callback_url"


def now(evaluation: Evaluation) -> Json:
    """Return the instant of the evaluation, in UTC with milliseconds; it stands still."""
    return rfc3339_of(evaluation.scope.entropy.now_ms)


def uuid(evaluation: Evaluation) -> Json:
    """Return the next UUID, of version 4."""
    drawn = bytearray(evaluation.scope.draw())
    drawn[6] = drawn[6] & 0x0F | 0x40
    drawn[8] = drawn[8] & 0x3F | 0x80
    digits = drawn.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def random(evaluation: Evaluation) -> Json:
    """Return the next number of at least 0 and less than 1."""
    return (int.from_bytes(evaluation.scope.draw()[:8], "big") >> 11) / (1 << 53)


def range_(evaluation: Evaluation, start: Json, stop: Json = None, step: Json = 1) -> Json:
    """Return the integers from start (0 when only one is given) up to, and without, stop."""
    first, end = (0, start) if stop is None else (start, stop)
    first, end, by = integer_from(first, "start"), integer_from(end, "stop"), integer_from(step, "step")
    if by == 0:
        raise Refused(VALUE, "cannot have a step of zero")
    evaluation.spend(max(0, -((first - end) // by)))
    return list(range(first, end, by))


def min_(evaluation: Evaluation, *values: Json) -> Json:
    """Return the smallest of its arguments, or of one list."""
    return _extreme(evaluation, smallest, values)


def max_(evaluation: Evaluation, *values: Json) -> Json:
    """Return the largest of its arguments, or of one list."""
    return _extreme(evaluation, largest, values)


def callback_url(evaluation: Evaluation, node: Json, name: Json = "callback") -> Json:
    """Return the address that ends the wait of a node; of a wait with branches, name the branch."""
    links = evaluation.scope.links
    if links is None:
        raise Refused(VALUE, "has no value here", "Use it in the config of a node.")
    return links.callback(text_from(node, "node"), text_from(name, "name"))


def _extreme(evaluation: Evaluation, choose: Callable[..., Any], values: tuple[Json, ...]) -> Json:
    found = choose(evaluation, list_from(values[0]) if len(values) == 1 else list(values))
    if found is MISSING:
        raise Refused(ARGUMENTS, "needs at least one value")
    return found  # type: ignore[no-any-return]


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "now": now,
    "uuid": uuid,
    "random": random,
    "range": range_,
    "min": min_,
    "max": max_,
    CALLBACK_URL: callback_url,
}
