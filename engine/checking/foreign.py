"""Fields that something foreign would choose: where a node goes, in whose name, or what it runs."""

from __future__ import annotations

from collections.abc import Iterator

from engine import taint
from engine.checking.finding import Finding
from engine.checking.outline import Outline
from engine.definition import Workflow
from engine.expressions.references import written


def misplaced(outline: Outline) -> Iterator[Finding]:
    """Yield what nothing foreign may choose and it would. Asked of a definition without mistakes."""
    works = {}
    for vertex in outline.vertices:
        works[vertex.id] = vertex.work
        if vertex.undoing is not None:
            works[f"{vertex.id}@undo"] = vertex.undoing
    if not any(work.type is not None and work.type.foreign for work in works.values()):
        return
    workflow = Workflow.parse({"name": "", "definition": outline.body})
    for each in taint.of_workflow(workflow, outline.registry).misplaced(workflow, outline.registry):
        name = each.path[0]
        message = (
            f"`{written(each.reference.path)}` is what a model says, or made of it, and may not choose {name}: it decides where "
            f"{each.node} goes, in whose name, or what it runs."
        )
        hint = (
            "Begin the address with a host that is fixed, followed by /."
            if name == "url"
            else "Write it down, or let a switch choose between several that you have written down."
        )
        inside = (each.reference.line, each.reference.column)
        yield Finding(
            (*works[each.node].path, "config", *each.path), "taint.field", message, hint, inside=inside
        )
