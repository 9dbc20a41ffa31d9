from __future__ import annotations

import pytest

from celeriac import Json
from nodes.ai.models.plain import is_plain, with_one_kind_each

CLOSED: dict[str, Json] = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "plain"),
    [
        (CLOSED, True),
        ({**CLOSED, "description": "x"}, True),
        ({**CLOSED, "required": []}, False),
        ({**CLOSED, "additionalProperties": True}, False),
        ({**CLOSED, "minProperties": 1}, False),
        ({"type": "object"}, False),
        ({"type": "array", "items": CLOSED}, True),
        ({"type": "array", "items": {"type": "object"}}, False),
        ({"type": "array"}, False),
        ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, False),
        ({"anyOf": [CLOSED, {"type": "null"}]}, True),
        ({"anyOf": [{"type": "object"}, {"type": "null"}]}, False),
        ({"oneOf": [CLOSED]}, False),
        ({"$ref": "#/$defs/a", "$defs": {"a": CLOSED}}, True),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}}, False),
        ({"type": ["object", "null"]}, False),
        ({"type": "string", "pattern": "x"}, False),
        ({"enum": ["a", 1]}, True),
        (True, False),
    ],
)
def test_a_schema_is_plain_when_every_provider_takes_it(schema: Json, plain: bool) -> None:
    assert is_plain(schema) == plain


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, {"type": "string"}),
        ({"type": ["number", "null"]}, {"anyOf": [{"type": "number"}, {"type": "null"}]}),
        (
            {"type": ["string", "null"], "description": "x"},
            {"description": "x", "anyOf": [{"type": "string"}, {"type": "null"}]},
        ),
        ({"type": ["string", "null"], "enum": ["a", None]}, {"enum": ["a", None]}),
        (
            {**CLOSED, "type": ["object", "null"]},
            {"anyOf": [CLOSED, {"type": "null"}]},
        ),
        (
            {"type": "array", "items": {"type": ["number", "null"]}},
            {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "null"}]}},
        ),
    ],
)
def test_several_kinds_become_a_choice(schema: Json, expected: Json) -> None:
    assert with_one_kind_each(schema) == expected
