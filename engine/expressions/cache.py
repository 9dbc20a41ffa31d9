"""Compiled templates by their source."""

from __future__ import annotations

from typing import Generic, TypeVar

Value = TypeVar("Value")


class Cache(Generic[Value]):
    """Keeps what was used lately, up to a total weight.

    Two generations instead of a list in order of use: what is asked for moves to the young one, and when that is
    half of the capacity, it becomes the old one and the old one is forgotten. So finding something is one lookup,
    and threads need no lock: at worst one of them compiles again.
    """

    def __init__(self, capacity: int) -> None:
        self._half = capacity // 2
        self._young: dict[object, tuple[Value, int]] = {}
        self._old: dict[object, tuple[Value, int]] = {}
        self._weight = 0

    def get(self, key: object) -> Value | None:
        """Return what is kept under a key."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is None:
                return None
            self.put(key, *found)
        return found[0]

    def put(self, key: object, value: Value, weight: int) -> None:
        """Keep a value."""
        if self._weight + weight > self._half:
            self._old, self._young, self._weight = self._young, {}, 0
        self._young[key] = (value, weight)
        self._weight += weight
