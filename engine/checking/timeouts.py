"""What is wrong with the time limits of nodes, besides their shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from celeriac.duration import seconds
from engine.checking.finding import Finding
from engine.checking.outline import Outline, Vertex
from engine.definition import SCOPE

_OF_WORK: Final = {
    "queue": "is not taken up by a worker as a whole",
    "heartbeat": "sends no heartbeats",
}


def timeouts(outline: Outline) -> Iterator[Finding]:
    """Yield limits that a scope cannot have, and those that another limit makes pointless."""
    for vertex in outline.vertices:
        written = vertex.written.get("timeout")
        if isinstance(written, dict):
            yield from _of_scope(vertex, written)
            yield from _pointless(vertex, written)


def _of_scope(vertex: Vertex, written: Mapping[str, Any]) -> Iterator[Finding]:
    if vertex.written.get("type") != SCOPE:
        return
    for key, reason in _OF_WORK.items():
        if key in written:
            message = f"The scope {vertex.id} {reason}: its nodes do the work, each by itself."
            hint = (
                f"Give `timeout.{key}` to nodes in its body; `total` limits the scope with everything in it."
            )
            path = (*vertex.path, "timeout", key)
            yield Finding(path, "definition.bad_timeout", message, hint, key=True)


def _pointless(vertex: Vertex, written: Mapping[str, Any]) -> Iterator[Finding]:
    """Find a heartbeat that is asked for later than the attempt has to be over."""
    silence = _seconds(written.get("heartbeat"))
    attempt = _seconds(written.get("attempt", vertex.work.type.timeout if vertex.work.type else None))
    if silence is not None and attempt is not None and silence >= attempt:
        message = (
            f"An attempt at {vertex.id} is over after {attempt:g} s, before its first heartbeat is missed."
        )
        hint = "Write a `heartbeat` that is shorter than `attempt`, or give the attempt more time."
        path = (*vertex.path, "timeout", "heartbeat")
        yield Finding(path, "definition.heartbeat_unused", message, hint, severity="warning")


def _seconds(value: Any) -> float | None:
    try:
        return None if value is None or isinstance(value, bool) else seconds(value)
    except (TypeError, ValueError):
        return None  # The schema says so already.
