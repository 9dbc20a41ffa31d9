"""THE HEART: claim, render, call, classify, record, advance, dispatch.

One segment is carried from its message to its commit, and on through successors that the commit handed over. A pure
segment is not claimed: it may run twice, and one of the two commits wins. Around an effect the journal is written as its
class demands, so that after a crash at any point the next holder knows what has happened, or knows that nobody knows.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from celeriac import (
    Call,
    Effect,
    Emit,
    Exit,
    Fail,
    Json,
    NodeError,
    Respond,
    Route,
    TryAgain,
    Uncertain,
    Wait,
)
from celeriac.answers import flaw
from engine import admission, approvals, calls, cancels, consent, retry, signals
from engine import operations as op
from engine.catalog import Versions
from engine.chunk import run_chunk
from engine.clock import Clock
from engine.conduct import Conductor
from engine.containers import leaving
from engine.context import HEARTBEAT, Beat, NodeContext, idempotency_key
from engine.encoding import encode, place
from engine.errors import CeleriacError, Unavailable
from engine.expressions import ExpressionError, Scope
from engine.failpoints import failpoint
from engine.failure import OUT_OF_TIME, TIMED_OUT, error_of, knows_outcome
from engine.fans import Fan
from engine.holds import QUEUE_TIMED_OUT, Limits, refusal
from engine.inside import Inside
from engine.leases import Hold, Stop
from engine.outside.scrub import scrub
from engine.performance import (
    Called,
    CallsInside,
    ChildDied,
    Draws,
    Ended,
    Lost,
    NoChild,
    Run,
    Services,
    Spread,
    Stopped,
    WoundUp,
    in_time,
    keep_lines,
    name_items,
    result_of,
    scope_of,
    seen_in_parts,
)
from engine.plan import BEGIN, ITEM, OUTPUT, PlanNode
from engine.plan import Exit as Way
from engine.programs import Step
from engine.pulse import Pulse
from engine.registry import UnknownNodeType
from engine.snapshots import (
    Past,
    Reference,
    Work,
    context_of,
    load,
    read_outputs,
)
from engine.spending import Purse
from engine.triggers.events import Event, hops_of
from engine.triggers.publishing import publish
from engine.withdrawals import OVER

log = logging.getLogger(__name__)

UNCERTAIN = "effect.uncertain"
TRIGGER = "trigger"
_PUT_OFF = 10_000


@dataclass(slots=True, eq=False)
class Family:
    """The carriers of one message: when they began (monotonic seconds), how many segments were handed to them, who runs."""

    begun: float
    count: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class Executor:
    """Carries segments."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._conductor = Conductor(services)
        self._versions = Versions()
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
            except (Lost, Ended):
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
        pure = work.segment.pure and work.deliveries < op.SUSPECTED
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
                    await run_chunk(self._services, run, work.hi)
            except (UnknownNodeType, NoChild) as error:
                await self._put_off(run, error)
            except WoundUp:
                pass
            except Spread as opened:
                return await self._follow(run, opened.settled, family, opened.horizon)
            except Called as called:
                return await self._take_up(run, called.ready, family)
            return await self._settle(run, family)
        except asyncio.CancelledError:
            if run is not None:
                await self._withdraw(run)
            raise Ended from None
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
        if work.segment.limits is not None and not _is_decided(work):
            claim = self._limited(claim, work, work.segment.limits)
        claimed: op.Claimed | None = await at.ledger.submit(claim)
        if claimed is None:
            raise Lost
        if claimed.refused is not None:
            work.refused = refusal(claimed.refused)
        return await self._take(work, claimed, horizon)

    def _limited(self, claim: op.Claim, work: Work, limits: Limits) -> op.Claim:
        """Ask for what limits a segment as well. A key that cannot be rendered fails the node, which claims without it."""
        run = self._begin(work, None, pure=False)
        try:
            if run.unready is not None:
                raise run.unready
            keys = work.facts.program.keys(work.segment.id, limits)
            asked = limits.rendered(keys.render(self._scope(run, work.segment.nodes[0].id)))
        except (ExpressionError, Fail) as error:
            work.refused = error
            return claim
        rate = asked.rate if work.fan is None else None
        return dataclasses.replace(claim, concurrency=asked.concurrency, rate=rate)

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
        work.fan = None if claimed.fan is None else Fan.from_text(claimed.fan)
        work.winding = claimed.stop == op.WINDING
        if claimed.epoch > 1 or claimed.deliveries or claimed.head or claimed.passed:
            try:
                await at.reader.read(lambda connection: read_outputs(connection, [work]))
            except BaseException:
                at.leases.drop(hold)
                raise
        return hold

    def _begin(self, work: Work, hold: Hold | None, *, pure: bool) -> Run:
        facts = work.facts
        payload = facts.payload
        nodes: dict[str, Json] = {name.removesuffix(ITEM): each for name, each in work.outputs.items()}
        nodes |= seen_in_parts(work.outputs)
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
            name_items(values, work)
        shared = values["vars"] = dict(facts.variables)
        if facts.program.plan.variables:
            try:
                draws = Draws(self._services.secret, f"{facts.execution}\x1f@vars", facts.created_at)
                own: Any = facts.program.variables.render(Scope(dict(values), draws))
                values["vars"] = {**shared, **own}
            except ExpressionError as error:
                run.unready = error
        if work.refused is not None:
            run.unready = work.refused
        return run

    async def _run_nodes(self, run: Run) -> None:
        """Go through the nodes of a segment until its end, a rest, or the failure that ends it."""
        program, number = run.work.facts.program, run.work.segment.id
        steps = program.bare(number) if _is_given_up(run.work) else program.steps(number)
        for index, step in enumerate(steps):
            if not run.work.reached and not step.node.ends:
                continue
            run.head = index
            if step.node.type in (TRIGGER, BEGIN):
                continue
            if index % 64 == 63:
                await asyncio.sleep(0)
            past = run.work.past.get((step.node.id, ""))
            if past is not None and past.status == op.CALLING and past.tries > self._spent(run):
                await self._take_answer(run, step, past)
            elif past is not None and past.status == signals.LISTENING:
                await self._hear(run, step, past)
            elif past is None or not self._take_over(run, step, past):
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

    @staticmethod
    def _spent(run: Run) -> int:
        """Return how many attempts at the node that is looked at have come to nothing."""
        return run.work.tries if run.head == run.work.head else 0

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
        tries = self._spent(run) + 1
        if past is not None and past.status == "intent" and node.on_uncertain != "retry":
            doubt = Uncertain(UNCERTAIN, "The process that made this call died before its outcome was known.")
            await self._doubtful(run, step, error_of(doubt), tries, now)
            return
        context = self._context(run, step, tries)
        try:
            result = await self._call(run, step, context)
        except (
            Lost,
            Ended,
            asyncio.CancelledError,
            NoChild,
            Unavailable,
        ):  # the last is ours: no node failed
            raise
        except ChildDied as error:
            await self._give_up(run, error)
        except CallsInside as inside:
            keep_lines(run, context, now)
            await self._call_inside(run, step, inside, tries, now)
            return
        except Exception as error:  # anything a node may raise is that node's failure  # noqa: BLE001
            keep_lines(run, context, now)
            known = _without_secrets(error_of(error), context)
            if isinstance(error, Uncertain) or (node.effect is Effect.ONCE and not knows_outcome(error)):
                await self._doubtful(run, step, known, tries, now)
            else:
                # Of what nobody took up in time there was no attempt, so there is none to be repeated.
                await self._fail(run, step, known, tries, now, last=known.code == QUEUE_TIMED_OUT)
            return
        keep_lines(run, context, now)
        try:
            await self._accept(run, step, result, tries, now)
        except Fail as error:
            await self._fail(run, step, error_of(error), tries, now)

    def _context(self, run: Run, step: Step, tries: int) -> NodeContext:
        at = self._services
        acts = step.node.effect is not Effect.NONE
        before = run.work.past.get((step.node.id, HEARTBEAT))
        facts, item, speaking = run.work.facts, run.work.item, at.speaking
        return NodeContext(
            facts.execution,
            step.node.id,
            item,
            tries,
            run.work.ready_at,
            facts.project,
            at.around if acts else None,
            self._journal_of_steps(run, step) if acts else None,
            at.settings.limits.log_lines,
            last_heartbeat=None if before is None else before.output,
            pulse=Pulse(step.node.heartbeat),
            beat=self._heart(run, step, tries),
            purse=Purse(at, run, step.node.id) if acts else None,
            inside=Inside(at, run, step) if acts else None,
            speak=speaking.of(facts, step.node.id, item, tries) if acts and speaking is not None else None,
        )

    async def _call(self, run: Run, step: Step, context: NodeContext) -> Any:
        """Render the config and call the node's function, in the way its declaration asks for."""
        at, node = self._services, step.node
        if run.unready is not None:
            raise run.unready
        if node.ends:
            return result_of(run, step, self._scope(run, node.id))
        if node.container is not None:
            return await self._conductor.conduct(run, step, node.container)
        scope = self._scope(run, node.id)
        if step.type is None:
            message = f"The plan names {node.type}, which has no node type."
            raise Fail("node.unknown_type", message)
        model = step.bind(scope)
        if node.foreign:
            consent.ask(run, step, at.settings.on_foreign, scope)
        if node.effect is not Effect.NONE:
            await self._before_effect(run, step, context.attempt)
        seconds = _seconds_left(step, run, at.clock)
        if node.process or (run.work.deliveries >= op.SUSPECTED and node.effect is Effect.NONE):
            config = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
            return await at.children.call(
                step, config, context, seconds, lambda: self._watch_over(run.hold, seconds)
            )
        self._watch_over(run.hold, seconds)
        returned = step.type.run(model, context)
        if not isinstance(returned, Awaitable):
            return returned
        result = await in_time(returned, seconds, context.pulse)
        failpoint("effect.after")
        if run.hold is not None and run.hold.stop is Stop.LOST:
            raise Lost
        return _clean(result, context.secrets) if context.secrets else result

    def _watch_over(self, hold: Hold | None, seconds: float) -> None:
        """Let the heartbeat renew a claim as long as the attempt that begins now may take."""
        if hold is not None:
            hold.attempt_until = self._services.clock.monotonic() + seconds + 2

    async def _before_effect(self, run: Run, step: Step, tries: int) -> None:
        """Make durable what must be before this effect starts, and make sure that we may still start it."""
        effect = step.node.effect
        if run.hold is None or not self._services.leases.safe(run.hold):
            raise Lost
        if effect is Effect.ONCE:
            now = self._services.clock.now()
            run.entries.append(op.Entry(step.node.id, "intent", str(effect), tries=tries, started_at=now))
            run.events.append(("node.started", step.node.id, now, {"attempt": tries}))
        if effect is Effect.ONCE or any(entry.effect != "none" for entry in run.entries):
            await self._record(run)
            if not self._services.leases.safe(run.hold):
                raise Lost
        failpoint("effect.before")

    async def _accept(self, run: Run, step: Step, result: object, tries: int, started_at: int) -> None:
        """Take what a node returned: JSON, a route, a wait, a call, an exit, an answer, or an event to be published."""
        ports: tuple[str, ...] = ("out",)
        if isinstance(result, Route):
            ports, result = result.ports, result.value
            unknown = set(ports) - step.ports
            if unknown:
                message = f"The node left by {sorted(unknown)}, and has the ports {sorted(step.ports)}."
                raise Fail("node.unknown_port", message)
        if isinstance(result, (Wait, Call, Exit, Respond)) and not step.node.waits:
            word = {Wait: "waits", Call: "calls", Exit: "exits", Respond: "responds"}[type(result)]
            message = f"The node {word}, which its type {step.node.type} does not declare (waits=True)."
            raise Fail("node.wait_undeclared", message)
        if isinstance(result, Exit):
            if result.scope == "branch":
                ports = ()
            else:
                run.leaving = leaving(run.work.facts.program.plan, run.work.segment.region, result.scope)
            result = result.value
        if isinstance(result, Wait):
            if result.signals or result.until is None or result.port != "out":
                await self._listen(run, step, result, started_at)
            elif result.until > self._services.clock.now():
                await self._rest(run, step, result, started_at)
            result = result.value
        if isinstance(result, Respond):
            result = self._answer(run, result)
        if isinstance(result, Emit):
            result = {"id": await self._emit(run, step, result)}
        if isinstance(result, Call):
            result = await self._start(run, step, result, tries, started_at)
        self._succeed(run, step, result, started_at, tries)
        run.ports = ports

    def _answer(self, run: Run, answer: Respond) -> Json:
        """Keep an answer for the commit of the segment, which ends here. Raises `Fail` for what is none."""
        if (message := flaw(answer.status, answer.headers)) is not None:
            raise Fail("node.answer_invalid", message)
        limits = self._services.settings.limits
        value = answer.to_json()
        run.answer, blob = place(encode(value, limits.output_bytes), limits.blob_from_bytes)
        run.blobs.extend([blob] if blob else [])
        return value

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
            run.events.append(("node.succeeded", step.node.id, now, {"ms": max(0, now - started_at)}))

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
            run.ports = ("timeout" if error.code in OUT_OF_TIME else "error",)
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
        raise Ended

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
        raise Ended

    async def _give_up(self, run: Run, error: ChildDied) -> NoReturn:
        """The machine failed and not the node: another delivery, until there were too many."""
        at, work = self._services, run.work
        await self._record(run)
        claim = (work.segment.id, work.item, run.epoch)
        lose = op.Lose(
            work.facts.execution, (claim,), at.clock.now(), error.message, at.settings.limits.deliveries
        )
        at.outlet.send(work.facts.execution, await at.ledger.submit(lose))
        raise Ended

    async def _back_off(self, run: Run, due: int, tries: int, first: int) -> None:
        suspend = op.Suspend(
            **self._held(run), due=due, head=run.head, tries=tries, backing_off=True, first_try_at=first
        )
        await self._hand_in(suspend)
        raise Ended

    async def _rest(self, run: Run, step: Step, wait: Wait, started_at: int) -> None:
        """Put the segment to rest; its outcome is written already and counts when the time has come."""
        limits = self._services.settings.limits
        payload, blob = place(encode(wait.value, limits.output_bytes), limits.blob_from_bytes)
        run.blobs.extend([blob] if blob else [])
        run.entries.append(op.Entry(step.node.id, "waiting", output=payload, started_at=started_at))
        run.events.append(("node.waiting", step.node.id, self._services.clock.now(), {"until": wait.until}))
        await self._hand_in(op.Suspend(**self._held(run), due=wait.until or 0, head=run.head))
        raise Ended

    async def _listen(
        self, run: Run, step: Step, wait: Wait, started_at: int, *, again: bool = False
    ) -> NoReturn:
        """Put the segment to rest until a signal comes, or its time. What it waits for is written with it."""
        at, facts = self._services, run.work.facts
        limits = at.settings.limits
        if wait.until is None and not wait.signals:
            raise Fail("node.wait_endless", "The node waits for no time and no signal.")
        approval, shown = approvals.asked(wait, step.node.id, at.clock, limits)
        payload, blob = place(encode(signals.wait_to_json(wait), limits.output_bytes), limits.blob_from_bytes)
        run.blobs.extend(each for each in (blob, shown) if each)
        run.entries.append(op.Entry(step.node.id, signals.LISTENING, output=payload, started_at=started_at))
        more = {"until": wait.until, "for": signals.names_of(wait)}
        run.events.append(("node.waiting", step.node.id, at.clock.now(), more))
        rest = op.Rest(
            **self._held(run),
            project=facts.project,
            head=run.head,
            due=wait.until,
            again=again,
            subscriptions=signals.subscriptions_of(wait, facts.created_at),
            approval=approval,
        )
        ready: list[op.Sendable] | None = await at.ledger.submit(rest)
        if ready is None:
            raise Lost
        failpoint("rest.after")
        at.outlet.send(facts.execution, ready)
        raise Ended

    async def _hear(self, run: Run, step: Step, past: Past) -> None:
        """Go on after a wait that signals may end: with the one that came, with the time, or with the wait that follows."""
        work = run.work
        wait = signals.wait_from_json(past.output)  # type: ignore[arg-type]  # it was written by `_listen`
        if work.heard is None:
            over = wait.until is not None and wait.until <= self._services.clock.now()
            following = wait.then if over and wait.then else wait
            await self._listen(run, step, following, work.ready_at, again=True)
        if work.heard.source == signals.TIME:
            self._succeed(run, step, wait.value, started_at=work.ready_at)
        else:
            self._succeed(run, step, work.heard.to_json(), started_at=work.ready_at)
        run.ports = (work.heard.name if work.heard.name in step.ports else "out",)

    async def _emit(self, run: Run, step: Step, emit: Emit) -> str:
        """Publish an event for a node. Its key is that of the node's effect, so that trying again publishes nothing."""
        at, facts = self._services, run.work.facts
        limits = at.settings.limits
        if step.node.effect is Effect.NONE:
            message = f"The node publishes, and its type {step.node.type} is declared without an effect."
            raise Fail("node.emit_undeclared", message)
        event = Event(
            at.clock.mint("evt"),
            emit.type,
            emit.data,
            facts.execution,
            emit.correlation,
            hops_of(facts.trigger),
        )
        key = idempotency_key(facts.execution, step.node.id, run.work.item)
        data = place(encode(emit.data, limits.output_bytes), limits.blob_from_bytes)
        published, ready = await publish(at, self._versions, event, data, key=key, project=facts.project)
        failpoint("emit.after")
        for queue, (execution, segment, item) in ready:
            at.outlet.send(execution, [(segment, item, queue)])
        return published.id

    async def _start(
        self,
        run: Run,
        step: Step,
        call: Call,
        tries: int,
        started_at: int,
        inside: CallsInside | None = None,
    ) -> Json:
        """Start what a node calls, and rest until it has ended, or return its id. Raises `Fail` for what cannot be started."""
        name = "" if inside is None else inside.name
        patience = _seconds_left(step, run, self._services.clock) if inside is None else inside.seconds
        at, facts = self._services, run.work.facts
        place = (facts.execution, run.work.segment.id, run.work.item)
        request = await at.reader.read(
            lambda connection: calls.request(
                connection, self._versions, facts, call, place, step.node.id, tries, at.settings.limits, name
            )
        )
        try:
            start = admission.operation(at, request)
        except admission.InputInvalid as error:
            raise Fail(error.code, error.message, error.details) from None
        if not call.wait:
            return await self._start_unawaited(run, start)
        if start.concurrency is not None or start.rate is not None:
            await self._record_held(run)
            await self._let_in(start)
            start = dataclasses.replace(start, concurrency=None, rate=None)
        first = run.work.first_try_at if tries > 1 and run.work.first_try_at is not None else started_at
        if run.hold is not None:
            run.hold.task = None
        called: op.Called | None = await at.ledger.submit(
            op.Call(
                **self._held(run),
                start=dataclasses.replace(
                    start, handed=run.inline > 0 and start.queue == run.work.segment.queue
                ),
                node=step.node.id,
                head=run.head,
                spent=tries - 1,
                began=started_at,
                first_try_at=first,
                due=at.clock.now() + round(patience * 1000),
                step=name,
            )
        )
        if called is None:
            raise Lost
        ready: list[tuple[str, Reference]] = []
        if called.execution is not None and called.send:
            ready.append((start.queue, (called.execution, 0, "")))
        if called.already:
            ready.append((run.work.segment.queue, place))
        raise Called(ready)

    async def _start_unawaited(self, run: Run, start: op.Start) -> Json:
        """Start an execution that lives by itself. Repeated after a crash, it finds the one that it started before."""
        await self._record_held(run)
        started = await self._let_in(start)
        if not started.same:
            message = f"The key {start.idempotency_key!r} was used before, to start {started.execution} with something else."
            raise Fail("request.idempotency_key_reused", message, {"execution": started.execution})
        return {"execution": started.execution}

    async def _let_in(self, start: op.Start) -> op.Started:
        """Start an execution by the rules of its own limit. Raises `Fail` when that refuses it."""
        at = self._services
        started: op.Started = await at.ledger.submit(start)
        if started.refused is not None:
            raise refusal(started.refused)
        for name in started.outdone:
            await cancels.cancel(at, name, "A newer execution takes its place.")
        if started.send:
            at.outlet.send(started.execution, [(0, "", start.queue)])
        return started

    async def _take_answer(self, run: Run, step: Step, past: Past) -> None:
        """Take what a called execution came to as the outcome of the attempt that called it."""
        at, work = self._services, run.work
        if past.epoch >= run.epoch:  # another has made the call since, and rests
            raise Lost
        called = past.output if isinstance(past.output, dict) else {}
        child, inside = str(called.get("execution", "")), called.get("step")
        began = work.ready_at
        try:
            answer = await at.reader.read(lambda connection: calls.answer(connection, child))
            began = answer.began
            if not answer.ended:  # the time for it is over
                place = (work.facts.execution, work.segment.id, work.item)
                await at.ledger.submit(op.Forsake(*place, child, at.clock.now(), TIMED_OUT))
            if isinstance(inside, str):
                await self._go_on(run, step, inside, {"value": answer.value()}, began)
            else:
                self._succeed(run, step, answer.value(), began, past.tries)
        except Fail as error:
            if isinstance(inside, str):
                await self._go_on(run, step, inside, {"error": error_of(error).to_json()}, began)
            else:
                await self._fail(run, step, error_of(error), past.tries, began)

    async def _call_inside(
        self, run: Run, step: Step, inside: CallsInside, tries: int, started_at: int
    ) -> None:
        """Start what a node calls on its way. What cannot be started is told to the node."""
        try:
            await self._start(run, step, inside.call, tries, started_at, inside)
        except Fail as error:
            await self._go_on(run, step, inside.name, {"error": error_of(error).to_json()}, started_at)

    async def _go_on(self, run: Run, step: Step, name: str, came_to: Json, began: int) -> None:
        """Journal what a step has come to that was a call, and call the node again."""
        limits = self._services.settings.limits
        payload, blob = place(encode(came_to, limits.output_bytes), limits.blob_from_bytes)
        run.blobs.extend([blob] if blob else [])
        now = self._services.clock.now()
        run.entries.append(
            op.Entry(step.node.id, "succeeded", "keyed", name, payload, started_at=began, ended_at=now)
        )
        run.events.append(("step.succeeded", step.node.id, now, {"step": name, "ms": max(0, now - began)}))
        await self._record(run)
        run.work.past[(step.node.id, name)] = Past("succeeded", came_to, None, 1)
        await self._attempt(run, step, None)

    async def _return(self, run: Run, family: Family) -> list[tuple[Work, Hold | None]]:
        """Wake the segment that waits for the end of this execution, if one does."""
        caller = run.work.facts.caller
        if caller is None:
            return []
        failpoint("return.before")
        at, child = self._services, run.work.facts.execution
        ready: list[op.Sendable] = await at.ledger.submit(op.Return(*caller, child, at.clock.now()))
        woken = [(queue, (caller[0], segment, item)) for segment, item, queue in ready]
        return await self._take_up(run, woken, family)

    async def _take_up(
        self, run: Run, ready: Sequence[tuple[str, Reference]], family: Family
    ) -> list[tuple[Work, Hold | None]]:
        """Go on with segments of other executions, as far as this message may; send the others."""
        at = self._services
        near: list[Reference] = []
        for queue, reference in ready:
            if queue == run.work.segment.queue and len(near) < self._budget(family):
                near.append(reference)
            else:
                at.outlet.send(reference[0], [(*reference[1:], queue)])
        if not near:
            return []
        family.count += len(near)
        works = await at.reader.read(lambda connection: load(connection, at.programs, near))
        return [(work, None) for work in works]

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
            error_text = json.dumps(
                {"node": _culprit(work.segment.nodes[run.head], failed), **failed.to_json()}
            )
        if run.leaving is not None:
            self._leave(run)
            taken = (False,) * len(work.segment.exits)
        settle = op.Settle(
            **self._held(run),
            leave=None if run.leaving is None else run.leaving.region,
            closes=run.leaving is not None and run.leaving.closes,
            stops=run.stops,
            taken=taken,
            error=error_text,
            output=run.output,
            failures=run.failures,
            answer=run.answer,
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
            raise Lost
        if settled.answered:
            failpoint("answer.before")
            at.outlet.finished(work.facts.execution, settled.reply_to)
        if settled.finished is None:
            return await self._follow(run, settled, family, horizon)
        at.outlet.finished(work.facts.execution, settled.reply_to)
        self._send_admitted(settled)
        return await self._return(run, family)

    async def _follow(
        self, run: Run, settled: op.Settled, family: Family, horizon: float
    ) -> list[tuple[Work, Hold | None]]:
        """Send what became ready, and take up what is for this process to go on with."""
        at, work = self._services, run.work
        failpoint("dispatch.before")
        if settled.ready:
            at.outlet.send(work.facts.execution, settled.ready)
        self._send_admitted(settled)
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

    def _send_admitted(self, settled: op.Settled) -> None:
        """Send what limits have let in because of this commit, whosever it is."""
        for execution, admitted in settled.admitted:
            self._services.outlet.send(execution, (admitted,))

    def _leave(self, run: Run) -> None:
        """Keep what an instance comes to that ends before its last node, or the whole execution."""
        limits = self._services.settings.limits
        node = run.nodes.get(run.work.segment.nodes[run.head].id)
        value = node.get("output") if isinstance(node, dict) else None
        run.output, blob = place(encode(value, limits.output_bytes), limits.blob_from_bytes)
        run.blobs.extend([blob] if blob else [])

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
        # What is carried from round to round may be old, and what an item came to is not what its map did.
        own = {node.id for node in run.work.segment.nodes}
        at_hand = run.nodes if segment.region == run.work.segment.region else {}
        outputs = {
            name: at_hand[name]
            for name in segment.needs
            if name in at_hand and (name in own or name in run.work.outputs)
        }
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
            winding=claimed.stop == op.WINDING,
        )
        if (
            len(outputs) < len(segment.needs)
            or claimed.fan is not None
            or segment.reads
            or segment.collects
            or facts.based
        ):
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

    async def _record_held(self, run: Run) -> None:
        """Write what is unwritten, unless nobody holds the segment: then others may carry it too, and one of them writes it all.

        What it has come to so far comes out the same for whoever carries it, so nothing depends on its being written by now.
        """
        if not run.pure:
            await self._record(run)

    async def _record(self, run: Run) -> None:
        """Write what is unwritten. Raises `Lost`, or `Stopped`: then nothing was written, and what was to begin has not."""
        answer = await self._services.ledger.submit(op.Record(**self._held(run)))
        if answer is op.Recorded.LOST:
            raise Lost
        if answer is op.Recorded.STOPPING:
            if run.hold is not None:
                run.hold.stop = Stop.CANCELLED
            run.entries = [each for each in run.entries if each.status != "intent"]
            run.events = [each for each in run.events if each[0] != "node.started"]
            raise Stopped
        run.entries, run.events, run.blobs, run.pack = [], [], [], []

    async def _hand_in(self, operation: op.Operation) -> None:
        if not await self._services.ledger.submit(operation):
            raise Lost

    def _held(self, run: Run) -> dict[str, Any]:
        return run.held(self._services.clock.now())

    def _scope(self, run: Run, node: str) -> Scope:
        return scope_of(self._services, run, node)

    def _heart(self, run: Run, step: Step, tries: int) -> Beat:
        """Return what keeps the details of a call's heartbeats. They stand in the journal for the next attempt."""

        async def beat(details: Json) -> None:
            at, limits = self._services, self._services.settings.limits
            now = at.clock.now()
            payload, blob = place(encode(details, limits.output_bytes), limits.blob_from_bytes)
            entry = op.Entry(
                step.node.id, "beat", step=HEARTBEAT, output=payload, tries=tries, started_at=now
            )
            work, blobs = run.work, (blob,) if blob else ()
            place_ = (work.facts.execution, work.segment.id, work.item, run.epoch, run.pure, now)
            answer = await at.ledger.submit(op.Record(*place_, entries=(entry,), blobs=blobs))
            if answer is op.Recorded.LOST:
                raise Lost
            if answer is op.Recorded.STOPPING:
                if run.hold is not None:
                    run.hold.stop = Stop.CANCELLED
                raise Stopped

        return beat

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
                raise Lost
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
            run.events.append(
                ("step.succeeded", step.node.id, done, {"step": name, "ms": max(0, done - now)})
            )
            await self._record(run)
            return value

        return do


