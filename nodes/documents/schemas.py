"""Schemas of OpenAPI documents as JSON Schema 2020-12 that stand alone: references written out, old words exchanged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

Direction = Literal["in", "out"]
"""Whether a schema is of what is sent or of what is answered: `readOnly` is not sent, `writeOnly` is not answered."""

_DEPTH: Final = 12
_SIZE: Final = 2_000
_KEPT: Final = frozenset(
    {
        "type", "enum", "const", "format", "description", "default", "items", "prefixItems", "properties", "required",
        "additionalProperties", "patternProperties", "propertyNames", "minProperties", "maxProperties", "minItems",
        "maxItems", "uniqueItems", "minLength", "maxLength", "pattern", "minimum", "maximum", "exclusiveMinimum",
        "exclusiveMaximum", "multipleOf", "allOf", "anyOf", "oneOf", "not", "title",
    }
)  # fmt: skip


def resolve(document: Mapping[str, Any], reference: str) -> Any:
    """Return what a local reference leads to, or None. Others are not followed: they would be fetched from somewhere."""
    if not reference.startswith("#/"):
        return None
    found: Any = document
    for part in reference[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found


def followed(document: Mapping[str, Any], value: Any) -> Any:
    """Return a value, or what it refers to; {} when that is not here."""
    for _ in range(_DEPTH):
        if not isinstance(value, Mapping) or not isinstance(value.get("$ref"), str):
            return value
        value = resolve(document, value["$ref"]) or {}
    return {}


def alone(document: Mapping[str, Any], schema: Any, direction: Direction) -> dict[str, Any]:
    """Return a schema without references. What is recursive, very deep or very large ends in a schema that lets all through."""
    return _Writer(document, direction).written(schema, (), 0)


class _Writer:
    """Writes one schema out."""

    def __init__(self, document: Mapping[str, Any], direction: Direction) -> None:
        self._document = document
        self._direction = direction
        self._left = _SIZE

    def written(self, schema: Any, inside: tuple[str, ...], depth: int) -> dict[str, Any]:
        self._left -= 1
        if not isinstance(schema, Mapping) or depth > _DEPTH or self._left < 0:
            return {}
        reference = schema.get("$ref")
        if isinstance(reference, str):
            if reference in inside:
                return {}
            target = resolve(self._document, reference)
            return self.written(target, (*inside, reference), depth + 1)
        found: dict[str, Any] = {}
        for key, each in schema.items():
            if key not in _KEPT:
                continue
            if key in ("properties", "patternProperties") and isinstance(each, Mapping):
                found[key] = {
                    name: self.written(inner, inside, depth + 1)
                    for name, inner in each.items()
                    if not self._is_hidden(inner)
                }
            elif key in ("allOf", "anyOf", "oneOf", "prefixItems") and isinstance(each, list):
                found[key] = [self.written(inner, inside, depth + 1) for inner in each]
            elif key in ("items", "additionalProperties", "not", "propertyNames") and isinstance(
                each, Mapping
            ):
                found[key] = self.written(each, inside, depth + 1)
            elif key not in ("properties", "patternProperties", "items"):
                found[key] = each
        return _modern(schema, found)

    def _is_hidden(self, schema: Any) -> bool:
        schema = followed(self._document, schema)
        word = "readOnly" if self._direction == "in" else "writeOnly"
        return isinstance(schema, Mapping) and schema.get(word) is True


def _modern(old: Mapping[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Exchange what OpenAPI 2 and 3.0 say in words of their own."""
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(found.get(exclusive), bool) and found.pop(exclusive) and limit in found:
            found[exclusive] = found.pop(limit)
    if found.get("type") == "file" or found.get("format") == "binary":
        found = {
            key: each for key, each in found.items() if key not in ("type", "format")
        }  # files come as objects
    required = found.get("required")
    if isinstance(required, list):
        hidden = set(old.get("properties", {})) - set(found.get("properties", {}))
        kept = [each for each in required if each not in hidden]
        found["required"] = kept
        if not kept:
            found.pop("required")
    elif required is not None:  # in OpenAPI 2 a parameter is required, not a schema
        found.pop("required")
    if old.get("nullable") is True or old.get("x-nullable") is True:
        if isinstance(found.get("type"), str):
            found["type"] = [found["type"], "null"]
            if isinstance(found.get("enum"), list) and None not in found["enum"]:
                found["enum"] = [*found["enum"], None]
        elif "type" not in found and set(found) - {"description"}:
            found = {"anyOf": [found, {"type": "null"}]}
    # A format that is only told, or a pattern of another dialect, refuses nothing.
    if "pattern" in found and not _is_pattern(found["pattern"]):
        found.pop("pattern")
    return found


def _is_pattern(pattern: object) -> bool:
    import jsonschema_rs

    try:
        jsonschema_rs.Draft202012Validator(
            {"pattern": pattern}, offline=True, pattern_options=jsonschema_rs.RegexOptions()
        )
    except (jsonschema_rs.ValidationError, ValueError):
        return False
    return isinstance(pattern, str)
