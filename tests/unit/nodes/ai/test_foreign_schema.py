from __future__ import annotations

from typing import Any

import pytest

from nodes.ai.models.foreign_schema import DEEPEST, SCHEMA_PARTS, fault_of


def nested(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        found = {"not": found}
    return found


def doubling(levels: int) -> dict[str, Any]:
    """As small as this is, a validator looks at one value 2 to the power of `levels` times."""
    parts: dict[str, Any] = {
        f"a{each}": {"allOf": [{"$ref": f"#/$defs/a{each + 1}"}] * 2} for each in range(levels)
    }
    return {"$defs": {**parts, f"a{levels}": {}}, "$ref": "#/$defs/a0"}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/a"}, "b": {"$ref": "#/$defs/a"}},
            "$defs": {"a": {}},
        },
        {"properties": {"$id": {"type": "string"}, "$ref": {"type": "string"}}},
        {"$defs": {"a/b~c": {"type": "string"}}, "$ref": "#/$defs/a~1b~0c"},
        nested(DEEPEST - 2),
        doubling(5),
    ],
)
def test_what_people_write_is_used(schema: dict[str, Any]) -> None:
    assert fault_of(schema) is None


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ({"$ref": "#"}, "refers to itself"),
        ({"properties": {"a": {"$ref": "#/properties/a"}}}, "refers to itself"),
        ({"properties": {"definitions": {"$ref": "#/properties/definitions"}}}, "refers to itself"),
        ({"$ref": "https://example.com/schema"}, "refers to 'https://example.com/schema', outside itself"),
        ({"$ref": "file:///etc/passwd"}, "refers to 'file:///etc/passwd', outside itself"),
        ({"$ref": "#/$defs/a"}, "refers to '#/$defs/a', which is not there"),
        ({"allOf": [], "$ref": "#/allOf/0"}, "refers to '#/allOf/0', which is not there"),
        ({"$dynamicRef": "#a"}, "uses $dynamicRef"),
        ({"items": {"$id": "x"}}, "uses $id"),
        (nested(DEEPEST + 1), f"is nested deeper than {DEEPEST} levels"),
        (doubling(DEEPEST), f"is nested deeper than {DEEPEST} levels"),
        (doubling(16), f"unfolds to more than {SCHEMA_PARTS} parts"),
        (
            {"properties": {"$defs": doubling(16)["$defs"]}, "$ref": "#/properties/$defs/a0"},
            "refers to '#/$defs/a1', which is not there",
        ),
    ],
)
def test_what_would_cost_too_much_or_leads_elsewhere_is_not(schema: dict[str, Any], fault: str) -> None:
    assert fault_of(schema) == fault
