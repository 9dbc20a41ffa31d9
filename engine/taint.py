"""What models say is foreign: as if a stranger had written it. It may be worked with, and may not choose.

Which node types bring in something foreign is for them to say (`foreign`), and so is which fields of a config choose where
something goes, in whose name, or what is run (`TRUSTED`). What is computed of something foreign is foreign as well; what
people decide, what a server answers, and a choice among an author's own words are not. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from celeriac import Effect, Json, NodeType
from celeriac.contract import TRUSTED
from engine import nested
from engine.checking.mentions import mentions
from engine.config import braced, with_braces, with_previous
from engine.definition import SCOPE, TRIGGER, Body, Node, Workflow
from engine.expressions import Reference
from engine.registry import Registry

_ITEM = "@item"
_NAMED = "connection"
_PLACEHOLDER = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_HOST = re.compile(r"(?:https?://[^/?#\\@]+|(?!https?:)[^/?#\\@:]+)[/?#]")
"""The beginning of an address whose host is said: whatever follows belongs to its path, its query or its fragment."""


@cache
def trusted_fields(node_type: NodeType) -> dict[str, Json]:
    """Return the fields of a config that nothing foreign may choose: by name, with `True` or `"host"`.

    A field `connection` is one, whether it says so or not: it chooses in whose name something is done.
    """
    properties = node_type.config_schema().get("properties", {})
    chosen = {name: each[TRUSTED] for name, each in properties.items() if TRUSTED in each}
    return {**chosen, _NAMED: True} if _NAMED in properties else chosen


@dataclass(frozen=True, slots=True)
class Misplaced:
    """Something foreign in a field that chooses: of which node, where in its config, and what is read there."""

    node: str
    path: tuple[str | int, ...]
    reference: Reference


@dataclass(slots=True)
class Taint:
    """The nodes of a workflow whose output is foreign, and the names of foreign items around each node.

    `previous` is the expression for what comes before each node: a field of its config may be that.
    """

    ids: set[str] = field(default_factory=set)
    previous: dict[str, str | None] = field(default_factory=dict)
    names: dict[str, frozenset[str]] = field(default_factory=dict)

    def reads(self, node: str, value: Json) -> bool:
        """Whether a value in a node's config reads something foreign."""
        return bool(self.ids) and any(True for _ in self._read(node.removesuffix(_ITEM), value, ()))

    def _read(
        self, node: str, value: Json, path: tuple[str | int, ...]
    ) -> Iterator[tuple[tuple[str | int, ...], str, Reference]]:
        """Yield each mention of something foreign, with its place and the text it stands in."""
        if isinstance(value, str):
            if "{" in value:
                around = self.names.get(node, frozenset())
                yield from ((path, value, each) for each in mentions(value) if self._is_foreign(each, around))
        elif isinstance(value, Mapping):
            for key, each in value.items():
                yield from self._read(node, each, (*path, key))
        elif isinstance(value, list):
            for index, each in enumerate(value):
                yield from self._read(node, each, (*path, index))

    def _is_foreign(self, reference: Reference, around: frozenset[str]) -> bool:
        root, *keys = reference.path
        if root == "nodes":
            return not keys or str(keys[0]) in self.ids
        return root in around

    def written(self, node: Node, node_type: NodeType) -> dict[str, Json]:
        """Return a node's config as it is planned."""
        return with_braces(
            with_previous(nested.named(node), node_type, self.previous.get(node.id)), node_type
        )

    def misplaced(self, workflow: Workflow, registry: Registry) -> Iterator[Misplaced]:
        """Yield what is foreign and would choose."""
        for node in nested.all_nodes(workflow) if self.ids else ():
            if node.type == SCOPE:
                continue
            node_type = registry.resolve(node.type)
            config = self.written(node, node_type)
            for name, rule in trusted_fields(node_type).items():
                for path, text, reference in self._read(node.id, config.get(name), (name,)):
                    if rule != "host" or not _host_is_said(text, reference):
                        yield Misplaced(node.id, path, reference)


def of_workflow(workflow: Workflow, registry: Registry) -> Taint:
    """Find what is foreign in a workflow without problems."""
    places = list(_places(workflow.nodes, ()))
    found = Taint()
    if not any(node.type != SCOPE and registry.resolve(node.type).foreign for node, _ in places):
        return found
    found.previous = dict(_previous(Body(workflow.nodes, workflow.edges), "trigger.payload"))
    size = (-1, -1)
    while size != (len(found.ids), sum(map(len, found.names.values()))):
        size = len(found.ids), sum(map(len, found.names.values()))
        for node, around in places:
            found.names[node.id] = _foreign_items(found, (*around, node))
            if node.id not in found.ids and _is_foreign(found, node, registry):
                found.ids.add(node.id)
                # A container comes to what is inside it.
                found.ids.update(each.id for each in around)
    return found


def _is_foreign(found: Taint, node: Node, registry: Registry) -> bool:
    if node.type == SCOPE:
        return node.body is not None and found.reads(node.id, node.body.output)
    node_type = registry.resolve(node.type)
    if node_type.foreign:
        return True
    effect = node.effect or node_type.effect_of(node.config)
    hands_on = (effect is Effect.NONE and not node_type.waits) or nested.is_call(node.type)
    return hands_on and found.reads(node.id, found.written(node, node_type))


def _foreign_items(found: Taint, around: tuple[Node, ...]) -> frozenset[str]:
    """Return the names of items around a node, and of its own, that are foreign."""
    names: set[str] = set()
    for each in around:
        if each.each is not None and found.reads(each.id, braced(each.each.items)):
            names |= {"item", *([each.each.name] if each.each.name else [])}
        if each.loop is not None and (each.id in found.ids or found.reads(each.id, each.loop.initial)):
            names.add("item")
    return frozenset(names)


def _places(nodes: tuple[Node, ...], around: tuple[Node, ...]) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    """Yield every node with those around it, the outermost first."""
    for node in nodes:
        yield node, around
        if node.compensate is not None:
            yield node.compensate, around
        for body in _bodies(node):
            yield from _places(body.nodes, (*around, node))


def _bodies(node: Node) -> Iterator[Body]:
    yield from (each for each in (node.body, *(each.body for each in node.catch), node.last) if each)


def _previous(body: Body, first: str | None) -> Iterator[tuple[str, str | None]]:
    """Yield the expression for what comes before each node: the output of the one node there, else what its body begins with."""
    for node in body.nodes:
        sources = {each.source for each in body.edges if each.target == node.id}
        repeats = node.each is not None or node.loop is not None
        if repeats:
            yield node.id, "item"
        elif sources <= {TRIGGER}:
            yield node.id, first
        else:
            yield node.id, f"nodes.{next(iter(sources))}.output" if len(sources) == 1 else None
        for inner in _bodies(node):
            yield from _previous(inner, "item" if repeats and inner is node.body else None)


def _host_is_said(text: str, reference: Reference) -> bool:
    """Whether what stands before a mention in an address says its host already, whatever other expressions come to."""
    lines = text.split("\n")
    at = sum(len(each) + 1 for each in lines[: reference.line - 1]) + reference.column - 1
    before = text[: text.rfind("{{", 0, at + 1)] if "{%" not in text else ""
    return bool(_HOST.match(_PLACEHOLDER.sub("x", before)))
