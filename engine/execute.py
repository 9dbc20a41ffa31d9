"""THE HEART: claim, render, call, classify, record, advance, dispatch.

One segment is carried from its message to its commit, and on through successors that the commit handed over. A pure
segment is not claimed: it may run twice, and one of the two commits wins. Around an effect the journal is written as its
class demands, so that after a crash at any point the next holder knows what has happened, or knows that nobody knows.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

from celeriac import Effect, Exit, Fail, Json, NodeError, Route, TryAgain, Uncertain, Wait
from engine import operations as op
from engine import retry, takeovers
from engine.clock import Clock
from engine.containers import SLICE, Done, Leaving, Open, Outcome, Stay, decide, leaving
from engine.context import NodeContext, Surroundings
from engine.encoding import encode, place
from engine.errors import CeleriacError, Unavailable
from engine.expressions import ExpressionError, Scope
from engine.failpoints import failpoint
from engine.failure import TIMED_OUT, error_of, knows_outcome
from engine.fans import Fan
from engine.leases import Hold, Leases, Stop
from engine.ledger import LedgerThread
from engine.outside.scrub import scrub
from engine.plan import BEGIN, OUTPUT, Container, Plan, Region, item_in, item_of, split_item
from engine.plan import Exit as Way
from engine.programs import Programs, Step
from engine.reader import Reader
from engine.registry import UnknownNodeType
from engine.settings import Settings
from engine.snapshots import (
    Past,
    Reference,
    Work,
    context_of,
    items_of,
    load,
    read_outcomes,
    read_outputs,
    read_undone,
    still_running,
)
from engine.store.database import Connection

log = logging.getLogger(__name__)

UNCERTAIN = "effect.uncertain"
TRIGGER = "trigger"
_PUT_OFF = 10_000
_MOMENT = 100
"""Milliseconds until it is looked again whether what was told to stop has stopped."""


class Children(Protocol):
    """Processes that can be killed, for nodes that compute."""

    async def call(
        self, step: Step, config: Json, context: NodeContext, timeout: float, began: Callable[[], None]
    ) -> Any:
        """Return what the node returns; raise what it raises. The child is killed `timeout` seconds after `began()`."""


class Outlet(Protocol):
    """Where what follows a commit goes."""

    def send(self, execution: str, ready: Sequence[op.Sendable]) -> None:
        """Send segments that became ready."""

    def finished(self, execution: str, reply_to: str | None) -> None:
        """Tell whoever waits for the end of an execution."""


class _Lost(BaseException):
    """The fence did not hold: someone else has the segment."""


class _Ended(BaseException):
    """The segment rests or is in doubt; nothing more is to be done now."""


class _Spread(BaseException):
    """A container rests while what it has opened runs."""

    def __init__(self, settled: op.Settled, horizon: float) -> None:
        self.settled = settled
        self.horizon = horizon


class _Stopped(asyncio.CancelledError):
    """The execution is to stop, which the ledger said before the heartbeat did."""


@dataclass(slots=True)
class Run:
    """One performance of a segment, with what is not written yet."""

    work: Work
    pure: bool
    epoch: int
    hold: Hold | None
    values: dict[str, Json]
    nodes: dict[str, Json]
    entries: list[op.Entry] = field(default_factory=list)
    pack: list[str] = field(default_factory=list)
    pack_node: str = ""
    pack_from: int = 0
    events: list[op.EventBody] = field(default_factory=list)
    blobs: list[op.Blob] = field(default_factory=list)
    output: op.Payload = op.Payload()
    head: int = 0
    ports: tuple[str, ...] = ("out",)
    failed: NodeError | None = None
    unready: ExpressionError | None = None
    failures: int = 0
    leaving: Leaving | None = None
    inline: int = 0


@dataclass(slots=True, eq=False)
class Family:
    """The carriers of one message: when they began (monotonic seconds), how many segments were handed to them, who runs."""

    begun: float
    count: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Services:
    """What a performance needs from its process."""

    ledger: LedgerThread
    reader: Reader
    programs: Programs
    leases: Leases
    clock: Clock
    settings: Settings
    outlet: Outlet
    children: Children
    around: Surroundings
    owner: str
    secret: bytes


class Executor:
    """Carries segments."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._stopping = False

    async def perform(self, references: Sequence[Reference]) -> None:
        """Carry the segments a message refers to, as far as they are still to be carried. Never raises for a node."""
        failpoint("claim.before")
        at = self._services
        try:
            works = await at.reader.read(lambda connection: load(connection, at.programs, references))
        except Unavailable as error:
            log.warning("A message could not be worked on and will come again: %s", str(error))
            return
        except Exception as error:  # noqa: BLE001  whatever a row holds: it is put before a person
            if len(references) == 1:
                await self._set_aside(references[0], error)
            for each in references if len(references) > 1 else ():
                await self.perform([each])
            return
        family = Family(at.clock.monotonic())
        for work in works[1:]:
            self._branch(family, work, None)
        if works:
            await self._carry(family, works[0], None)
        while family.tasks:
            await asyncio.wait(family.tasks)

    async def _set_aside(self, reference: Reference, error: Exception) -> None:
        """A segment whose rows cannot be read would come again for ever: put it before a person instead."""
        log.error("A segment of %s cannot be read", reference[0], exc_info=error)
        at, now = self._services, self._services.clock.now()
        execution, segment, item = reference
        claim = op.Claim(execution, segment, item, at.owner, now, now + at.settings.timing.lease)
        claimed: op.Claimed | None = await at.ledger.submit(claim)
        if claimed is not None:
            known = error_of(error)
            reason = json.dumps({"code": "segment.unreadable", "message": known.message})
            doubt = op.Doubt(execution, segment, item, claimed.epoch, pure=False, now=now, reason=reason)
            await at.ledger.submit(doubt)

    async def drain(self, patience: float) -> None:
        """Take nothing new, wait for what runs, then hand the rest back."""
        self._stopping = True
        deadline = self._services.clock.monotonic() + patience
        while self._services.leases.held() and self._services.clock.monotonic() < deadline:
            await asyncio.sleep(0.05)
        tasks = [hold.task for hold in self._services.leases.held() if hold.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _branch(self, family: Family, work: Work, hold: Hold | None) -> None:
        """Carry a segment beside the others of its message."""
        task = asyncio.create_task(self._carry(family, work, hold))
        family.tasks.add(task)
        task.add_done_callback(family.tasks.discard)

    async def _carry(self, family: Family, work: Work, hold: Hold | None) -> None:
        """Perform a segment, and then what its commit hands over: the first here, the others beside it."""
        following: list[tuple[Work, Hold | None]] = [(work, hold)]
        while following:
            (work, hold), *others = following
            for other in others:
                self._branch(family, *other)
            try:
                following = await self._perform(family, work, hold)
            except (_Lost, _Ended):
                return
            except Unavailable as error:
                log.warning("A segment was left, to be taken up again: %s", str(error))
                return
            except Exception:
                log.exception(
                    "A segment of %s failed inside the engine; its lease will lapse.", work.facts.execution
                )
                return

    async def _perform(self, family: Family, work: Work, hold: Hold | None) -> list[tuple[Work, Hold | None]]:
        pure = work.segment.pure and work.deliveries < 2
        if hold is None and not pure:
            if self._stopping:
                return []
            hold = await self._claim(work)
        run: Run | None = None
        try:
            if hold is not None:
                hold.task = asyncio.current_task()
                failpoint("claim.after")
            run = self._begin(work, hold, pure=pure)
            run.inline = self._budget(family)
            try:
                if work.hi is None:
                    await self._run_nodes(run)
                else:
                    await self._run_chunk(run, work.hi)
            except (UnknownNodeType, NoChild) as error:
                await self._put_off(run, error)
            except _Spread as opened:
                return await self._follow(run, opened.settled, family, opened.horizon)
            return await self._settle(run, family)
        except asyncio.CancelledError:
            if run is not None:
                await self._withdraw(run)
            raise _Ended from None
        finally:
            if hold is not None:
                self._services.leases.drop(hold)

    async def _claim(self, work: Work) -> Hold:
        at = self._services
        now = at.clock.now()
        horizon = at.leases.horizon()
        claim = op.Claim(
            work.facts.execution, work.segment.id, work.item, at.owner, now, now + at.settings.timing.lease
        )
        claimed: op.Claimed | None = await at.ledger.submit(claim)
        if claimed is None:
            raise _Lost
        return await self._take(work, claimed, horizon)

    async def _take(self, work: Work, claimed: op.Claimed, horizon: float) -> Hold:
        """Register a claim, and read again what an earlier holder may have journaled since the first look."""
        at = self._services
        hold = at.leases.hold(
            Hold(
                work.facts.execution,
                work.segment.id,
                work.item,
                claimed.epoch,
                horizon,
                asyncio.current_task(),
            )
        )
        work.epoch, work.deliveries = claimed.epoch, claimed.deliveries
        work.head, work.tries = claimed.head, claimed.tries
        work.ready_at, work.first_try_at = claimed.ready_at, claimed.first_try_at
        if claimed.epoch > 1 or claimed.deliveries or claimed.head:
            try:
                await at.reader.read(lambda connection: read_outputs(connection, [work]))
            except BaseException:
                at.leases.drop(hold)
                raise
        return hold

    def _begin(self, work: Work, hold: Hold | None, *, pure: bool) -> Run:
        facts = work.facts
        payload = facts.payload
        nodes: dict[str, Json] = dict(work.outputs)
        values: dict[str, Json] = dict(payload) if isinstance(payload, dict) else {}
        values["trigger"] = {**facts.trigger, "payload": payload}
        values["nodes"] = nodes
        values["execution"] = {
            "id": facts.execution,
            "workflow_id": facts.workflow,
            "version": facts.version,
            "started_at": facts.created_at,
        }
        run = Run(work, pure, work.epoch, hold, values, nodes)
        if work.segment.region and work.hi is None:
            self._name_items(values, work)
        values["vars"] = {}
        if facts.program.plan.variables:
            try:
                draws = Draws(self._services.secret, f"{facts.execution}\x1f@vars", facts.created_at)
                values["vars"] = facts.program.variables.render(Scope(dict(values), draws))
            except ExpressionError as error:
                run.unready = error
        return run

    async def _run_nodes(self, run: Run) -> None:
        """Go through the nodes of a segment until its end, a rest, or the failure that ends it."""
        steps = run.work.facts.program.steps(run.work.segment.id)
        for index, step in enumerate(steps):
            if not run.work.reached and not step.node.ends:
                continue
            run.head = index
            if step.node.type in (TRIGGER, BEGIN):
                continue
            if index % 64 == 63:
                await asyncio.sleep(0)
            past = run.work.past.get((step.node.id, ""))
            if past is None or not self._take_over(run, step, past):
                await self._attempt(run, step, past)
            if run.leaving is not None or (
                run.failed is not None and not self._failure_is_data(run, step, run.failed)
            ):
                return
            if index < len(steps) - 1 and "out" not in run.ports:
                run.ports = ()
                if run.work.segment.ends:  # the output runs whatever is skipped before it
                    run.head = len(steps) - 1
                    await self._attempt(run, steps[-1], None)
                return

    def _take_over(self, run: Run, step: Step, past: Past) -> bool:
        """Use an outcome that is in the journal already. Returns whether there was one."""
        if past.status == "waiting":
            self._succeed(run, step, past.output, started_at=run.work.ready_at)
            return True
        if past.status == "skipped":
            run.ports = ()
            return True
        context = context_of(past)
        if context is None or past.status == "caught":
            return False
        if past.status == "failed":
            error = past.error if isinstance(past.error, dict) else {}
            run.failed = NodeError(str(error.get("code")), str(error.get("message")))
        run.nodes[step.node.id] = context
        run.ports = ("out",)
        return True

    async def _attempt(self, run: Run, step: Step, past: Past | None) -> None:
        """Make one attempt at a node and classify what it came to."""
        node = step.node
        now = self._services.clock.now()
        tries = run.work.tries + 1 if run.head == run.work.head else 1
        if past is not None and past.status == "intent" and node.on_uncertain != "retry":
            doubt = Uncertain(UNCERTAIN, "The process that made this call died before its outcome was known.")
            await self._doubtful(run, step, error_of(doubt), tries, now)
            return
        context = self._context(run, step, tries)
        try:
            result = await self._call(run, step, context)
        except (_Lost, _Ended, asyncio.CancelledError, NoChild):
            raise
        except ChildDied as error:
            await self._give_up(run, error)
        except Exception as error:  # anything a node may raise is that node's failure  # noqa: BLE001
            self._keep_lines(run, context, now)
            known = _without_secrets(error_of(error), context)
            if node.effect is Effect.ONCE and not knows_outcome(error):
                await self._doubtful(run, step, known, tries, now)
            else:
                await self._fail(run, step, known, tries, now)
            return
        self._keep_lines(run, context, now)
        try:
            await self._accept(run, step, result, tries, now)
        except Fail as error:
            await self._fail(run, step, error_of(error), tries, now)

    def _context(self, run: Run, step: Step, tries: int) -> NodeContext:
        at = self._services
        return NodeContext(
            run.work.facts.execution,
            step.node.id,
            run.work.item,
            tries,
            run.work.ready_at,
            run.work.facts.project,
            None if step.node.effect is Effect.NONE else at.around,
            None if step.node.effect is Effect.NONE else self._journal_of_steps(run, step),
            at.settings.limits.log_lines,
        )

    async def _call(self, run: Run, step: Step, context: NodeContext) -> Any:
        """Render the config and call the node's function, in the way its declaration asks for."""
        at, node = self._services, step.node
        if run.unready is not None:
            raise run.unready
        if node.ends:
            return self._render_output(run, step, self._scope(run, node.id))
        if node.container is not None:
            return await self._conduct(run, step, node.container)
        scope = self._scope(run, node.id)
        if step.type is None:
            message = f"The plan names {node.type}, which has no node type."
            raise Fail("node.unknown_type", message)
        model = step.bind(scope)
        if node.effect is not Effect.NONE:
            await self._before_effect(run, step, context.attempt)
        seconds = _seconds_left(step, run, at.clock)
        if node.process or (run.work.deliveries >= 2 and node.effect is Effect.NONE):
            config = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
            return await at.children.call(
                step, config, context, seconds, lambda: self._watch_over(run.hold, seconds)
            )
        self._watch_over(run.hold, seconds)
        returned = step.type.run(model, context)
        if not isinstance(returned, Awaitable):
            return returned
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                result = await returned
        except TimeoutError as error:
            if not limit.expired():
                raise
            message = f"The attempt took longer than {seconds:g} s."
            raise NodeTimeout(message) from error
        failpoint("effect.after")
        if run.hold is not None and run.hold.stop is Stop.LOST:
            raise _Lost
        return _clean(result, context.secrets) if context.secrets else result

    def _watch_over(self, hold: Hold | None, seconds: float) -> None:
        """Let the heartbeat renew a claim as long as the attempt that begins now may take."""
        if hold is not None:
            hold.attempt_until = self._services.clock.monotonic() + seconds + 2

    @staticmethod
    def _render_output(run: Run, step: Step, scope: Scope) -> Json:
        """Return the result of an execution or of an instance: as the author says, or what the leaves that ran came to."""
        node, program = step.node, run.work.facts.program
        template = program.outputs if node.type == OUTPUT else step.parts.get("output")
        if template is not None:
            return template.render(scope)
        found = {
            name: context.get("output")
            for name in node.needs
            if isinstance(context := run.nodes.get(name), dict) and name != TRIGGER
        }
        return found if node.type == OUTPUT or len(node.needs) != 1 else found.get(node.needs[0])

    async def _conduct(self, run: Run, step: Step, container: Container) -> Json:
        """Ask a container what comes next: open instances and rest, or go on with what they came to."""
        at, work = self._services, run.work
        facts, plan, node = work.facts, work.facts.program.plan, step.node
        fan = work.fan if run.head == work.head else None
        outcomes: dict[int, list[Outcome]] = {}
        undone: list[int] = []
        if fan is not None:
            await self._until_stopped(run, step)

            def look(connection: Connection) -> None:
                latest = fan.opened - 1 if container.loop is not None else None
                outcomes.update(
                    read_outcomes(connection, plan, facts.execution, work.item, container, latest)
                )
                undone.extend(read_undone(connection, plan, facts.execution, work.item, container.undo))

            await at.reader.read(look)
        scope = self._scope(run, node.id)

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
            )
        except (Fail, ExpressionError):
            await self._close(run, fan)
            raise
        if isinstance(action, Open):
            await self._open(run, plan, action)
        if isinstance(action, Stay):
            await self._spread(run, ended=action.ended, due=fan.deadline if fan else None)
        await self._close(run, fan)
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
            **self._held(run),
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
            raise _Lost
        raise _Spread(settled, horizon)

    async def _close(self, run: Run, fan: Fan | None) -> None:
        """Stop the instances that a container goes on without."""
        if fan is not None and not fan.over:
            await self._hand_in(op.Close(**self._held(run)))
            run.entries, run.events, run.blobs, run.pack = [], [], [], []

    async def _until_stopped(self, run: Run, step: Step) -> None:
        """Rest a moment while something inside a container, told to stop, still runs: what it does may have to be undone."""
        at, work = self._services, run.work
        if work.fan is None or not work.fan.failed:
            return
        first, beyond = work.facts.program.plan.inside[step.node.id]
        name, item = work.facts.execution, work.item
        if await at.reader.read(lambda connection: still_running(connection, name, item, first, beyond)):
            due = at.clock.now() + _MOMENT
            await self._hand_in(op.Suspend(**self._held(run), due=due, head=run.head))
            raise _Ended

    async def _run_chunk(self, run: Run, hi: int) -> None:
        """Perform the only segment of a region for many items. What each came to is kept together."""
        work, at = run.work, self._services
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
                values.append(await self._perform_item(run, item_of(parent, index), item))
            except (ExpressionError, Fail, NodeFailed) as error:
                values.append(None)
                errors[str(index)] = error_of(error).to_json()
        limits = at.settings.limits
        payload, blob = place(encode(values, limits.output_bytes), limits.blob_from_bytes)
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

    async def _perform_item(self, run: Run, item: str, value: Json) -> Json:
        """Perform the nodes of a chunk for one item. Raises what makes the item fail."""
        work, at = run.work, self._services
        run.nodes = dict(work.outputs)
        run.values = {**run.values, "nodes": run.nodes}
        self._name_items(run.values, work, item, value)
        failed = False
        steps = work.facts.program.steps(work.segment.id)
        for step in steps:
            node = step.node
            if node.type == BEGIN or (failed and not node.ends):
                continue
            name = f"{work.facts.execution}\x1f{node.id}\x1f{item}"
            scope = Scope(run.values, Draws(at.secret, name, work.ready_at))
            if node.ends:
                return self._render_output(run, step, scope)
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
                result = await self._compute(run, step, context, scope)
                result, ports = (
                    (result.value, result.ports) if isinstance(result, Route) else (result, ("out",))
                )
                encode(result, at.settings.limits.output_bytes)
            except Exception as error:
                if node.on_error.action != "continue":
                    raise NodeFailed(error_of(error)) from error
                run.nodes[node.id] = {"output": node.on_error.default, "error": error_of(error).to_json()}
            else:
                run.nodes[node.id] = {"output": result}
                failed = "out" not in ports
            self._keep_lines(run, context, at.clock.now())
        message = f"The segment {work.segment.id} has no end."
        raise AssertionError(message)

    async def _compute(self, run: Run, step: Step, context: NodeContext, scope: Scope) -> Any:
        """Call a node without an effect for one item, in a child when it may be what kills processes."""
        if run.unready is not None:
            raise run.unready
        if step.type is None:
            message = f"The plan names {step.node.type}, which has no node type."
            raise Fail("node.unknown_type", message)
        model = step.bind(scope)
        if run.work.deliveries >= 2:
            config = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
            seconds = step.node.attempt_timeout
            return await self._services.children.call(step, config, context, seconds, lambda: None)
        returned = step.type.run(model, context)
        return await returned if isinstance(returned, Awaitable) else returned

    @staticmethod
    def _name_items(values: dict[str, Json], work: Work, item: str | None = None, value: Json = None) -> None:
        """Give the items of the regions around their names: the innermost is `item`, and each has its own."""
        plan = work.facts.program.plan
        item = work.item if item is None else item
        region = plan.regions[work.segment.region]
        innermost = True
        while region.id:
            container = plan.nodes[region.owner].container
            if container is not None and container.body == region.id and (container.each or container.loop):
                here = value if work.hi is not None and innermost else work.items.get(region.id)
                if innermost:
                    values["index"] = split_item(item_in(item, region.depth))[1]
                    values["item"] = here
                if container.each is not None and container.each.name is not None:
                    values[container.each.name] = here
                innermost = False
            region = plan.regions[region.parent]

    async def _before_effect(self, run: Run, step: Step, tries: int) -> None:
        """Make durable what must be before this effect starts, and make sure that we may still start it."""
        effect = step.node.effect
        if run.hold is None or not self._services.leases.safe(run.hold):
            raise _Lost
        if effect is Effect.ONCE:
            now = self._services.clock.now()
            run.entries.append(op.Entry(step.node.id, "intent", str(effect), tries=tries, started_at=now))
            run.events.append(("node.started", step.node.id, now, {"attempt": tries}))
        if effect is Effect.ONCE or any(entry.effect != "none" for entry in run.entries):
            await self._record(run)
            if not self._services.leases.safe(run.hold):
                raise _Lost
        failpoint("effect.before")

    async def _accept(self, run: Run, step: Step, result: object, tries: int, started_at: int) -> None:
        """Take what a node returned: JSON, a route, or a wait."""
        ports: tuple[str, ...] = ("out",)
        if isinstance(result, Route):
            ports, result = result.ports, result.value
            unknown = set(ports) - step.ports
            if unknown:
                message = f"The node left by {sorted(unknown)}, and has the ports {sorted(step.ports)}."
                raise Fail("node.unknown_port", message)
        if isinstance(result, (Wait, Exit)) and not step.node.waits:
            message = (
                f"The node waits or exits, which its type {step.node.type} does not declare (waits=True)."
            )
            raise Fail("node.wait_undeclared", message)
        if isinstance(result, Exit):
            if result.scope == "branch":
                ports = ()
            else:
                run.leaving = leaving(run.work.facts.program.plan, run.work.segment.region, result.scope)
            result = result.value
        if isinstance(result, Wait):
            now = self._services.clock.now()
            if result.until > now:
                await self._rest(run, step, result, started_at)
            result = result.value
        self._succeed(run, step, result, started_at, tries)
        run.ports = ports

    def _succeed(self, run: Run, step: Step, value: object, started_at: int, tries: int = 1) -> None:
        limits = self._services.settings.limits
        text = encode(value, limits.output_bytes)
        now = self._services.clock.now()
        run.nodes[step.node.id] = {"output": value}  # type: ignore[dict-item]  # encode has found it to be JSON
        run.ports = ("out",)
        run.failed = None
        if step.node.type == OUTPUT:
            run.output, blob = place(text, limits.blob_from_bytes)
            run.blobs.extend([blob] if blob else [])
            return
        if len(text) < limits.blob_from_bytes and tries == 1 and _shares_a_row(run, step):
            if not run.pack:
                run.pack_node, run.pack_from = step.node.id, started_at
            run.pack.append(f'["{step.node.id}",{text}]')
        else:
            payload, blob = place(text, limits.blob_from_bytes)
            run.blobs.extend([blob] if blob else [])
            run.entries.append(
                op.Entry(
                    step.node.id,
                    "succeeded",
                    str(step.node.effect),
                    output=payload,
                    tries=tries,
                    started_at=started_at,
                    ended_at=now,
                )
            )
        if not step.node.ends:
            run.events.append(("node.succeeded", step.node.id, now, {"ms": now - started_at}))

    async def _fail(
        self, run: Run, step: Step, error: NodeError, tries: int, started_at: int, *, last: bool = False
    ) -> None:
        """Follow the order of errors: next attempt (unless this was the `last`), the node's `on_error`, the execution's end."""
        at, node = self._services, step.node
        now = at.clock.now()
        first = run.work.first_try_at if tries > 1 and run.work.first_try_at is not None else started_at
        draw = int.from_bytes(at.clock.entropy(4), "big") / 2**32
        pause = None if last else retry.delay(node.retry, tries, error, (now - first) / 1000, draw)
        if (
            pause is not None
            and node.total_timeout is not None
            and (now - first) / 1000 + pause > node.total_timeout
        ):
            pause = None
        if pause is not None:
            event = {"attempt": tries, "error": error.to_json(), "delay": round(pause, 3)}
            run.events.append(("node.retrying", node.id, now, event))
            if node.effect is Effect.ONCE:
                run.entries.append(op.Entry(node.id, "waived", "once", tries=tries, started_at=started_at))
            await self._back_off(run, now + round(pause * 1000), tries, first)
        run.failed = error
        text = json.dumps(error.to_json())
        run.events.append(("node.failed", node.id, now, {"attempt": tries, "error": error.to_json()}))
        status, payload = "failed", op.Payload()
        if node.on_error.action == "continue":
            status = "continued"
            payload, blob = place(json.dumps(node.on_error.default), at.settings.limits.blob_from_bytes)
            run.blobs.extend([blob] if blob else [])
        run.entries.append(
            op.Entry(
                node.id,
                status,
                str(node.effect),
                output=payload,
                error=text,
                tries=tries,
                started_at=started_at,
                ended_at=now,
            )
        )

    def _failure_is_data(self, run: Run, step: Step, error: NodeError) -> bool:
        """Whether the segment goes on after a failure that no retry saved."""
        action = step.node.on_error
        if action.action == "continue":
            run.nodes[step.node.id] = {"output": action.default, "error": error.to_json()}
            run.ports, run.failed = ("out",), None
            return True
        if action.action == "branch" and step.node.branches:
            run.nodes[step.node.id] = {"error": error.to_json()}
            run.ports = ("timeout" if error.code == TIMED_OUT else "error",)
        return False

    async def _doubtful(self, run: Run, step: Step, error: NodeError, tries: int, started_at: int) -> None:
        """Nobody knows whether the effect happened: ask a person, fail, or repeat, as the author said."""
        node = step.node
        if node.on_uncertain != "ask":
            last = node.on_uncertain == "fail"
            kinds = (Uncertain.__name__,) if last else (*error.kinds, TryAgain.__name__)
            decided = NodeError(UNCERTAIN, error.message, error.details, kinds)
            await self._fail(run, step, decided, tries, started_at, last=last)
            return
        now = self._services.clock.now()
        reason = json.dumps({"node": node.id, "code": UNCERTAIN, "message": error.message})
        run.events.append(("node.uncertain", node.id, now, {"message": error.message}))
        await self._hand_in(op.Doubt(**self._held(run), head=run.head, reason=reason))
        raise _Ended

    async def _put_off(self, run: Run, error: Exception) -> NoReturn:
        """This process lacks what another has or it may have again (a node type, a child): later, at no cost to the node."""
        log.warning("A segment of %s is put off: %s", run.work.facts.execution, str(error))
        due = self._services.clock.now() + _PUT_OFF
        await self._hand_in(
            op.Suspend(
                **self._held(run),
                due=due,
                head=run.work.head,
                tries=run.work.tries,
                backing_off=True,
                first_try_at=run.work.first_try_at,
            )
        )
        raise _Ended

    async def _give_up(self, run: Run, error: ChildDied) -> NoReturn:
        """The machine failed and not the node: another delivery, until there were too many."""
        at, work = self._services, run.work
        await self._record(run)
        claim = (work.segment.id, work.item, run.epoch)
        lose = op.Lose(
            work.facts.execution, (claim,), at.clock.now(), error.message, at.settings.limits.deliveries
        )
        at.outlet.send(work.facts.execution, await at.ledger.submit(lose))
        raise _Ended

    async def _back_off(self, run: Run, due: int, tries: int, first: int) -> None:
        suspend = op.Suspend(
            **self._held(run), due=due, head=run.head, tries=tries, backing_off=True, first_try_at=first
        )
        await self._hand_in(suspend)
        raise _Ended

    async def _rest(self, run: Run, step: Step, wait: Wait, started_at: int) -> None:
        """Put the segment to rest; its outcome is written already and counts when the time has come."""
        limits = self._services.settings.limits
        payload, blob = place(encode(wait.value, limits.output_bytes), limits.blob_from_bytes)
        run.blobs.extend([blob] if blob else [])
        run.entries.append(op.Entry(step.node.id, "waiting", output=payload, started_at=started_at))
        run.events.append(("node.waiting", step.node.id, self._services.clock.now(), {"until": wait.until}))
        await self._hand_in(op.Suspend(**self._held(run), due=wait.until, head=run.head))
        raise _Ended

    async def _settle(self, run: Run, family: Family) -> list[tuple[Work, Hold | None]]:
        """Commit the segment's end and what follows from it; pass on what became ready."""
        at, work = self._services, run.work
        failed = (
            run.failed if run.failed is not None and not run.work.segment.nodes[run.head].branches else None
        )
        taken: tuple[bool, ...] = ()
        if failed is None and run.leaving is None:
            try:
                taken = self._exits(run)
            except (ExpressionError, Fail) as error:
                failed = error_of(error)
        error_text = None
        if failed is not None:
            error_text = json.dumps({"node": work.segment.nodes[run.head].id, **failed.to_json()})
            if work.segment.region:
                end = work.facts.program.plan.regions[work.segment.region].end
                now = at.clock.now()
                run.entries.append(op.Entry(end, "failed", error=error_text, started_at=now, ended_at=now))
        if run.leaving is not None:
            self._leave(run, run.leaving)
            taken = (False,) * len(work.segment.exits)
        settle = op.Settle(
            **self._held(run),
            leave=None if run.leaving is None else run.leaving.region,
            closes=run.leaving is not None and run.leaving.closes,
            taken=taken,
            error=error_text,
            output=run.output,
            failures=run.failures,
            owner=at.owner,
            lease=at.settings.timing.lease,
            inline=self._budget(family),
        )
        horizon = at.leases.horizon()
        if run.hold is not None:
            run.hold.task = None
        failpoint("settle.before")
        settled: op.Settled | None = await at.ledger.submit(settle)
        if settled is None:
            raise _Lost
        if settled.finished is not None:
            at.outlet.finished(work.facts.execution, settled.reply_to)
        return await self._follow(run, settled, family, horizon)

    async def _follow(
        self, run: Run, settled: op.Settled, family: Family, horizon: float
    ) -> list[tuple[Work, Hold | None]]:
        """Send what became ready, and take up what is for this process to go on with."""
        at, work = self._services, run.work
        failpoint("dispatch.before")
        if settled.ready:
            at.outlet.send(work.facts.execution, settled.ready)
        family.count += len(settled.successors)
        following: list[tuple[Work, Hold | None]] = []
        for each in settled.successors:
            try:
                successor = await self._succeeding(run, each)
            except CeleriacError as error:
                log.warning("A successor was left, to be taken up again: %s", str(error))
            else:
                following.append((successor, self._handed_over(successor, horizon)))
        return following

    def _leave(self, run: Run, leaving: Leaving) -> None:
        """Journal what an instance comes to that ends before its last node, or the whole execution."""
        plan, limits = run.work.facts.program.plan, self._services.settings.limits
        node = run.nodes.get(run.work.segment.nodes[run.head].id)
        value = node.get("output") if isinstance(node, dict) else None
        payload, blob = place(encode(value, limits.output_bytes), limits.blob_from_bytes)
        run.blobs.extend([blob] if blob else [])
        if leaving.region == 0:
            run.output = payload
            return
        region, now = plan.regions[leaving.region], self._services.clock.now()
        run.entries.append(
            op.Entry(
                region.end,
                "left" if leaving.closes else "succeeded",
                output=payload,
                started_at=now,
                ended_at=now,
                item=item_in(run.work.item, region.depth),
            )
        )

    def _budget(self, family: Family) -> int:
        """Return how many more segments the carriers of one message may go on with, before others get their turn."""
        at = self._services
        spent = (at.clock.monotonic() - family.begun) * 1000
        if self._stopping or spent >= at.settings.limits.inline_ms:
            return 0
        return max(0, at.settings.limits.inline_segments - family.count)

    async def _succeeding(self, run: Run, successor: tuple[int, str, op.Claimed]) -> Work:
        """Make the work of a successor that the commit handed over, reading only what is not at hand."""
        at, facts = self._services, run.work.facts
        number, item, claimed = successor
        segment = facts.program.plan.segments[number]
        outputs = {name: run.nodes[name] for name in segment.needs if name in run.nodes}
        work = Work(
            facts,
            segment,
            item,
            claimed.epoch,
            claimed.deliveries,
            claimed.head,
            claimed.tries,
            claimed.ready_at,
            claimed.first_try_at,
            claimed.hi,
            None if claimed.fan is None else Fan.from_text(claimed.fan),
            outputs=outputs,  # type: ignore[arg-type]
            reached=claimed.reached,
        )
        if len(outputs) < len(segment.needs) or claimed.fan is not None or segment.reads or facts.based:
            work.epoch = 0
            await at.reader.read(lambda connection: read_outputs(connection, [work]))
            work.epoch = claimed.epoch
        return work

    def _handed_over(self, work: Work, horizon: float) -> Hold | None:
        """Take charge of a successor's claim, once everything it needs is there: a claim that nobody serves would be renewed."""
        if work.segment.pure:
            return None
        hold = Hold(work.facts.execution, work.segment.id, work.item, work.epoch, horizon)
        return self._services.leases.hold(hold)

    def _exits(self, run: Run) -> tuple[bool, ...]:
        """Decide each edge out of the segment. Raises an expression's error, or `Fail` for a condition that is no boolean."""
        work = run.work
        conditions = work.facts.program.conditions(work.segment.id)
        node = work.segment.nodes[run.head].id
        decided = []
        for exit_, condition in zip(work.segment.exits, conditions, strict=True):
            taken = _leaves_by(exit_, run.ports, work.segment.exits, failed=run.failed is not None)
            if taken and condition is not None:
                value = condition.evaluate(self._scope(run, node))
                if not isinstance(value, bool):
                    message = (
                        f"The condition of an edge from {node} is {type(value).__name__}, not true or false."
                    )
                    raise Fail("expression.not_boolean", message)
                taken = value
            decided.append(taken)
        return tuple(decided)

    async def _withdraw(self, run: Run) -> None:
        """A held segment was told to stop: lost, cancelled, or the process is stopping."""
        if run.hold is None or run.hold.stop is Stop.LOST:
            return
        if run.hold.stop is Stop.CANCELLED:
            error = json.dumps({"code": "execution.cancelled", "message": "The execution was cancelled."})
            await self._services.ledger.submit(op.Settle(**self._held(run), error=error))
        elif any(entry.status == "intent" for entry in run.entries) or _in_flight(run):
            reason = json.dumps({"node": run.work.segment.nodes[run.head].id, "code": UNCERTAIN})
            await self._services.ledger.submit(op.Doubt(**self._held(run), head=run.head, reason=reason))
        else:
            await self._services.ledger.submit(op.Release(**self._held(run)))

    async def _record(self, run: Run) -> None:
        """Write what is unwritten. Raises `_Lost`, or `_Stopped`: then nothing was written, and what was to begin has not."""
        answer = await self._services.ledger.submit(op.Record(**self._held(run)))
        if answer is op.Recorded.LOST:
            raise _Lost
        if answer is op.Recorded.STOPPING:
            if run.hold is not None:
                run.hold.stop = Stop.CANCELLED
            run.entries = [each for each in run.entries if each.status != "intent"]
            run.events = [each for each in run.events if each[0] != "node.started"]
            raise _Stopped
        run.entries, run.events, run.blobs, run.pack = [], [], [], []

    async def _hand_in(self, operation: op.Operation) -> None:
        if not await self._services.ledger.submit(operation):
            raise _Lost

    def _held(self, run: Run) -> dict[str, Any]:
        """Return the fields every request of a holder has, with all that is unwritten."""
        entries = run.entries
        if run.pack:
            text = f"[{','.join(run.pack)}]"
            packed = op.Entry(
                run.pack_node,
                "pack",
                output=op.Payload(text=text),
                started_at=run.pack_from,
                ended_at=self._services.clock.now(),
            )
            entries = [packed, *entries]
        return {
            "execution": run.work.facts.execution,
            "segment": run.work.segment.id,
            "item": run.work.item,
            "epoch": run.epoch,
            "pure": run.pure,
            "now": self._services.clock.now(),
            "entries": tuple(entries),
            "events": tuple(run.events) if not run.work.item else tuple(_at_item(run.events, run.work.item)),
            "blobs": tuple(run.blobs),
        }

    def _scope(self, run: Run, node: str) -> Scope:
        work = run.work
        name = f"{work.facts.execution}\x1f{node}\x1f{work.item}"
        return Scope(run.values, Draws(self._services.secret, name, work.ready_at))

    @staticmethod
    def _keep_lines(run: Run, context: NodeContext, now: int) -> None:
        for level, message, fields in context.lines:
            line: dict[str, Json] = {"level": level, "message": message, **fields}
            kept = scrub(line, context.secrets) if context.secrets else line
            run.events.append(("node.log", context.node_id, now, kept))

    def _journal_of_steps(self, run: Run, step: Step) -> Callable[..., Awaitable[Json]]:
        """Return the memory of a node's own sub-steps."""

        async def do(name: str, effect: Effect, key: str, call: Callable[[str], Awaitable[Json]]) -> Json:
            past = run.work.past.get((step.node.id, name))
            if past is not None and past.status == "succeeded":
                return past.output
            if past is not None and past.status == "intent" and step.node.on_uncertain != "retry":
                message = f"The process that made the step {name!r} died before its outcome was known."
                raise Uncertain(UNCERTAIN, message)
            now = self._services.clock.now()
            if effect is Effect.ONCE:
                run.entries.append(op.Entry(step.node.id, "intent", str(effect), name, started_at=now))
            await self._record(run)
            if run.hold is None or not self._services.leases.safe(run.hold):
                raise _Lost
            try:
                value = await call(key)
            except Exception as error:
                if effect is Effect.ONCE and knows_outcome(error):
                    waived = op.Entry(step.node.id, "waived", str(effect), name, started_at=now)
                    run.entries.append(waived)
                    await self._record(run)
                raise
            limits = self._services.settings.limits
            payload, blob = place(encode(value, limits.output_bytes), limits.blob_from_bytes)
            run.blobs.extend([blob] if blob else [])
            done = self._services.clock.now()
            run.entries.append(
                op.Entry(step.node.id, "succeeded", str(effect), name, payload, started_at=now, ended_at=done)
            )
            run.events.append(("step.succeeded", step.node.id, done, {"step": name, "ms": done - now}))
            await self._record(run)
            return value

        return do


