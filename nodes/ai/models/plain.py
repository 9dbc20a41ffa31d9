"""Schemas that every provider can hold a model to: closed objects, and no more than kinds, choices and nesting."""

from __future__ import annotations

from celeriac import Json

_WORDS = frozenset(
    {
        "$defs",
        "$ref",
        "additionalProperties",
        "anyOf",
        "const",
        "description",
        "enum",
        "items",
        "properties",
        "required",
        "title",
        "type",
    }
)


def is_plain(schema: Json) -> bool:
    """Whether a schema is one of these: every object names all its properties, and needs them all."""
    if not isinstance(schema, dict) or not schema.keys() <= _WORDS:
        return False
    properties = schema.get("properties")
    if "object" in _kinds(schema) or properties is not None:
        if not isinstance(properties, dict) or schema.get("additionalProperties") is not False:
            return False
        if set(map(str, _list(schema.get("required")))) != set(properties):
            return False
    if "array" in _kinds(schema) and "items" not in schema:
        return False
    inner = [*_values(properties), *_values(schema.get("$defs")), *_list(schema.get("anyOf"))]
    return all(map(is_plain, [*inner, *([schema["items"]] if "items" in schema else [])]))


def with_one_kind_each(schema: Json) -> Json:
    """Return a schema in which several kinds of value are a choice, for providers that know one `type` at a time."""
    if isinstance(schema, list):
        return [with_one_kind_each(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Json] = {
        name: each if name in ("enum", "const", "required") else with_one_kind_each(each)
        for name, each in schema.items()
    }
    kinds = found.get("type")
    if not isinstance(kinds, list):
        return found
    notes: dict[str, Json] = {
        name: found.pop(name) for name in ("title", "description", "$defs") if name in found
    }
    if "enum" in found or "const" in found:
        found.pop("type")
        return {**notes, **found}
    return {**notes, "anyOf": [_of_kind(found, kind) for kind in kinds]}


def _of_kind(schema: dict[str, Json], kind: Json) -> Json:
    words = {"object": ("properties", "required", "additionalProperties"), "array": ("items",)}
    kept = words.get(str(kind), ())
    return {"type": kind, **{name: each for name, each in schema.items() if name in kept}}


def _kinds(schema: dict[str, Json]) -> list[Json]:
    kinds = schema.get("type")
    return kinds if isinstance(kinds, list) else [kinds]


def _values(value: Json) -> list[Json]:
    return list(value.values()) if isinstance(value, dict) else []


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
