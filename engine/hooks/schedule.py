"""When a request to a hook is made again, and what its answers mean. Pure.

Source: Standard Webhooks 1.0, "Deliverability and reliability".
"""

from __future__ import annotations

from collections.abc import Mapping

PAUSES = (5, 300, 1_800, 7_200, 18_000, 36_000, 36_000)
"""Seconds after each attempt that failed; behind the last one it is given up, 28 hours after the first."""
LONGEST_WISH = 36_000
"""Seconds that a receiver may ask to be left alone for."""
GONE = 410
"""The receiver wants to hear nothing more."""
_JITTER = 0.1


def following(attempt: int, now: int, wish: float | None, draw: bytes) -> int | None:
    """Return when the attempt after the `attempt`-th is made (milliseconds), or None when that was the last.

    `wish` is what the receiver asked for, in seconds; `draw` a random byte, so that receivers are not met by waves.
    """
    if attempt > len(PAUSES):
        return None
    pause = PAUSES[attempt - 1] * (1 + _JITTER * (draw[0] / 255))
    return now + round(max(pause, min(wish or 0, LONGEST_WISH)) * 1000)


def is_heard(status: int) -> bool:
    """Whether a receiver took what it was sent."""
    return 200 <= status < 300


def wish_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds in `Retry-After`, if it has some."""
    text = headers.get("retry-after", "").strip()
    return float(text) if text.isdecimal() and len(text) < 9 else None
