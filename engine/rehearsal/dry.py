"""A dry run: what an execution would call, with which config, as far as that can be known without calling anything.

What a node with an effect comes to is not known, unless a mock says it; nor is what a pure node makes of it. Such an output
is a gap. A config that reads one is shown with the expression in its place. Where a gap decides which way to go, or how
often, the dry run stops and says so.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic import BaseModel

from celeriac import Context, Effect, Fail, Json, NodeType
from celeriac.contract import Result
from engine import expressions
from engine.expressions import Reference, Scope
from engine.plan import Plan, PlanNode
from engine.programs import Program, Programs, Step
from engine.registry import Registry
from engine.rehearsal.cast import Call, Cast, written
from engine.rehearsal.mocks import Mocks
from engine.rehearsal.stage import Performance, Stage
from engine.settings import Limits

UNKNOWN: Final = "dry.unknown"
_GAP: Final = "@gap"
_OUTPUT_OF: Final = "the output of "


@dataclass(frozen=True, slots=True)
class DryRun:
    """What would be called, in that order, and where it had to stop, if it had to."""

    performance: Performance
    stops: Mapping[str, str]

    def to_json(self) -> dict[str, Json]:
        """Return the form every surface shows."""
        seen = self.performance
        calls = [each for each in seen.part.calls if each.effect is not Effect.NONE]
        body: dict[str, Json] = {
            "status": "stopped" if self.stops else seen.status,
            "calls": [_call_body(each) for each in calls],
            "path": list(seen.path),
        }
        if seen.answer is not None:
            body["answer"] = _filled(seen.answer)
        if self.stops:
            body["stopped"] = [
                {"node": node, "code": UNKNOWN, "message": message, "hint": _hint(message)}
                for node, message in self.stops.items()
            ]
        elif seen.error is not None:
            body["error"] = dict(seen.error)
        elif seen.status == "succeeded":
            body["output"] = _filled(seen.output)
        return body


def dry_run(
    document: Mapping[str, Any],
    payload: Json,
    mocks: Mocks,
    registry: Registry,
    limits: Limits | None = None,
) -> DryRun:
    """Perform a definition without mistakes, calling nothing that has an effect."""
    stops: dict[str, str] = {}
    with Stage(
        document,
        registry,
        limits=limits,
        players=lambda installed: _DryCast(installed, stops),
        programs=lambda played: _DryPrograms(played, stops),
    ) as stage:
        seen = stage.perform(payload, mocks)
    return DryRun(seen, stops)


class Unrendered(BaseModel):
    """A config that reads gaps: their expressions stand in it as they were written."""

    config: dict[str, Any]
    gaps: list[str]
    method: Any = None
    url: Any = None


class _DryCast(Cast):
    """Node types that leave gaps where they would have an effect."""

    def __init__(self, registry: Registry, stops: dict[str, str]) -> None:
        super().__init__(registry)
        self._stops = stops

    def play(self, node_type: NodeType, config: BaseModel, context: Context) -> Any:
        name = written(context.node_id)
        effect = self.effect(node_type, context.node_id)
        if isinstance(config, Unrendered) and effect is Effect.NONE:
            found = self.part.mocks.find(name, context.item, context.attempt, effectful=False)
            if found is None:
                self.part.calls.append(
                    Call(name, context.item, context.attempt, node_type.key, effect, config, mocked=False)
                )
                return self._gap(node_type, context.node_id, config.gaps)
        return super().play(node_type, config, context)

    def without_mock(self, node_type: NodeType, node: str) -> Result | Awaitable[Result]:
        """Leave a gap."""
        return self._gap(node_type, node, [f"{_OUTPUT_OF}{written(node)}"])

    def _gap(self, node_type: NodeType, node: str, gaps: list[str]) -> Result | Awaitable[Result]:
        name, planned = written(node), self.part.plan.nodes[node]
        if node_type.ports_of(planned.config) == ("out",):
            return gap(f"<output of {name}>")
        message = f"Which way {name} goes depends on {gaps[0]}, which is not known."
        return _late(stopped(self._stops, name, message), planned.attempt_timeout)


async def _late(failure: Fail, timeout: float) -> Result:
    """Fail when the branches beside this one have come as far as they can: a failure ends them, too."""
    await asyncio.sleep(timeout * 0.9)
    raise failure


class _DryPrograms(Programs):
    """Programs that look for gaps before they render."""

    def __init__(self, registry: Registry, stops: dict[str, str]) -> None:
        super().__init__(registry)
        self._stops = stops

    def make(self, plan: Plan, registry: Registry) -> Program:
        """Return a program of that kind."""
        return _DryProgram(plan, registry, self._stops)


class _DryProgram(Program):
    """A plan whose steps, conditions and questions know gaps."""

    def __init__(self, plan: Plan, registry: Registry, stops: dict[str, str]) -> None:
        super().__init__(plan, registry)
        self._stops = stops
        if self.outputs is not None:
            self.outputs = cast("expressions.Compiled", _Result(plan.outputs))

    def conditions(self, segment: int) -> tuple[expressions.Template | None, ...]:
        """Return conditions that stop where they read a gap."""
        node = self.plan.segments[segment].nodes[-1].id
        return tuple(
            None
            if each is None
            else cast("expressions.Template", _Decision(each, each.references, node, self._stops))
            for each in super().conditions(segment)
        )

    def _step(self, node: PlanNode) -> Step:
        made = super()._step(node)
        if made.type is not None:
            return _DryStep(**{each.name: getattr(made, each.name) for each in dataclasses.fields(Step)})
        parts: dict[str, Any] = {
            name: _Result(node.config[name])
            if node.ends
            else _Decision(each, each.references, node.id, self._stops)
            for name, each in made.parts.items()
        }
        return dataclasses.replace(made, parts=parts)


class _DryStep(Step):
    """A node whose config may read gaps."""

    def bind(self, scope: Scope) -> BaseModel:
        """Return the config, or what of it can be known."""
        gaps = gaps_in(self.config.references, scope)
        if not gaps:
            return Step.bind(self, scope)
        rendered = cast("dict[str, Any]", _partly(dict(self.node.config), scope, keep=lambda text: text))
        usual = self.type.config.model_fields.get("method") if self.type is not None else None
        method = rendered.get("method", usual.default if usual is not None else None)
        return Unrendered(config=rendered, gaps=gaps, method=method, url=rendered.get("url"))


@dataclass(frozen=True, slots=True)
class _Decision:
    """An expression that decides something: it has to be known."""

    compiled: expressions.Template | expressions.Compiled
    references: tuple[Reference, ...]
    node: str
    stops: dict[str, str]

    def evaluate(self, scope: Scope) -> Json:
        """Return the value of a condition."""
        self._look(scope)
        return cast("expressions.Template", self.compiled).evaluate(scope)

    def render(self, scope: Scope) -> Json:
        """Return the value of a container's question."""
        self._look(scope)
        return cast("expressions.Compiled", self.compiled).render(scope)

    def _look(self, scope: Scope) -> None:
        if gaps := gaps_in(self.references, scope):
            name = written(self.node)
            raise stopped(self.stops, name, f"What follows {name} depends on {gaps[0]}, which is not known.")


