"""Definitions that are written inside a call: where they are, and under which name they are kept.

Such a definition is a workflow of its own that nobody sees in a list. It is saved with the version it is written in, so
an execution that has begun goes on calling what was written there. Its expressions are its own: where the call's config
is read, there is only the name it is kept under.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from celeriac import Json
from engine.definition import Body, Node, Workflow

TYPE: Final = "workflow"
"""The node type of calls."""

MARK: Final = "@"
"""Begins the name of a definition that is written inside a call. Behind the version's id it is the name of its workflow."""

_KEY: Final = "definition"
_ITEM: Final = f"{MARK}item"


def is_call(reference: object) -> bool:
    """Whether a node's `type` is that of calls."""
    return isinstance(reference, str) and reference.partition("@")[0] == TYPE


def written_in(reference: object, config: Any) -> Mapping[str, Any] | None:
    """Return the definition in a config, as long as it is an object."""
    found = config.get(_KEY) if is_call(reference) and isinstance(config, Mapping) else None
    return found if isinstance(found, Mapping) else None


def without(reference: object, config: dict[str, Any]) -> dict[str, Any]:
    """Return a config with nothing in its definition, so that nobody takes the expressions there for its own."""
    return config if written_in(reference, config) is None else {**config, _KEY: {}}


def named(node: Node) -> Mapping[str, Json]:
    """Return a node's config with the name of the definition in it instead."""
    if written_in(node.type, node.config) is None:
        return node.config
    rest = {key: value for key, value in node.config.items() if key != _KEY}
    return {**rest, "workflow": MARK + node.id.removesuffix(_ITEM)}


def definitions(workflow: Workflow) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the definitions written in calls of a workflow, with their names."""
    for node in _nodes(workflow.nodes):
        found = written_in(node.type, node.config)
        if found is not None:
            yield MARK + node.id, found


def all_nodes(workflow: Workflow) -> Iterator[Node]:
    """Yield every node of a workflow, those in bodies and those that undo others included."""
    return _nodes(workflow.nodes)


def _nodes(nodes: tuple[Node, ...]) -> Iterator[Node]:
    for node in nodes:
        yield node
        if node.compensate is not None:
            yield node.compensate
        for body in _bodies(node):
            yield from _nodes(body.nodes)


def _bodies(node: Node) -> Iterator[Body]:
    if node.body is not None:
        yield node.body
    yield from (each.body for each in node.catch)
    if node.last is not None:
        yield node.last
