"""What is wrong with the JSON Schemas that authors write: that of the payload, and those in configs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs

from celeriac.contract import SCHEMA
from engine import schema
from engine.checking.finding import Finding
from engine.checking.outline import Work
from engine.checking.source import Path
from engine.config import schema_of


def in_config(work: Work) -> Iterator[Finding]:
    """Yield what is wrong with the fields of a config that hold schemas, as far as these are known before it runs."""
    fields = {} if work.type is None else schema_of(work.type).get("properties", {})
    for name, field in fields.items():
        written = work.config.get(name)
        if field.get(SCHEMA) and isinstance(written, dict) and not _is_live(written):
            path = (*work.path, "config", name)
            hint = f"`{name}` is a JSON Schema (2020-12)."
            yield from flaws(path, written, name, "definition.bad_schema", hint)


def flaws(path: Path, written: dict[str, Any], name: str, code: str, hint: str) -> Iterator[Finding]:
    """Compare a schema with the schema of schemas; when it is one, see whether it can be used."""
    wrong = {tuple(each.instance_path): each for each in schema.of_schemas().iter_errors(written)}
    for inner, error in wrong.items():
        value = json.dumps(error.instance, ensure_ascii=False)
        place = ".".join(map(str, (name, *inner)))
        message = f"`{place}` cannot be {value if len(value) <= 40 else value[:40] + '...'}."
        yield Finding((*path, *inner), code, message, hint)
    if wrong:
        return
    try:
        schema.compiled(written)
    except jsonschema_rs.ValidationError as error:
        reason = error.message.rstrip(".")
        remedy = f"References stay inside `{name}`; patterns have neither look-around nor back-references."
        yield Finding((*path, *error.instance_path), code, f"`{name}` cannot be used: {reason}.", remedy)


def _is_live(value: Any) -> bool:
    """Whether some text in it holds an expression."""
    if isinstance(value, dict):
        return any(map(_is_live, value.values()))
    if isinstance(value, list):
        return any(map(_is_live, value))
    return isinstance(value, str) and re.search(schema.TEMPLATE["pattern"], value) is not None
