"""Containers at work: asked what comes next, they open instances and rest, or go on with what these came to."""

from __future__ import annotations

import json
from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

from celeriac import Fail, Json, Route
from engine import operations as op
from engine import takeovers
from engine.containers import SLICE, STOPPED, Done, Open, Outcome, Overdue, Stay, decide
from engine.encoding import encode, place
from engine.expressions import ExpressionError
from engine.fans import Fan
from engine.performance import Ended, Lost, Run, Services, Spread, WoundUp, scope_of
from engine.plan import LATE, Container, Plan, Region, item_of
from engine.programs import Step
from engine.snapshots import (
    Work,
    items_of,
    read_edges_out,
    read_ended,
    read_outcomes,
    read_undone,
    stopping_inside,
)
from engine.store.database import Connection

_MOMENT = 1_000
"""Milliseconds until it is looked again whether what was told to stop has ended, if its end does not say so before."""


_WATCHED = 16
"""Maps whose outcomes one process keeps at hand from one end to the next."""


class Watched:
    """What is known of the items of a map, in their order. It grows with them, so that no end costs a look at all of them."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes = list(outcomes)
        self._known = {each.index for each in outcomes}
        self.failed = sum(each.error is not None for each in outcomes)
        self._open: set[int] = set()
        self._opened = 0

    def under_way(self, fan: Fan) -> Iterable[int]:
        """Return the items that were under way at the last look, or have been opened since."""
        self._open.update(each for each in range(self._opened, fan.opened) if each not in self._known)
        self._opened = fan.opened
        return sorted(self._open)

    def learn(self, outcomes: Iterable[Outcome]) -> None:
        """Take in what has ended."""
        for each in outcomes:
            insort(self.outcomes, each, key=lambda one: one.index)
            self._known.add(each.index)
            self._open.discard(each.index)
            self.failed += each.error is not None


class Conductor:
    """Carries out what containers decide."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._watching: dict[tuple[str, int, str], Watched] = {}

    async def conduct(self, run: Run, step: Step, container: Container) -> Json | Route:
        """Ask a container what comes next: open instances and rest, or go on with what they came to."""
        at, work = self._services, run.work
        facts, plan, node = work.facts, work.facts.program.plan, step.node
        fan = work.fan if run.head == work.head else None
        outcomes: dict[int, list[Outcome]] = {}
        undone: list[int] = []
        led: set[str] = set()
        if fan is not None:
            if work.winding and plan.regions[fan.region].kind not in LATE:
                fan.closed = True
            await self._until_stopped(run, step)

            def look(connection: Connection) -> None:
                goes_round = container.part is not None and container.part.kind == "circle"
                latest = fan.opened - 1 if container.loop is not None or goes_round else None
                if fan.watch and fan.size == 1 and not fan.over:
                    outcomes[container.body] = self._watched(connection, work, container, fan)
                    return
                outcomes.update(
                    read_outcomes(connection, plan, facts.execution, work.item, container, latest)
                )
                self._watching.pop((facts.execution, work.segment.id, work.item), None)
                if container.each is not None:  # one may have failed since the fan was read
                    failed = sum(each.error is not None for each in outcomes.get(container.body, ()))
                    fan.failed = max(fan.failed, failed)
                if goes_round:
                    led.update(
                        read_edges_out(connection, plan, facts.execution, work.item, container, latest)
                    )
                undone.extend(read_undone(connection, plan, facts.execution, work.item, container.undo))

            await at.reader.read(look)
            if work.winding and container.body not in outcomes:
                outcomes[container.body] = [Outcome(0, None, STOPPED)]
                run.entries.append(self._failed_body(run, plan.regions[container.body], STOPPED))
            self._tell_of_compensation(run, plan, container, fan, outcomes)
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
                winding=work.winding,
            )
        except (Fail, ExpressionError):
            run.stops = fan is not None and not fan.over
            raise
        if isinstance(action, Open):
            await self._open(run, plan, action)
        if isinstance(action, Overdue):
            await self._fail_body(run, plan.regions[container.body], action.error)
        if isinstance(action, Stay):
            await self._spread(run, ended=action.ended, due=fan.deadline if fan else None)
        if container.each is None or container.each.rest == "cancel":
            run.stops = fan is not None and not fan.over
        if work.winding:
            run.ports = ()
            raise WoundUp
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

    def _watched(self, connection: Connection, work: Work, container: Container, fan: Fan) -> list[Outcome]:
        """Return what the items of a map have come to that is looked at after every end. Only what is new is read."""
        plan, place = work.facts.program.plan, (work.facts.execution, work.segment.id, work.item)
        known = self._watching.pop(place, None)  # whoever looks at the same time reads everything
        if known is None:
            found = read_outcomes(connection, plan, work.facts.execution, work.item, container)
            known = Watched(found.get(container.body, []))
        new = known.under_way(fan)
        known.learn(read_ended(connection, plan, work.facts.execution, work.item, container.body, new))
        self._watching[place] = known
        fan.failed = max(fan.failed, known.failed)
        if len(self._watching) > _WATCHED:
            self._watching.pop(next(iter(self._watching)), None)
        return list(known.outcomes)

    def _tell_of_compensation(
        self,
        run: Run,
        plan: Plan,
        container: Container,
        fan: Fan,
        outcomes: Mapping[int, Sequence[Outcome]],
    ) -> None:
        """Say in the history that what was to undo a node has failed; its scope goes on."""
        if not fan.over or plan.regions[fan.region].kind != "undo":
            return
        error = outcomes[fan.region][-1].error
        if error is not None:
            node = next(node for node, region in container.undo if region == fan.region)
            run.events.append(
                ("node.compensation_failed", node, self._services.clock.now(), {"error": error})
            )

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
        self,
        run: Run,
        *,
        fan: str | None = None,
        ended: int = 0,
        due: int | None = None,
        stops: bool = False,
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
            stops=stops,
        )
        settled: op.Settled | None = await at.ledger.submit(spread)
        if settled is None:
            raise Lost
        raise Spread(settled, horizon)

    async def _fail_body(self, run: Run, region: Region, error: dict[str, Json]) -> NoReturn:
        """End the body of a scope with a failure, stop what runs in it, and look again."""
        run.entries.append(self._failed_body(run, region, error))
        await self._spread(run, stops=True)

    def _failed_body(self, run: Run, region: Region, error: dict[str, Json]) -> op.Entry:
        now, item = self._services.clock.now(), item_of(run.work.item, 0)
        return op.Entry(
            region.end, "failed", error=json.dumps(error), started_at=now, ended_at=now, item=item
        )

    async def _until_stopped(self, run: Run, step: Step) -> None:
        """Rest while something inside a container, told to stop, has not ended: what it does may have to be undone."""
        at, work = self._services, run.work
        plan, fan = work.facts.program.plan, work.fan
        first, beyond = plan.inside[step.node.id]
        if fan is None or not fan.over or not (fan.closed or plan.owing.intersection(range(first, beyond))):
            return
        name, item = work.facts.execution, work.item
        if await at.reader.read(lambda connection: stopping_inside(connection, name, item, first, beyond)):
            now = at.clock.now()
            suspend = op.Suspend(**run.held(now), due=now + _MOMENT, head=run.head, reason=op.STOPPING)
            await self._hand_in(suspend)
            raise Ended

    async def _hand_in(self, operation: op.Operation) -> None:
        if not await self._services.ledger.submit(operation):
            raise Lost
