"""Durations as people write them: a number of seconds, or `1h30m`, `250ms`, `2d`; and instants as programs show them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
PATTERN = r"^(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+$"
"""The textual form as a regular expression, for schemas."""


def seconds(value: float | str) -> float:
    """Return a duration in seconds. Raises `ValueError` that names the accepted forms."""
    if not isinstance(value, str):
        if isinstance(value, bool) or not 0 <= value < float("inf"):
            message = "A duration is a number of seconds, 0 or more."
            raise ValueError(message)
        return float(value)
    if not re.fullmatch(PATTERN, value):
        message = "A duration is a number of seconds, or text like 90s, 1h30m, 250ms, 2d."
        raise ValueError(message)
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _PART.findall(value))


def rfc3339(milliseconds: int) -> str:
    """Return an instant (milliseconds since the epoch) as text, in UTC."""
    shown = datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
    return shown.replace("+00:00", "Z")
