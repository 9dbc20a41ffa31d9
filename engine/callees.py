"""Which workflows a definition calls by name, and which of those are not there yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from celeriac import Json
from engine import nested
from engine.calls import SELF
from engine.checking.outline import Outline, Vertex
from engine.checking.problems import Problem
from engine.checking.source import Path, pointer
from engine.registry import Registry
from engine.settings import DEFAULT_PROJECT
from engine.store.database import Connection

_KNOWN = "SELECT 1 FROM workflow WHERE project_id = ? AND deleted_at IS NULL AND (id = ? OR name = ?)"


def missing(
    connection: Connection, document: Mapping[str, Any], registry: Registry, project: str = DEFAULT_PROJECT
) -> list[Problem]:
    """Return a warning for each call of a workflow that does not exist: it may still be pushed before it is called."""
    there: dict[str, bool] = {SELF: True, str(document.get("name")): True}
    found = []
    for path, name in called(dict(document), registry):
        if name not in there:
            there[name] = bool(connection.run(_KNOWN, (project, name, name)))
        if not there[name]:
            message = f"There is no workflow {name!r}."
            hint = "Push it before this one is started, or correct the name."
            found.append(Problem(pointer(path), "workflow.unknown", message, hint, None, None, "warning"))
    return found


def called(document: Json, registry: Registry) -> Iterator[tuple[Path, str]]:
    """Yield the names of workflows that calls have as plain text, each with its place."""
    for vertex in Outline(document, registry).vertices:
        for work in vertex.works:
            reference = _written(vertex, work.path).get("type")
            name = work.config.get("workflow")
            if nested.is_call(reference) and isinstance(name, str) and "{{" not in name and "{%" not in name:
                yield (*work.path, "config", "workflow"), name
            definition = nested.written_in(reference, _written(vertex, work.path).get("config"))
            if definition is not None:
                for path, inner in called({"definition": dict(definition)}, registry):
                    yield (*work.path, "config", *path), inner


def _written(vertex: Vertex, path: Path) -> Mapping[str, Any]:
    """Return a node, or what undoes it, as its author wrote it."""
    found: Mapping[str, Any] = vertex.written if path == vertex.path else vertex.written["compensate"]
    return found
