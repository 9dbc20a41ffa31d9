"""What differs between two documents, by place. Pure. Lists of things with ids are compared by id, not by position."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from celeriac import Json
from engine.checking.source import Path, pointer


def diff(before: Json, after: Json) -> list[dict[str, Json]]:
    """Return each difference as `{op: added | removed | changed, pointer, before?, after?}`, in document order.

    A pointer into a list of things with ids ends in the id, so that it means the same in both documents.
    """
    return [
        {"op": op, "pointer": pointer(path), **values} for op, path, values in _differences((), before, after)
    ]


def _differences(path: Path, before: Any, after: Any) -> Iterator[tuple[str, Path, dict[str, Json]]]:
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _of_objects(path, before, after)
    elif (old := _by_id(before)) is not None and (new := _by_id(after)) is not None:
        yield from _of_objects(path, old, new)
    elif _edges(path) and isinstance(before, list) and isinstance(after, list):
        yield from (
            ("removed", (*path, before.index(each)), {"before": each}) for each in before if each not in after
        )
        yield from (
            ("added", (*path, after.index(each)), {"after": each}) for each in after if each not in before
        )
    elif type(before) is not type(after) or before != after:
        yield "changed", path, {"before": before, "after": after}


def _of_objects(
    path: Path, before: dict[str, Any], after: dict[str, Any]
) -> Iterator[tuple[str, Path, dict[str, Json]]]:
    for key, value in before.items():
        if key in after:
            yield from _differences((*path, key), value, after[key])
        else:
            yield "removed", (*path, key), {"before": value}
    for key, value in after.items():
        if key not in before:
            yield "added", (*path, key), {"after": value}


def _by_id(value: Any) -> dict[str, Any] | None:
    """Return a list of things that each have an id of their own as a mapping, or None for anything else."""
    if not (
        isinstance(value, list)
        and all(isinstance(each, dict) and isinstance(each.get("id"), str) for each in value)
    ):
        return None
    found = {each["id"]: each for each in value}
    return found if len(found) == len(value) else None


def _edges(path: Path) -> bool:
    return path[-1:] == ("edges",)