@dataclass(slots=True)
class Draws:
    """The time and the randomness of one node run: the same on every replay, and foreseen by nobody without the secret."""

    secret: bytes
    name: str
    now_ms: int

    def draw(self, n: int) -> bytes:
        """Return the 16 bytes of the n-th draw."""
        return hmac.digest(self.secret, f"{self.name}\x1f{n}".encode(), "sha256")[:16]


class NodeFailed(Exception):
    """A node of a chunk failed for one item."""

    def __init__(self, error: NodeError) -> None:
        super().__init__(error.message)
        self.error = error


class ChildDied(CeleriacError):
    """The process a node ran in died."""

    code = "node.child_died"


class NoChild(CeleriacError):
    """No child process could be started: the machine is short of processes or memory."""

    code = "node.no_child"


class NodeTimeout(CeleriacError):
    """The attempt took longer than its limit."""

    code = TIMED_OUT


def _clean(result: object, secrets: frozenset[str]) -> object:
    """Return a node's result without the credentials it was given."""
    if isinstance(result, (Route, Wait, Exit)):
        return dataclasses.replace(result, value=scrub(result.value, secrets))
    return scrub(result, secrets)  # type: ignore[arg-type]  # what is no JSON is refused when it is encoded


def _without_secrets(error: NodeError, context: NodeContext) -> NodeError:
    if not context.secrets:
        return error
    message = str(scrub(error.message, context.secrets))
    details = scrub(error.details, context.secrets)
    return dataclasses.replace(error, message=message, details=details if isinstance(details, dict) else {})


