"""Named paths of webhooks: `/orders/{order}` and which request is meant by which. Pure.

The *shape* of a path is the path with its parameters nameless. Two paths of one shape would be one address, so a shape is
taken once in an installation; of several shapes that fit a request, the one that says most by itself is meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from typing import Final

ROOT: Final = "/webhooks"
RESERVED: Final = "wf_"
"""What the first part of a named path does not begin with: there the id of a workflow stands, before a secret."""
MOST_PARTS: Final = 8
MOST_PARAMETERS: Final = 3
PARAMETER: Final = "{}"

_PART = re.compile(r"[A-Za-z0-9._~-]+")
_NAMED = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,63})\}")


def parts(path: str) -> list[str]:
    """Return the parts of a path as its author wrote it, below the root of all webhooks, which need not be written."""
    return [each for each in path.removeprefix(f"{ROOT}/").split("/") if each]


def fault(path: str) -> str | None:
    """Return why a path of an author can be no address."""
    found = parts(path)
    named = [match[1] for each in found if (match := _NAMED.fullmatch(each))]
    if not found or len(found) > MOST_PARTS:
        return f"it has not 1 to {MOST_PARTS} parts"
    if not all(_PART.fullmatch(each) or _NAMED.fullmatch(each) for each in found):
        return "a part is letters, digits and . _ ~ -, or {name}"
    if {".", ".."} & {*found}:
        return "no part is . or .."
    if found[0].startswith(RESERVED):
        return f"addresses below {ROOT}/{RESERVED}... are those with a secret"
    if len(named) > MOST_PARAMETERS or len(named) != len(set(named)):
        return f"it has at most {MOST_PARAMETERS} parameters, each once"
    if len(named) == len(found):
        return "a part of it has to be no parameter"
    return None


def shape(path: str) -> str:
    """Return the shape of a path without faults."""
    return "/".join(PARAMETER if _NAMED.fullmatch(each) else each for each in parts(path))


def shapes(asked: list[str]) -> Iterator[str]:
    """Yield the shapes that fit the parts of a request, those that say most by themselves first."""
    if not 0 < len(asked) <= MOST_PARTS or not all(map(_PART.fullmatch, asked)):
        asked = [each if _PART.fullmatch(each) else "" for each in asked]
    if not 0 < len(asked) <= MOST_PARTS:
        return
    for count in range(min(MOST_PARAMETERS, len(asked) - 1) + 1):
        for places in reversed([*combinations(range(len(asked)), count)]):
            found = [PARAMETER if index in places else each for index, each in enumerate(asked)]
            if all(found):
                yield "/".join(found)


def parameters(path: str, asked: list[str]) -> dict[str, str]:
    """Return the values that a request gives the parameters of a path."""
    return {
        match[1]: value
        for name, value in zip(parts(path), asked, strict=True)
        if (match := _NAMED.fullmatch(name))
    }
