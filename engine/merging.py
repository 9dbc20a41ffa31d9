"""Changing a document by saying what is different (RFC 7396, JSON Merge Patch). Pure."""

from __future__ import annotations

from celeriac import Json


def merged(target: Json, patch: Json) -> Json:
    """Return what a patch makes of a value: members of objects are merged, null takes one away, and all else replaces."""
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for name, each in patch.items():
        if each is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), each)
    return found