def _seconds_left(step: Step, run: Run, clock: Clock) -> float:
    """Return how long this attempt may take: its own limit, and what is left of the limit on all attempts."""
    if step.node.total_timeout is None:
        return step.node.attempt_timeout
    now = clock.now()
    first = run.work.first_try_at if run.head == run.work.head and run.work.tries else now
    return max(0.0, min(step.node.attempt_timeout, step.node.total_timeout - (now - (first or now)) / 1000))


def _leaves_by(exit_: Way, ports: tuple[str, ...], exits: Sequence[Way], *, failed: bool) -> bool:
    """Whether an edge is taken, before its condition is looked at."""
    if not failed:
        return (
            exit_.on in ("success", "any")
            and exit_.port != "error"
            and bool(ports)
            and exit_.port in (None, *ports)
        )
    if exit_.on == "any":
        return True
    timed_out = "timeout" in ports
    if exit_.on == "timeout":
        return timed_out
    caught = timed_out and any(each.on == "timeout" for each in exits)
    return (exit_.on == "error" or exit_.port == "error") and not caught


def _shares_a_row(run: Run, step: Step) -> bool:
    """Whether a node's outcome goes into the pack: it has no effect, no journal row of its own from before, and ends nothing."""
    node = step.node
    return node.effect is Effect.NONE and not node.ends and (node.id, "") not in run.work.past


def _at_item(events: Iterable[op.EventBody], item: str) -> Iterator[op.EventBody]:
    """Yield events with the item they happened at."""
    for kind, node, at, more in events:
        yield kind, node, at, {"item": item, **more}  # type: ignore[dict-item]  # every event's last part is an object


def _in_flight(run: Run) -> bool:
    """Whether an effect that cannot be repeated may have begun."""
    node = run.work.segment.nodes[run.head]
    return node.effect is Effect.ONCE and run.hold is not None and run.hold.attempt_until is not None
