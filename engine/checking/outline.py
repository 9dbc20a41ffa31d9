"""The parts of a definition that are well formed, whatever is wrong with the others.

A check that stops at the first wrong shape makes an author come back once for every mistake. Here a node
without an id, or an edge that is a number, is left out, and all that can be asked of the rest is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from celeriac import Json, NodeType
from engine.checking.source import Path
from engine.definition import TRIGGER
from engine.graph import Graph
from engine.registry import Registry, UnknownNodeType

BODY: Path = ("definition",)
TRIGGERS: Path = (*BODY, "triggers")


@dataclass(frozen=True, slots=True)
class Vertex:
    """A node that has an id. `type` is None when nothing of its name is installed; `config` is {} when it has
    none.
    """

    path: Path
    id: str
    type: NodeType | None
    config: dict[str, Any]
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Way:
    """An edge that has two ends. `port`, `on` and `when` are as written, None when they are not or say nothing."""

    path: Path
    source: str
    target: str
    port: str | None
    on: str | None
    when: str | None

    @property
    def fails(self) -> bool:
        """Whether it is taken after a failure only."""
        return self.port == "error" or self.on in ("error", "timeout")


class Outline:
    """What can be made out of a document."""

    def __init__(self, document: Json, registry: Registry) -> None:
        whole = document if isinstance(document, dict) else {}
        body = whole.get("definition")
        self.body: Mapping[str, Any] = body if isinstance(body, dict) else {}
        self._registry = registry
        self._types: dict[str, NodeType | None] = {}
        self.vertices = [
            Vertex((*BODY, "nodes", index), each["id"], self._type(each), _object(each.get("config")), each)
            for index, each in enumerate(_list(self.body.get("nodes")))
            if isinstance(each, dict) and isinstance(each.get("id"), str)
        ]
        self.ways = [
            Way(
                (*BODY, "edges", index),
                each["from"],
                each["to"],
                _text(each.get("port")),
                _text(each.get("on")),
                _text(each.get("when")) or None,
            )
            for index, each in enumerate(_list(self.body.get("edges")))
            if isinstance(each, dict)
            and isinstance(each.get("from"), str)
            and isinstance(each.get("to"), str)
        ]
        self.ids: dict[str, Vertex] = {}
        """The nodes by id; of two with the same id, the first. A node cannot be called trigger, so none is."""
        for each in self.vertices:
            if each.id != TRIGGER:
                self.ids.setdefault(each.id, each)

    @cached_property
    def graph(self) -> Graph:
        """The nodes and the edges between them, without loops of one node, which are no cycles between
        nodes.
        """
        return Graph(
            self.ids,
            ((each.source, each.target) for each in self.ways if each.source != each.target),
        )

    @cached_property
    def triggers(self) -> list[tuple[Path, Mapping[str, Any]]]:
        """The ways in that are objects."""
        several = _list(self.body.get("triggers"))
        found: list[tuple[Path, Any]] = [((*TRIGGERS, index), each) for index, each in enumerate(several)]
        if "trigger" in self.body:
            found.insert(0, ((*BODY, TRIGGER), self.body[TRIGGER]))
        return [(path, each) for path, each in found if isinstance(each, dict)]

    def _type(self, node: Mapping[str, Any]) -> NodeType | None:
        reference = node.get("type")
        if not isinstance(reference, str):
            return None
        if reference not in self._types:
            try:
                self._types[reference] = self._registry.resolve(reference)
            except UnknownNodeType:
                self._types[reference] = None
        return self._types[reference]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
