"""A node's config between the author's file and the call: which strings are expressions without their braces.

A field that a node type marks as an expression may be written `amount > 3`; everywhere else a string is text until it
holds braces. Both become one form here, once, so that nothing further on has to know the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from celeriac import Json, NodeType
from celeriac.contract import EXPRESSION, PREVIOUS


@lru_cache(maxsize=1024)
def schema_of(node_type: NodeType) -> dict[str, Any]:
    """Return a node type's config schema, computed once."""
    return node_type.config_schema()


def braced(text: str) -> str:
    """Return an expression with braces around it, whether it was written with or without."""
    return text if "{{" in text or "{%" in text else f"{{{{ {text} }}}}"


def with_previous(
    config: Mapping[str, Json], node_type: NodeType, previous: str | None
) -> Mapping[str, Json]:
    """Return the config with what the node before came to in the field that takes it, unless the author filled that."""
    properties = schema_of(node_type).get("properties", {})
    name = next((name for name, each in properties.items() if each.get(PREVIOUS)), None)
    return (
        config if name is None or previous is None or name in config else {**config, name: braced(previous)}
    )


def with_braces(config: Mapping[str, Json], node_type: NodeType) -> dict[str, Json]:
    """Return the config with braces around every bare expression."""
    schema = schema_of(node_type)
    return _braced(dict(config), schema, schema.get("$defs", {}))  # type: ignore[return-value]  # a dict stays a dict


def _braced(value: Json, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Json:
    reference = schema.get("$ref", "")
    if reference:
        schema = definitions.get(reference.removeprefix("#/$defs/"), {})
    if schema.get(EXPRESSION) and isinstance(value, str):
        return braced(value)
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        value = _braced(value, choice, definitions)
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        return {key: _braced(each, properties.get(key, {}), definitions) for key, each in value.items()}
    items = schema.get("items")
    if isinstance(value, list) and isinstance(items, dict):
        return [_braced(each, items, definitions) for each in value]
    return value
