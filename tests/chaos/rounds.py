"""Edges that lead back, and what comes after joins `each`, in definitions in the making: who then reads what."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from tests.chaos.drafts import Body, Draft
from tests.chaos.reference.parts import circles, folded, leads

Chains = dict[str, tuple[str, ...]]
"""The joins `each` after which a node comes, the outermost first."""


def chains(nodes: Sequence[Body], edges: Sequence[Body]) -> Chains:
    """Return for each node of a graph after which joins `each` it comes."""
    if not any(each.get("join") == "each" for each in nodes):
        return {}
    return dict(_chains(folded({"nodes": [_bare(each) for each in nodes], "edges": edges}), ()))


def _bare(node: Body) -> Body:
    return {name: each for name, each in node.items() if name in ("id", "type", "join")}


def _chains(graph: Mapping[str, Any], around: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for node in graph["nodes"]:
        if "part" not in node:
            yield node["id"], around
        else:
            more = (node["id"],) if node["part"]["kind"] == "each" else ()
            yield from _chains(node["body"], (*around, *more))


def readable(found: Chains, known: Collection[str], chain: tuple[str, ...]) -> set[str]:
    """Of some nodes those that are one value, and no list, for whoever comes after some joins `each`."""
    return {each for each in known if found.get(each, ()) == chain[: len(found.get(each, ()))]}


def in_parts(nodes: Sequence[Body], edges: Sequence[Body]) -> set[str]:
    """The nodes that are performed several times."""
    return set(_in_parts(folded({"nodes": [_bare(each) for each in nodes], "edges": edges})))


def _in_parts(graph: Mapping[str, Any]) -> Iterator[str]:
    for node in graph["nodes"]:
        yield from node.get("part", {}).get("nodes", ())


def written(graph: Mapping[str, Any], names: Collection[str]) -> set[str]:
    """The nodes that some nodes of a folded graph stand for."""
    parts = {each["id"]: each["part"]["nodes"] for each in graph["nodes"] if "part" in each}
    return {one for name in names for one in parts.get(name, [name])}


def lead_back(draft: Draft, name: str) -> None:
    """Let an edge lead back from the node that was drawn last, if that may be written: to one that counts its rounds."""
    rng = draft.rng
    candidates = [
        each
        for each in draft.nodes
        if each["type"] == "transform"
        and not {"for_each", "loop", "join", "compensate"} & each.keys()
        and (each["id"] == name or leads(each["id"], name, draft.edges))
    ]
    if not candidates or any("enabled_while" in each for each in draft.nodes):
        return
    entry = rng.choice(candidates)
    count = f"nodes.{entry['id']}.output"
    edge: Body = {"from": name, "to": entry["id"], "when": f"{count} < {rng.randint(1, 4)}"}
    if draft.fatal and rng.random() < 0.3:
        edge["max_iterations"] = rng.randint(1, 2)
    edges = [*draft.edges, edge]
    names = [each["id"] for each in draft.nodes]
    joined = {each["id"] for each in draft.nodes if "join" in each}
    if any(len(each.entries) > 1 or each.first in joined for each in circles(names, edges)):
        return
    if chains(draft.nodes, edges) == chains(draft.nodes, draft.edges):
        entry["config"] = {"expression": f"({count} | default(0)) + 1"}
        draft.edges.append(edge)