def _clean(result: object, secrets: frozenset[str]) -> object:
    """Return a node's result without the credentials it was given."""
    if isinstance(result, (Route, Wait, Exit)):
        return dataclasses.replace(result, value=scrub(result.value, secrets))
    if isinstance(result, Respond):
        headers = {name: str(scrub(value, secrets)) for name, value in result.headers.items()}
        return dataclasses.replace(result, body=scrub(result.body, secrets), headers=headers)
    if isinstance(result, Call):
        return dataclasses.replace(result, input=scrub(result.input, secrets))
    if isinstance(result, Emit):
        return dataclasses.replace(result, data=scrub(result.data, secrets))
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


def _culprit(node: PlanNode, error: NodeError) -> Json:
    """Return the node that an error is of: a part fails as the node in it has."""
    inside = node.container is not None and node.container.part is not None
    return error.details.get("node", node.id) if inside else node.id


def _is_given_up(work: Work) -> bool:
    """Whether the node of a segment is not to be called, so that its type is not needed either."""
    past = work.past.get((work.segment.nodes[0].id, ""))
    passed = work.segment.milestone is not None and past is not None and past.status == "skipped"
    return passed or work.refused is not None


def _is_decided(work: Work) -> bool:
    """Whether the node that a limit is for has an outcome already, so that nothing of it is left to be done."""
    past = work.past.get((work.segment.nodes[0].id, ""))
    return past is not None and past.status in OVER


def _in_flight(run: Run) -> bool:
    """Whether an effect that cannot be repeated may have begun."""
    node = run.work.segment.nodes[run.head]
    return node.effect is Effect.ONCE and run.hold is not None and run.hold.attempt_until is not None
