"""The published JSON Schema: a skeleton by hand, and the configs of the node types a registry knows.

An editor that is given the document completes and checks a whole definition, configs included. The engine
accepts by the same document, so what an editor calls good is never refused here for its shape.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import jsonschema_rs

from celeriac import NodeType
from celeriac.contract import EXPRESSION, LITERAL
from engine import nested
from engine.definition import SCOPE
from engine.registry import Registry

FOLDER: Final = Path(__file__).parent / "schemas"
PUBLISHED: Final = FOLDER / "workflow.v1.schema.json"
"""The committed copy, made from the node types of this installation: `python -m engine.schema` writes it."""

TEMPLATE: Final = {
    "description": "Text that holds an expression; what it comes to is checked when the node runs.",
    "type": "string",
    "pattern": r"\{[{%#]",
}
_TEMPLATE_REFERENCE: Final = {"$ref": "#/$defs/template"}
_ANNOTATIONS: Final = ("description", "default", "examples", "deprecated")
_SILENT: Final = frozenset({*_ANNOTATIONS, "title", "type", "$comment"})
"""Keywords that leave any text acceptable, when `type` admits text."""

Schema = dict[str, Any]
Part = Literal["document", "node", "edge", "step"]


@lru_cache(maxsize=8)
def document(registry: Registry) -> Schema:
    """Return the schema of whole definitions over the node types of `registry`. It is shared: read it
    only.
    """
    published: Schema = json.loads(_skeleton())
    definitions = published["$defs"]
    conditions = []
    types = sorted(registry.everything(), key=lambda each: (each.name, each.version))
    for each in types:
        newest = each is registry.get(each.name)
        definitions[_place(each)] = _config(each, definitions)
        conditions.append(_condition(each, [each.name, each.key] if newest else [each.key]))
        if nested.is_call(each.key):
            definitions[_place(each)] = _with_nested(
                definitions[_place(each)], {"$ref": "#/$defs/definition"}
            )
    names = [*registry.names(), *(each.key for each in types)]
    definitions["node_type"] = {
        "description": "A node type; name@version keeps to a version, name alone takes the newest.",
        "enum": [*names, SCOPE],
    }
    definitions["work_type"] = {
        "description": "A node type with a config: every one but scope.",
        "enum": names,
    }
    definitions["configured"] = {
        "description": "A config that fits the node type beside it.",
        "allOf": conditions,
    }
    definitions["template"] = dict(TEMPLATE)
    return published


def text(published: Mapping[str, Any]) -> str:
    """Return the document as it is committed."""
    return json.dumps(published, indent=2, ensure_ascii=False) + "\n"


@lru_cache(maxsize=8)
def validator(registry: Registry) -> jsonschema_rs.Draft202012Validator:
    """Return the compiled document of a registry. It accepts, and when it does not, it tells every reason."""
    return compiled(document(registry))


@lru_cache(maxsize=32)
def part(registry: Registry, name: Part) -> tuple[Schema, jsonschema_rs.Draft202012Validator]:
    """Return schema and validator of one part. The nodes and edges in it are parts themselves, and not looked at; nor are
    nested definitions.
    """
    whole = document(registry)
    definitions = {**whole["$defs"]}
    for graph in ("definition", "body"):
        properties = definitions[graph]["properties"]
        lists = {
            key: {**properties[key], "items": {}} for key in ("nodes", "edges", "steps") if key in properties
        }
        definitions[graph] = {**definitions[graph], "properties": {**properties, **lists}}
    for place, config in whole["$defs"].items():
        if nested.is_call(place.removeprefix("node.")):
            definitions[place] = _with_nested(config, {"type": "object"})
    entrance = whole if name == "document" else {"$ref": f"#/$defs/{name}"}
    found = {**entrance, "$defs": definitions}
    return found, compiled(found)


@cache
def of_trigger(kind: str) -> jsonschema_rs.Draft202012Validator:
    """Return the validator of the config of one kind of trigger."""
    return compiled({"$ref": f"#/$defs/trigger.{kind}", "$defs": json.loads(_skeleton())["$defs"]})


@cache
def of_schemas() -> jsonschema_rs.Draft202012Validator:
    """Return the validator of schemas themselves."""
    return compiled({"$ref": "https://json-schema.org/draft/2020-12/schema"})


def compiled(schema: Schema) -> jsonschema_rs.Draft202012Validator:
    """Compile a schema that refers to nothing outside itself.

    Raises `jsonschema_rs.ValidationError` when it is none. Patterns are matched in linear
    time, and no reference is ever fetched, from the network or from a file: schemas come from authors.
    """
    return jsonschema_rs.Draft202012Validator(
        schema, offline=True, pattern_options=jsonschema_rs.RegexOptions()
    )


def or_template(schema: Schema) -> Schema:
    """Return a config's schema in which every value below the config may also be text that holds an
    expression.

    A choice (`oneOf`) becomes an `anyOf`: an expression fits several alternatives at once, and which one is
    meant shows when it is evaluated.
    """
    opened: Schema = _inside(schema)
    return opened


@cache
def _skeleton() -> str:
    return (FOLDER / "workflow.skeleton.json").read_text(encoding="utf-8")


def _place(node_type: NodeType) -> str:
    return f"node.{node_type.key}"


def _with_nested(config: Schema, definition: Schema) -> Schema:
    """Return the config of a call with another schema for the definition in it."""
    properties = config["properties"]
    described = {"description": properties["definition"]["description"], **definition}
    return {**config, "properties": {**properties, "definition": described}}


def _condition(node_type: NodeType, names: list[str]) -> Schema:
    then: Schema = {"properties": {"config": {"$ref": f"#/$defs/{_place(node_type)}"}}}
    if node_type.config_schema().get("required"):
        then["required"] = ["config"]
    return {"if": {"properties": {"type": {"enum": names}}, "required": ["type"]}, "then": then}


def _config(node_type: NodeType, definitions: Schema) -> Schema:
    """Move a config's own `$defs` beside it under names of their own, and let templates in."""
    schema = node_type.config_schema()
    own = schema.pop("$defs", {})
    free = {name for name, each in own.items() if not each}
    place = _place(node_type)
    for name in sorted(own.keys() - free):
        definitions[f"{place}.{name}"] = _inside(_moved(own[name], place, free))
    return {**or_template(_moved(schema, place, free)), "description": " ".join(node_type.summary.split())}


