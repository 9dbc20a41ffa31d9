"""Forms: which fields the schema of a payload has, and the payload that a filled-in form means. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from celeriac import Json
from engine.triggers.spec import Fault

Kind = Literal["line", "text", "number", "check", "choice", "choices", "json"]

MOST_FIELDS: Final = 100
_LONG: Final = 200
"""Characters from which a text gets several lines."""
_INPUT_TYPES: Final[Mapping[str, str]] = {
    "email": "email",
    "uri": "url",
    "date": "date",
    "time": "time",
    "date-time": "datetime-local",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `input_type` is what a browser calls it, `choices` the values that may be chosen."""

    name: str
    kind: Kind
    label: str
    hint: str
    required: bool
    input_type: str = "text"
    choices: tuple[Json, ...] = ()
    default: Json = None
    whole: bool = False
    longest: int | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """A form: what it is called, and its fields."""

    title: str
    description: str
    submit: str
    thanks: str
    fields: tuple[Field, ...]


def form(config: Mapping[str, Any], inputs: Mapping[str, Any], name: str) -> Form:
    """Return the form of a trigger, for the schema of the workflow's payload."""
    required = inputs.get("required", ())
    return Form(
        config.get("title", name),
        config.get("description", ""),
        config.get("submit", "Send"),
        config.get("thanks", "Thank you. It has arrived."),
        tuple(_field(key, each, key in required) for key, each in inputs["properties"].items()),
    )


def faults(inputs: Any) -> Iterator[Fault]:
    """Yield why a form cannot be made of the schema of a payload."""
    properties = inputs.get("properties") if isinstance(inputs, dict) else None
    hint = "Declare `inputs` as an object whose `properties` are the fields, each with its `type`."
    if (
        not isinstance(properties, dict)
        or not properties
        or not all(isinstance(each, dict) for each in properties.values())
    ):
        yield Fault((), "A form needs fields, and `inputs` names none.", hint)
    elif len(properties) > MOST_FIELDS:
        yield Fault(
            (), f"A form has at most {MOST_FIELDS} fields, and `inputs` names {len(properties)}.", hint
        )


def payload(asked: Form, given: Mapping[str, Json]) -> tuple[dict[str, Json], dict[str, str]]:
    """Return the payload that a filled-in form means, and what is wrong with fields that mean nothing.

    A field that was left empty is left out; what is not of its type is handed on as text, for the schema to refuse.
    """
    found: dict[str, Json] = {}
    wrong: dict[str, str] = {}
    for field in asked.fields:
        value = given.get(field.name)
        texts = [
            str(each) for each in (value if isinstance(value, list) else [value]) if each not in (None, "")
        ]
        if field.kind == "check":
            found[field.name] = bool(texts)
        elif field.kind == "choices":
            found[field.name] = [_chosen(field, each) for each in texts]
        elif texts:
            try:
                found[field.name] = _value(field, texts[-1])
            except ValueError:
                wrong[field.name] = "This is no JSON."
    return found, wrong


def shown(field: Field, value: Json) -> str:
    """Return a value as it stands in the form."""
    if value is None:
        return ""
    return value if isinstance(value, str) and field.kind != "json" else json.dumps(value, ensure_ascii=False)


def _field(name: str, schema: Mapping[str, Any], required: bool) -> Field:
    said = schema.get("type", "string" if "enum" not in schema else None)
    kinds = [each for each in (said if isinstance(said, list) else [said]) if each != "null"]
    type_ = kinds[0] if len(kinds) == 1 else None
    label = str(schema.get("title", name))
    hint, default = str(schema.get("description", "")), schema.get("default")
    items = schema.get("items")
    if isinstance(schema.get("enum"), list):
        return Field(name, "choice", label, hint, required, choices=tuple(schema["enum"]), default=default)
    if type_ == "array" and isinstance(items, dict) and isinstance(items.get("enum"), list):
        return Field(name, "choices", label, hint, required, choices=tuple(items["enum"]), default=default)
    if type_ == "boolean":
        return Field(name, "check", label, hint, required, default=default)
    if type_ in ("integer", "number"):
        return Field(
            name, "number", label, hint, required, "number", default=default, whole=type_ == "integer"
        )
    if type_ == "string":
        longest = schema.get("maxLength")
        longest = longest if isinstance(longest, int) else None
        input_type = _INPUT_TYPES.get(str(schema.get("format")), "text")
        kind: Kind = "text" if longest is not None and longest > _LONG and input_type == "text" else "line"
        return Field(name, kind, label, hint, required, input_type, default=default, longest=longest)
    return Field(name, "json", label, hint, required, default=default)


def _value(field: Field, text: str) -> Json:
    if field.kind == "number":
        try:
            return int(text) if field.whole or text.lstrip("+-").isdigit() else float(text)
        except ValueError:
            return text
    if field.kind == "choice":
        return _chosen(field, text)
    if field.kind == "json":
        found: Json = json.loads(text)
        return found
    return text.replace("\r\n", "\n")


def _chosen(field: Field, text: str) -> Json:
    """Return the choice that a text stands for; what stands for none is the text."""
    return next((each for each in field.choices if shown(field, each) == text), text)
