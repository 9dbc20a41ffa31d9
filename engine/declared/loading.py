"""Declarations in a folder: read, checked, made into types. A mistake names its file and its place."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

from celeriac import ConnectionType, NodeType
from engine.errors import Misconfigured
from engine.expressions import ExpressionError
from engine.schema import FOLDER, compiled

SCHEMA_FILE = FOLDER / "declaration.v1.schema.json"


class DeclarationInvalid(Misconfigured):
    """A declaration of a node type or connection kind has a mistake."""

    code = "declaration.invalid"


def load(folder: Path) -> tuple[list[NodeType], list[ConnectionType]]:
    """Return what the files of a folder, and of those in it, declare. Raises `DeclarationInvalid`."""
    node_types: list[NodeType] = []
    kinds: list[ConnectionType] = []
    for path in sorted(folder.rglob("*.json")):
        for declared in declarations_in(path):
            made = type_of(declared, str(path))
            if isinstance(made, NodeType):
                node_types.append(made)
            else:
                kinds.append(made)
    return node_types, kinds


def declarations_in(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the declarations in a file: one, or a list of them. Raises `DeclarationInvalid`."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _invalid(str(path), "", str(error)) from error
    yield from found if isinstance(found, list) else [found]


def type_of(declared: Mapping[str, Any], place: str) -> NodeType | ConnectionType:
    """Return the type that is declared. `place` is where that stands, for errors. Raises `DeclarationInvalid`."""
    from engine.declared.connections import connection_type_of
    from engine.declared.nodes import node_type_of

    try:
        _validator().validate(declared)
        return node_type_of(declared) if "node" in declared else connection_type_of(declared)
    except jsonschema_rs.ValidationError as error:
        where = "/".join(map(str, error.instance_path))
        raise _invalid(place, where, error.message) from error
    except ExpressionError as error:
        raise _invalid(place, "", str(error)) from error


@cache
def _validator() -> jsonschema_rs.Draft202012Validator:
    return compiled(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))


def _invalid(place: str, where: str, reason: str) -> DeclarationInvalid:
    at = f", at {where}" if where else ""
    return DeclarationInvalid(f"{place}{at}: {reason}", hint="docs/declarations.md is the format.")
