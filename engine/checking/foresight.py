"""What would happen if it ran: asked of a definition that has no mistakes, since only such a one is ever run.

Every region is charted and walked once. What is found is a warning, unless it is certain to fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from engine.checking.chart import Chart, is_straight
from engine.checking.finding import Finding
from engine.checking.flow import Flow, Held, Readings
from engine.checking.foreign import misplaced
from engine.checking.names import Expression, Names, Where
from engine.checking.outline import Outline, Region
from engine.checking.presence import Fact, Presence
from engine.checking.types import Types
from engine.checking.uses import unused
from engine.expressions import Reference
from engine.expressions.references import written

_CLIMB = 8
"""So many nodes before a reader are looked at one by one, before the whole region is asked."""


def foresight(outline: Outline, names: Names) -> Iterator[Finding]:
    """Yield what is known of every run before the first one."""
    charts = {each: Chart(each, outline) for each in outline.regions if not is_straight(each, outline)}
    readings = Readings(charts.values())
    flows: dict[Region, Flow] = {}
    starts: dict[Region, Held] = {}
    for region in outline.regions:
        starts[region] = _at_start(region, flows, starts)
        if region in charts:
            flows[region] = Flow(charts[region], readings, starts[region])
            yield from flows[region].findings
    yield from _absences(names, flows)
    yield from Types(outline, charts).findings(names.read)
    yield from unused(outline, names.read)
    yield from misplaced(outline)


def _at_start(region: Region, flows: dict[Region, Flow], starts: dict[Region, Held]) -> Held:
    """Return what holds where a region starts: what does at the node that owns it, in other words where these differ."""
    if region.around is None or region.owner is None:
        return Held()
    flow = flows.get(region.around)
    held = starts[region.around] if flow is None else flow.held(region.owner.id)
    return held.without(region.names)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A node's part that is read unguarded. `here` is the place as the region of that node sees it."""

    expression: Expression
    reference: Reference
    here: Where
    fact: Fact


def _absences(names: Names, flows: dict[Region, Flow]) -> Iterator[Finding]:
    """Find what is read though it may be missing."""
    readings: dict[Region, list[_Reading]] = {}
    for expression in names.read:
        for reference in expression.references:
            found = _reading(expression, reference, flows)
            if found is not None:
                readings.setdefault(found.here.region, []).append(found)
    for region, several in readings.items():
        presence = Presence(flows[region], [each.fact for each in several]) if region in flows else None
        seen: set[tuple[object, ...]] = set()
        for each in several:
            key = (each.expression.path, each.fact)
            if key not in seen and (presence is None or _may_be_absent(each, presence, flows[region])):
                seen.add(key)
                yield _absence(each)


def _reading(expression: Expression, reference: Reference, flows: dict[Region, Flow]) -> _Reading | None:
    """Return a mention of a node's part, unless it is guarded or sure to be there at first sight."""
    path = reference.path
    if reference.guarded or path[0] != "nodes" or len(path) < 3 or path[2] not in ("output", "error"):
        return None
    name = str(path[1])
    here = expression.where.beside(name)
    if here is None or (name == here.reader and not here.done):
        return None
    members = [_member(path)]
    for each in reference.unless:
        if each[0] != "nodes" or len(each) < 3 or str(each[1]) not in here.region.ids:
            return None
        members.append(_member(each))
    flow = flows.get(here.region)
    if flow is None and not here.after_failure and any(member != "error" for _, member in members):
        return None
    if flow is not None and _is_near(flow.chart, here, *members[0]):
        return None
    return _Reading(expression, reference, here, frozenset(members))


def _member(path: tuple[str | int, ...]) -> tuple[str, str]:
    member = str(path[2])
    return str(path[1]), "value" if member == "output" and len(path) > 3 else member


def _is_near(chart: Chart, here: Where, name: str, member: str) -> bool:
    """Whether every way to the reader leads through a success of a node, at first sight: edges one by one."""
    if here.reader is None or member == "error":
        return False
    step = chart.step[here.reader]
    if here.done and here.way is not None and here.reader == name:
        return not here.way.fails and here.way.on != "any" and (member == "output" or not chart.softens(step))
    for _ in range(_CLIMB):
        if len(chart.entering[step]) != 1:
            return False
        line = chart.entering[step][0]
        step, way = chart.sources[line], chart.ways[line]
        vertex = chart.vertices[step]
        if way is None or vertex is None:
            return False
        if vertex.id == name:
            return not way.fails and way.on != "any" and (member == "output" or not chart.softens(step))
    return False


def _may_be_absent(reading: _Reading, presence: Presence, flow: Flow) -> bool:
    here, fact = reading.here, reading.fact
    if here.after_failure:
        return True
    if here.reader is None:
        return presence.at_the_end(fact)
    if here.reader in flow.chart.step and flow.held(here.reader).is_there(reading.reference.path[:3]):
        return False
    if not here.done:
        return presence.at(here.reader, fact)
    line = None if here.way is None else flow.chart.number.get(here.way.path)
    return presence.after(here.reader, fact, line)


def _absence(reading: _Reading) -> Finding:
    path, here = reading.reference.path, reading.here
    name, shown = str(path[1]), written(path)
    if path[2] == "error":
        reason = f"{name} has an error only when it has failed"
    elif here.after_failure:
        reason = f"how far {here.region} has come by then is open"
    elif here.reader is None:
        reason = f"{name} does not come to an output in every run"
    else:
        reason = f"not every way to {here.reader} waits for an output of {name}"
    message = f"`{shown}` may be missing: {reason}."
    hint = f"Write `{shown} | default(...)`, or ask `{shown} is defined` first."
    inside = reading.expression.inside(reading.reference)
    return Finding(
        reading.expression.path, "flow.maybe_absent", message, hint, inside=inside, severity="warning"
    )
