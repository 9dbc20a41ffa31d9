"""A chunk at work: the only segment of a region, performed for many items in one go. It has no effects, so it may run twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any

from celeriac import Fail, Json, NodeError, Route
from engine import operations as op
from engine.context import NodeContext
from engine.encoding import encode, place
from engine.expressions import ExpressionError, Scope
from engine.failure import error_of
from engine.performance import (
    Draws,
    Run,
    Services,
    in_time,
    keep_lines,
    links_of,
    name_items,
    result_of,
    seen_in_parts,
)
from engine.plan import BEGIN, item_of, split_item
from engine.programs import Step


class NodeFailed(Exception):
    """A node of a chunk failed for one item."""

    def __init__(self, node: str, error: NodeError) -> None:
        super().__init__(error.message)
        self.node = node
        self.error = error


async def run_chunk(services: Services, run: Run, hi: int) -> None:
    """Perform the only segment of a region for many items. What each came to is kept together."""
    work, at = run.work, services
    region = work.facts.program.plan.regions[work.segment.region]
    parent, first = split_item(work.item)
    items = work.items.get(region.id)
    values: list[Json] = []
    errors: dict[str, Json] = {}
    began = at.clock.now()
    for index in range(first, hi + 1):
        if index % 64 == 63:
            await asyncio.sleep(0)
        item = items[index - first] if isinstance(items, list) else None
        try:
            values.append(await _perform_item(services, run, item_of(parent, index), item))
        except NodeFailed as failed:
            values.append(None)
            errors[str(index)] = {"node": failed.node, **failed.error.to_json()}
    limits = at.settings.limits
    # Each fits by itself; whether all of them fit in one output is the map's question.
    payload, blob = place(encode(values, limits.output_bytes * len(values)), limits.blob_from_bytes)
    run.blobs.extend([blob] if blob else [])
    text = json.dumps(errors) if errors else None
    run.entries.append(
        op.Entry(
            region.end,
            "chunk",
            output=payload,
            error=text,
            started_at=began,
            ended_at=at.clock.now(),
        )
    )
    run.failures = len(errors)


async def _perform_item(services: Services, run: Run, item: str, value: Json) -> Json:
    """Perform the nodes of a chunk for one item. Raises what makes the item fail."""
    work, at = run.work, services
    run.nodes = seen_in_parts(work.outputs)
    run.values = {**run.values, "nodes": run.nodes}
    name_items(run.values, work, item, value)
    failed = False
    steps = work.facts.program.steps(work.segment.id)
    for step in steps:
        node = step.node
        if node.type == BEGIN or (failed and not node.ends):
            continue
        name = f"{work.facts.execution}\x1f{node.id}\x1f{item}"
        scope = Scope(run.values, Draws(at.secret, name, work.ready_at), links_of(services, run, item))
        if node.ends:
            return _came_to(services, run, step, scope)
        context = NodeContext(
            work.facts.execution,
            node.id,
            item,
            1,
            work.ready_at,
            work.facts.project,
            None,
            None,
            at.settings.limits.log_lines,
        )
        try:
            result = await _compute(services, run, step, context, scope)
            result, ports = (result.value, result.ports) if isinstance(result, Route) else (result, ("out",))
            encode(result, at.settings.limits.output_bytes)
        except Exception as error:
            if node.on_error.action != "continue":
                raise NodeFailed(node.id, error_of(error)) from error
            run.nodes[node.id] = {"output": node.on_error.default, "error": error_of(error).to_json()}
        else:
            run.nodes[node.id] = {"output": result}
            failed = "out" not in ports
        keep_lines(run, context, at.clock.now())
    message = f"The segment {work.segment.id} has no end."
    raise AssertionError(message)


def _came_to(services: Services, run: Run, step: Step, scope: Scope) -> Json:
    """Return what an item of a chunk comes to."""
    try:
        result = result_of(run, step, scope)
        encode(result, services.settings.limits.output_bytes)
    except (ExpressionError, Fail) as error:
        raise NodeFailed(step.node.id, error_of(error)) from error
    return result


async def _compute(services: Services, run: Run, step: Step, context: NodeContext, scope: Scope) -> Any:
    """Call a node without an effect for one item, in a child when it may be what kills processes."""
    if run.unready is not None:
        raise run.unready
    if step.type is None:
        message = f"The plan names {step.node.type}, which has no node type."
        raise Fail("node.unknown_type", message)
    model = step.bind(scope)
    if run.work.deliveries >= op.SUSPECTED:
        config = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
        seconds = step.node.attempt_timeout
        return await services.children.call(step, config, context, seconds, lambda: None)
    returned = step.type.run(model, context)
    return (
        await in_time(returned, step.node.attempt_timeout, context.pulse)
        if isinstance(returned, Awaitable)
        else returned
    )
