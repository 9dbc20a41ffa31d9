"""What nobody uses: variables that are never read, and values that are computed and go nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from celeriac import Effect
from engine.checking.chart import NEVER
from engine.checking.finding import Finding
from engine.checking.names import Expression
from engine.checking.outline import BODY, Outline, Region, Vertex


def unused(outline: Outline, expressions: Iterable[Expression]) -> Iterator[Finding]:
    """Yield the variables and outputs that could be left out."""
    read: set[tuple[str, str | int | None]] = set()
    items = False
    for expression in expressions:
        for reference in expression.references:
            if reference.path[0] in ("nodes", "vars"):
                read.add((str(reference.path[0]), reference.path[1] if len(reference.path) > 1 else None))
            items = items or reference.path[0] == "item"
    for key in ("variables", "project_variables"):
        variables = outline.body.get(key)
        if isinstance(variables, dict) and ("vars", None) not in read:
            for name in variables:
                if ("vars", name) not in read:
                    message = f"The variable {name} is never read."
                    path = (*BODY, key, name)
                    yield Finding(
                        path, "flow.unused_variable", message, "Remove it.", key=True, severity="warning"
                    )
    if ("nodes", None) in read:
        return
    for region in outline.regions:
        back, joins = region.back, set(region.arriving.values()) if items else set[str]()
        collecting = {vertex.id for vertex in region.vertices if vertex.collects}
        read.update(("nodes", way.source) for way in region.ways if way.target in joins | collecting)
    for region in outline.regions:
        back = region.back
        followed = {
            way.source for way in region.ways if not way.fails and (way.source, way.target) not in back
        }
        for vertex in region.vertices:
            if (
                ("nodes", vertex.id) not in read
                and _only_computes(vertex)
                and _is_lost(vertex, region, followed)
            ):
                message = f"{vertex.id} does nothing but compute a value, and nobody reads it."
                hint = f"Read nodes.{vertex.id}.output, or remove the node."
                yield Finding(vertex.path, "flow.unused_output", message, hint, severity="warning")


def _only_computes(vertex: Vertex) -> bool:
    """Whether all that comes of a node is its output: it has no effect, chooses no way, and does not wait."""
    work = vertex.work
    if vertex.is_container or work.type is None or work.type.waits:
        return False
    if work.type.effect_of(work.config) is not Effect.NONE or "effect" in vertex.written:
        return False
    return work.type.output not in (NEVER, {"type": "null"}) and work.type.ports_of(work.config) == ("out",)


def _is_lost(vertex: Vertex, region: Region, followed: set[str]) -> bool:
    """Whether a node's output is no part of what its region comes to by default."""
    return vertex.id in followed or ("outputs" if region.around is None else "output") in region.body