def _moved(schema: Any, place: str, free: set[str]) -> Any:
    """Lead references to where the definitions go; drop those that allow everything, and titles made of field
    names.
    """
    if isinstance(schema, list):
        return [_moved(each, place, free) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found: Schema = {}
    for key, each in schema.items():
        if key == "$ref":
            name = each.removeprefix("#/$defs/")
            if name not in free:
                found[key] = f"#/$defs/{place}.{name}"
        elif key in ("properties", "patternProperties"):
            found[key] = {name: _moved(inner, place, free) for name, inner in each.items()}
        elif key in ("const", "enum", "default", "examples"):
            found[key] = each
        elif key != "title":
            found[key] = _moved(each, place, free)
    return found


def _inside(schema: Any) -> Any:
    """Let templates in below this schema, not instead of it."""
    if not isinstance(schema, dict):
        return schema
    found = dict(schema)
    for key in ("properties", "patternProperties"):
        if key in found:
            found[key] = {name: _itself_or_template(each) for name, each in found[key].items()}
    for key in ("items", "additionalProperties"):
        if key in found:
            found[key] = _itself_or_template(found[key])
    if "prefixItems" in found:
        found["prefixItems"] = [_itself_or_template(each) for each in found["prefixItems"]]
    for key in ("allOf", "anyOf", "oneOf"):
        if key in found:
            found[key] = [_inside(each) for each in found[key]]
    if any(set(each) - {"required"} for each in found.get("oneOf", ()) if isinstance(each, dict)):
        found["anyOf"] = found.pop("oneOf")
        found.pop("discriminator", None)
    return found


def _itself_or_template(schema: Any) -> Any:
    """Accept what the schema accepts, or a template. Descriptions stay outside, where an editor shows
    them.
    """
    if not isinstance(schema, dict) or schema.get(LITERAL) or _takes_any_text(schema):
        return _inside(schema)
    inner = _inside(schema)
    notes = {key: inner.pop(key) for key in _ANNOTATIONS if key in inner}
    choices = inner["anyOf"] if set(inner) == {"anyOf"} else [inner]
    return {**notes, "anyOf": [*choices, dict(_TEMPLATE_REFERENCE)]}


def _takes_any_text(schema: Mapping[str, Any]) -> bool:
    if schema.get(EXPRESSION):
        return True
    types = schema.get("type", "string")
    return "string" in (types if isinstance(types, list) else [types]) and not set(schema) - _SILENT


def main() -> None:
    """Write the committed copy from the built-in node types."""
    PUBLISHED.write_text(text(document(Registry.load(["nodes"]))), encoding="utf-8")


if __name__ == "__main__":
    main()
