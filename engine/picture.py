"""A plan as a picture: one box a segment, one arrow an exit. As Mermaid's text, and as an SVG that needs nothing else. Pure.

A box stands on the layer behind the last one that leads to it (longest path); on its layer it stands where the boxes that lead
to it stand on average. What is behind a container stands in boxes of its own, with a dashed line from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from engine.plan import Exit, Plan, Region, Segment

LARGEST: Final = 500
"""Segments that a drawn picture shows; a larger plan is told as Mermaid only."""

_LINE, _LETTER = 18, 7.3
_PADDING, _GAP, _RISE, _MARGIN = 12, 28, 56, 20
_LONGEST, _MOST_LINES = 34, 12


@dataclass(frozen=True, slots=True)
class _Box:
    """A segment on the picture."""

    segment: int
    lines: tuple[str, ...]
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class _Arrow:
    """A way from one segment to another. A dashed one leads into a container."""

    source: int
    target: int
    label: str
    dashed: bool


def mermaid(plan: Plan) -> str:
    """Return a plan as a Mermaid flow chart: one box a segment, one frame a region, one arrow an exit."""
    return "\n".join(_chart(plan)) + "\n"


def svg(plan: Plan) -> str | None:
    """Return a plan as an SVG without scripts and styles; None for one of more than `LARGEST` segments."""
    if len(plan.segments) > LARGEST:
        return None
    arrows = [*_arrows(plan)]
    boxes = _placed(plan, arrows)
    by_segment = {each.segment: each for each in boxes}
    width = max(each.x + each.width for each in boxes) + _MARGIN
    height = max(each.y + each.height for each in boxes) + _MARGIN
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
                f'height="{height:.0f}" font-family="monospace" font-size="12">'
            ),
            (
                '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
                '<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>'
            ),
            *(_drawn_arrow(each, by_segment) for each in arrows),
            *(_drawn_box(each) for each in boxes),
            "</svg>",
            "",
        ]
    )


def _chart(plan: Plan) -> Iterator[str]:
    yield "flowchart TD"
    yield from _frames(plan, plan.regions[0], "  ")
    for region in plan.regions[1:]:
        label = "" if region.kind == "body" else f"|{region.kind}|"
        yield f"  s{plan.owner_of(region)} -.->{label} s{region.first}"
    for segment in plan.segments:
        for exit_ in segment.exits:
            label = _label(exit_)
            yield f"  s{segment.id} -->{f'|{label}|' if label else ''} s{exit_.target}"


def _frames(plan: Plan, region: Region, indent: str) -> Iterator[str]:
    """Yield the segments of a region and, each in a frame of its own, the regions inside it."""
    for segment in plan.segments[region.first : region.beyond]:
        if segment.region == region.id:
            nodes = "<br/>".join(node.id for node in segment.nodes)
            yield f'{indent}s{segment.id}["{nodes}"]'
    for inner in plan.regions[1:]:
        if inner.parent == region.id:
            yield f'{indent}subgraph r{inner.id}["{inner.name}"]'
            yield from _frames(plan, inner, indent + "  ")
            yield f"{indent}end"


def _label(exit_: Exit) -> str:
    """Return what is written at an exit: its port, its kind, whether it has a condition."""
    port = (exit_.port or "").partition(":")[2].replace(">", " to ") or exit_.port  # out of a part
    label = port if port not in (None, "out") else exit_.on if exit_.on != "success" else ""
    if exit_.when is not None:
        label = f"{label} when".strip()
    if exit_.mark is not None:
        label = f"{label} to {exit_.mark.rpartition('>')[2]}".strip()
    return str(label)


def _arrows(plan: Plan) -> Iterator[_Arrow]:
    for region in plan.regions[1:]:
        kind = "" if region.kind == "body" else str(region.kind)
        yield _Arrow(plan.owner_of(region), region.first, kind, dashed=True)
    for segment in plan.segments:
        for exit_ in segment.exits:
            yield _Arrow(segment.id, exit_.target, _label(exit_), dashed=False)


def _placed(plan: Plan, arrows: list[_Arrow]) -> list[_Box]:
    """Return where each segment stands."""
    before: dict[int, list[int]] = {each.id: [] for each in plan.segments}
    for arrow in arrows:
        before[arrow.target].append(arrow.source)
    layer_of = _layers(before)
    layers: list[list[Segment]] = [[] for _ in range(max(layer_of.values()) + 1)]
    for segment in plan.segments:
        layers[layer_of[segment.id]].append(segment)
    boxes: list[_Box] = []
    middle: dict[int, float] = {}
    y = float(_MARGIN)
    for layer in layers:
        layer.sort(key=lambda each: (_average(before[each.id], middle), each.id))
        x, tallest = float(_MARGIN), 0.0
        for segment in layer:
            lines = _lines(segment)
            width = max(map(len, lines)) * _LETTER + 2 * _PADDING
            height = len(lines) * _LINE + 2 * _PADDING
            boxes.append(_Box(segment.id, lines, x, y, width, height))
            middle[segment.id] = x + width / 2
            x, tallest = x + width + _GAP, max(tallest, height)
        y += tallest + _RISE
    return boxes


def _layers(before: dict[int, list[int]]) -> dict[int, int]:
    """Return the layer of each segment: behind every one that leads to it. What leads back in a circle counts for nothing."""
    found: dict[int, int] = {}
    under_way: set[int] = set()
    for start in before:
        waiting = [start]
        while waiting:
            segment = waiting[-1]
            if segment in found:
                waiting.pop()
                continue
            under_way.add(segment)
            open_ = [each for each in before[segment] if each not in found and each not in under_way]
            if open_:
                waiting.extend(open_)
                continue
            known = [found[each] for each in before[segment] if each in found]
            found[segment] = max(known, default=-1) + 1
            under_way.discard(segment)
            waiting.pop()
    return found


def _average(sources: list[int], middle: dict[int, float]) -> float:
    known = [middle[each] for each in sources if each in middle]
    return sum(known) / len(known) if known else 0.0


def _lines(segment: Segment) -> tuple[str, ...]:
    kinds = [(node.id, node.type.partition("@")[0]) for node in segment.nodes]
    names = [_cut(f"{name}: {kind}" if kind else name) for name, kind in kinds]
    if len(names) > _MOST_LINES:
        names = [*names[: _MOST_LINES - 1], f"... and {len(names) - _MOST_LINES + 1} more"]
    return tuple(names)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _drawn_box(box: _Box) -> str:
    text = "".join(
        f'<text x="{box.x + _PADDING:.1f}" y="{box.y + _PADDING + 13 + number * _LINE:.1f}">{escape(line)}</text>'
        for number, line in enumerate(box.lines)
    )
    return (
        f'<g id={quoteattr(f"s{box.segment}")}><rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="6" fill="#f6f8fa" stroke="#555"/>{text}</g>'
    )


def _drawn_arrow(arrow: _Arrow, boxes: dict[int, _Box]) -> str:
    source, target = boxes[arrow.source], boxes[arrow.target]
    x1, y1 = source.x + source.width / 2, source.y + source.height
    x2, y2 = target.x + target.width / 2, target.y
    bend = max(abs(y2 - y1) / 2, _RISE / 2)
    dashes = ' stroke-dasharray="4 4"' if arrow.dashed else ""
    path = (
        f'<path d="M{x1:.1f} {y1:.1f}C{x1:.1f} {y1 + bend:.1f} {x2:.1f} {y2 - bend:.1f} {x2:.1f} {y2:.1f}" '
        f'fill="none" stroke="#555"{dashes} marker-end="url(#tip)"/>'
    )
    if not arrow.label:
        return path
    return (
        f'{path}<text x="{(x1 + x2) / 2 + 4:.1f}" y="{(y1 + y2) / 2:.1f}" fill="#555">'
        f"{escape(_cut(arrow.label))}</text>"
    )
