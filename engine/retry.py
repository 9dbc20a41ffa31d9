"""Whether a failed attempt is made again, and when. Pure: the draw of the jitter is an argument."""

from __future__ import annotations

from collections.abc import Iterable

from celeriac import NodeError
from engine.definition import RetryPolicy

_DETERMINED = ("expression.", "node.config_", "node.output_")


def delay(policy: RetryPolicy, attempt: int, error: NodeError, elapsed: float, draw: float) -> float | None:
    """Return the seconds until the next attempt, or None when this was the last.

    `attempt` is the number of the failed attempt, from 1; `elapsed` the seconds since the first one began; `draw` is in
    [0, 1). A time the other side asked for (`retry_after`) is honoured and never shortened by `max_delay`.
    """
    if attempt >= policy.max_attempts or not selects(policy, error):
        return None
    if policy.backoff == "constant":
        pause = policy.delay
    elif policy.backoff == "linear":
        pause = policy.delay * attempt
    else:
        pause = _grown(policy, attempt)
    pause = min(pause, policy.max_delay)
    pause *= 1 - policy.jitter * draw
    if policy.retry_after and error.retry_after is not None:
        pause = max(pause, error.retry_after)
    if policy.max_duration is not None and elapsed + pause > policy.max_duration:
        return None
    return pause


def _grown(policy: RetryPolicy, attempt: int) -> float:
    try:
        return policy.delay * policy.factor ** (attempt - 1)
    except OverflowError:
        return policy.max_delay


def selects(policy: RetryPolicy, error: NodeError) -> bool:
    """Whether the policy repeats this error: named by `on` and not by `except`.

    An empty `on` names everything but what comes out the same every time: mistakes in expressions, configs and outputs.
    """
    if names(policy.excluding, error):
        return False
    if not policy.on:
        return not error.code.startswith(_DETERMINED)
    return names(policy.on, error)


def names(selectors: Iterable[str], error: NodeError) -> bool:
    """Whether one of the selectors (a code, a family `http.*`, a class, or `*`) names an error."""
    known = (error.code, *error.kinds)
    return any(_matches(selector, known) for selector in selectors)


def _matches(selector: str, names: tuple[str, ...]) -> bool:
    if selector == "*":
        return True
    if selector.endswith(".*"):
        return any(name.startswith(selector[:-1]) for name in names)
    return selector in names