@dataclass(frozen=True, slots=True)
class _Result:
    """A result's template: what cannot be known of it is a gap."""

    template: Json

    def render(self, scope: Scope) -> Json:
        """Return what is known."""
        return _partly(self.template, scope, keep=gap)


def gap(words: str) -> dict[str, Json]:
    """Return what stands for an output that is not known."""
    return {_GAP: words}


def gaps_in(references: tuple[Reference, ...], scope: Scope) -> list[str]:
    """Return what is not known of that which is read, in words."""
    met = ((_words(each), _met(scope.values, each.path)) for each in references)
    return list(dict.fromkeys(words for words, value in met if _has_gap(value)))


def stopped(stops: dict[str, str], node: str, message: str) -> Fail:
    """Write down where the dry run cannot go on, and return the failure that ends it there."""
    stops.setdefault(node, message)
    return Fail(UNKNOWN, message)


def _words(reference: Reference) -> str:
    if reference.path[0] == "nodes" and len(reference.path) > 1:
        return f"{_OUTPUT_OF}{written(str(reference.path[1]))}"
    return f"`{reference.path[0]}`"


def _met(value: Any, path: Iterable[str | int]) -> Any:
    """Return what a path leads to: the gap on its way, if there is one; nothing, when it leads nowhere."""
    for key in path:
        if _is_gap(value):
            break
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _is_gap(value: Any) -> bool:
    return isinstance(value, Mapping) and _GAP in value


def _has_gap(value: Any) -> bool:
    if isinstance(value, Mapping):
        return _GAP in value or any(map(_has_gap, value.values()))
    return isinstance(value, list) and any(map(_has_gap, value))


def _partly(value: Json, scope: Scope, keep: Callable[[str], Json]) -> Json:
    """Render what can be known; of what cannot, `keep` makes something of the expression."""
    if isinstance(value, dict):
        return {key: _partly(each, scope, keep) for key, each in value.items()}
    if isinstance(value, list):
        return [_partly(each, scope, keep) for each in value]
    if not isinstance(value, str):
        return value
    template = expressions.compile_template(value)
    return keep(value) if gaps_in(template.references, scope) else template.evaluate(scope)


def _filled(value: Json) -> Json:
    """Return a value with words in place of its gaps."""
    if isinstance(value, dict):
        if _GAP in value:
            return value[_GAP]
        return {key: _filled(each) for key, each in value.items()}
    return [_filled(each) for each in value] if isinstance(value, list) else value


def _call_body(call: Call) -> dict[str, Json]:
    body: dict[str, Json] = {"node": call.node, "type": call.type, "effect": str(call.effect)}
    if call.item:
        body["item"] = call.item
    if call.attempt > 1:
        body["attempt"] = call.attempt
    unknown = call.config if isinstance(call.config, Unrendered) else None
    config = call.config_json() if unknown is None else unknown.config
    for key in ("method", "url"):
        if (value := getattr(call.config, key, None)) is not None:
            body[key] = value
    body["config"] = config
    if unknown is not None:
        body["unknown"] = list(unknown.gaps)
    return {**body, "mocked": call.mocked}


def _hint(message: str) -> str:
    """Say how to go on: with a mock for the node whose output the message says is not known."""
    _, _, named = message.partition(_OUTPUT_OF)
    node = named.partition(",")[0] or "NODE"
    return f'Say what it comes to: --mocks \'{{"{node}": {{"output": ...}}}}\''
