"""JSON Schemas that strangers have written: whether holding a value to one costs no more than it should. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SCHEMA_PARTS = 2_000
"""Parts of a schema, each counted as often as something refers to it: what looking at one value may cost."""
DEEPEST = 64
"""Levels of nesting in a schema, through references."""

_ELSEWHERE = ("$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor")


def fault_of(schema: Mapping[str, Any]) -> str | None:
    """Return why a stranger's schema is not used: it refers elsewhere or to itself, is too deep, or unfolds too far.

    What is referred to twice counts twice: 16 references to two references each are 65,536 looks at one value.
    """
    weights: dict[str, int] = {}
    open_references: set[str] = set()

    def weigh(value: Any, depth: int) -> int:
        if depth > DEEPEST:
            raise _Fault(f"is nested deeper than {DEEPEST} levels")
        if isinstance(value, list):
            return 1 + sum(weigh(each, depth + 1) for each in value)
        if not isinstance(value, dict):
            return 1
        if found := [each for each in _ELSEWHERE if isinstance(value.get(each), str)]:
            raise _Fault(f"uses {found[0]}")
        weight = 1 + sum(weigh(each, depth + 1) for each in value.values())
        reference = value.get("$ref")
        if isinstance(reference, str):
            weight += follow(reference, depth + 1)
        if weight > SCHEMA_PARTS:
            raise _Fault(f"unfolds to more than {SCHEMA_PARTS} parts")
        return weight

    def follow(reference: str, depth: int) -> int:
        if reference in open_references:
            raise _Fault("refers to itself")
        if reference not in weights:
            open_references.add(reference)
            weights[reference] = weigh(_target(schema, reference), depth)
            open_references.remove(reference)
        return weights[reference]

    try:
        weigh(schema, 0)
    except _Fault as fault:
        return str(fault)
    return None


class _Fault(Exception):
    """Why a schema is not used."""


def _target(schema: Mapping[str, Any], reference: str) -> Any:
    """Return what a JSON pointer in a fragment means (RFC 6901)."""
    if reference != "#" and not reference.startswith("#/"):
        raise _Fault(f"refers to {reference[:100]!r}, outside itself")
    found: Any = schema
    for part in reference.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or key not in found:
            raise _Fault(f"refers to {reference[:100]!r}, which is not there")
        found = found[key]
    return found
