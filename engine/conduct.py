"""Containers at work: asked what comes next, they open instances and rest, or go on with what these came to."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import NoReturn

from celeriac import Fail, Json, Route
from engine import operations as op
from engine import takeovers
from engine.containers import SLICE, Done, Open, Outcome, Overdue, Stay, decide
from engine.encoding import encode, place
from engine.expressions import ExpressionError
from engine.fans import Fan
from engine.performance import Ended, Lost, Run, Services, Spread, scope_of
from engine.plan import Container, Plan, Region, item_of
from engine.programs import Step
from engine.snapshots import (
    items_of,
    read_edges_out,
    read_outcomes,
    read_undone,
    still_running,
)
from engine.store.database import Connection

_MOMENT = 100
"""Milliseconds until it is looked again whether what was told to stop has stopped."""


class Conductor:
    """Carries out what containers decide."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def conduct(self, run: Run, step: Step, container: Container) -> Json | Route:
        """Ask a container what comes next: open instances and rest, or go on with what they came to."""
        at, work = self._services, run.work
        facts, plan, node = work.facts, work.facts.program.plan, step.node
        fan = work.fan if run.head == work.head else None
        outcomes: dict[int, list[Outcome]] = {}
        undone: list[int] = []
        led: set[str] = set()
        if fan is not None:
            await self._until_stopped(run, step)

            def look(connection: Connection) -> None:
                goes_round = container.part is not None and container.part.kind == "circle"
                latest = fan.opened - 1 if container.loop is not None or goes_round else None
                outcomes.update(
                    read_outcomes(connection, plan, facts.execution, work.item, container, latest)
                )
                if goes_round:
                    led.update(
                        read_edges_out(connection, plan, facts.execution, work.item, container, latest)
                    )
                undone.extend(read_undone(connection, plan, facts.execution, work.item, container.undo))

            await at.reader.read(look)
        scope = scope_of(self._services, run, node.id)

        def ask(name: str, **more: Json) -> Json:
            return step.parts[name].render(scope.with_names(more) if more else scope)

        try:
            action = decide(
                container,
                ask,
                fan,
                outcomes,
                now=at.clock.now(),
                chunked=plan.regions[container.body].chunked,
                most=at.settings.limits.map_items,
                undone=undone,
                led=led,
            )
        except (Fail, ExpressionError):
            await self._close(run, fan)
            raise
        if isinstance(action, Open):
            await self._open(run, plan, action)
        if isinstance(action, Overdue):
            await self._fail_body(run, plan.regions[container.body], action.error)
        if isinstance(action, Stay):
            await self._spread(run, ended=action.ended, due=fan.deadline if fan else None)
        if container.each is None or container.each.rest == "cancel":
            await self._close(run, fan)
        if isinstance(action, Done) and container.part is not None:
            edges = await at.reader.read(
                lambda connection: read_edges_out(connection, plan, facts.execution, work.item, container)
            )
            return Route(("out", *edges.intersection(container.part.ports)), action.value)
        if isinstance(action, Done):
            return action.value
        found = await at.reader.read(
            lambda connection: read_outcomes(connection, plan, facts.execution, work.item, container)
        )
        return [each.value for each in found.get(container.body, ())]

    async def _open(self, run: Run, plan: Plan, action: Open) -> NoReturn:
        """Journal the items, by slices as they will be read, and open the first instances."""
        fan, limits = action.fan, self._services.settings.limits
        region, values = plan.regions[fan.region], action.values or []
        now = self._services.clock.now()
        container = plan.nodes[region.owner].container
        if (
            run.work.facts.based
            and not run.work.item
            and container is not None
            and container.each is not None
        ):
            await self._take_over_instances(run, region, fan, values)
        slices = [(each, min(each + SLICE, len(values))) for each in range(0, len(values), SLICE)]
        if region.chunked:
            rows = [*fan.planned(), *fan.there] if values else []
            slices = [(first - fan.first, last + 1 - fan.first) for first, last in rows]
        for first, beyond in slices:
            text = encode(values[first:beyond], limits.output_bytes)
            payload, blob = place(text, limits.blob_from_bytes)
            run.blobs.extend([blob] if blob else [])
            name, item = items_of(region), item_of(run.work.item, fan.first + first)
            run.entries.append(op.Entry(name, "items", output=payload, started_at=now, item=item))
        if action.error is not None:
            error = json.dumps(action.error)
            run.entries.append(op.Entry(region.owner, "caught", error=error, started_at=now))
        run.events.append(
            ("node.opened", region.owner, now, {"region": region.name, "from": fan.first, "count": fan.count})
        )
        await self._spread(run, fan=fan.to_text(), due=fan.deadline)

    async def _take_over_instances(self, run: Run, region: Region, fan: Fan, values: Sequence[Json]) -> None:
        """Leave out the instances that succeeded in the execution this one is a fork of, for the same items."""
        at, name = self._services, run.work.facts.execution
        items, kept = await at.reader.read(lambda connection: takeovers.read(connection, name, region))
        found = takeovers.take_over(region, values, items, kept, at.clock.now(), at.settings.limits)
        fan.there = found.ranges
        run.entries.extend(found.entries)
        run.blobs.extend(found.blobs)

    async def _spread(
        self, run: Run, *, fan: str | None = None, ended: int = 0, due: int | None = None
    ) -> NoReturn:
        at = self._services
        horizon = at.leases.horizon()
        if run.hold is not None:
            run.hold.task = None
        spread = op.Spread(
            **run.held(self._services.clock.now()),
            owner=at.owner,
            lease=at.settings.timing.lease,
            inline=run.inline,
            head=run.head,
            fan=fan,
            ended=ended,
            due=due,
        )
        settled: op.Settled | None = await at.ledger.submit(spread)
        if settled is None:
            raise Lost
        raise Spread(settled, horizon)

    async def _close(self, run: Run, fan: Fan | None) -> None:
        """Stop the instances that a container goes on without."""
        if fan is not None and not fan.over:
            await self._hand_in(op.Close(**run.held(self._services.clock.now())))
            run.entries, run.events, run.blobs, run.pack = [], [], [], []

    async def _fail_body(self, run: Run, region: Region, error: dict[str, Json]) -> NoReturn:
        """End the body of a scope with a failure, and look again in a moment, when what ran in it has let go."""
        now = self._services.clock.now()
        end = op.Entry(region.end, "failed", error=json.dumps(error), started_at=now, ended_at=now)
        run.entries.append(dataclasses.replace(end, item=item_of(run.work.item, 0)))
        await self._close(run, run.work.fan)
        await self._hand_in(op.Suspend(**run.held(now), due=now + _MOMENT, head=run.head))
        raise Ended

    async def _until_stopped(self, run: Run, step: Step) -> None:
        """Rest a moment while something inside a container, told to stop, still runs: what it does may have to be undone."""
        at, work = self._services, run.work
        if work.fan is None or not work.fan.closed:
            return
        first, beyond = work.facts.program.plan.inside[step.node.id]
        name, item = work.facts.execution, work.item
        if await at.reader.read(lambda connection: still_running(connection, name, item, first, beyond)):
            due = at.clock.now() + _MOMENT
            await self._hand_in(op.Suspend(**run.held(self._services.clock.now()), due=due, head=run.head))
            raise Ended

    async def _hand_in(self, operation: op.Operation) -> None:
        if not await self._services.ledger.submit(operation):
            raise Lost
