"""Who plays the nodes: pure ones themselves, unless a mock does; those with an effect only a mock.

The engine performs a definition as ever. It is the node types that differ: each is a copy whose function looks for a mock
first, writes down that it was called, and refuses to let anything out of the process.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

from pydantic import BaseModel

from celeriac import Context, Effect, Fail, Json, Link, NodeType
from celeriac.contract import Inline, Result, Waiting
from engine.context import NodeContext
from engine.performance import in_time
from engine.plan import Plan
from engine.programs import Step
from engine.registry import Registry
from engine.rehearsal.mocks import Mock, Mocks

UNMOCKED = "test.unmocked"
_ITEM = "@item"


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt at a node, with the config as it was rendered."""

    node: str
    item: str
    attempt: int
    type: str
    effect: Effect
    config: BaseModel
    mocked: bool

    def config_json(self) -> dict[str, Json]:
        """Return the config as its author would have written it without expressions."""
        return self.config.model_dump(mode="json", by_alias=True, exclude_unset=True)


@dataclass(slots=True)
class Part:
    """What one rehearsal asks of the cast, and what came of it."""

    plan: Plan
    mocks: Mocks
    calls: list[Call] = field(default_factory=list)
    unmocked: dict[str, Effect] = field(default_factory=dict)
    """Nodes that were to have an effect and have no mock."""


class Cast:
    """The node types of one registry, as they are played."""

    def __init__(self, registry: Registry) -> None:
        copies = [dataclasses.replace(each, run=self._playing(each)) for each in registry.everything()]
        self.registry = Registry(copies)
        self.part = Part(Plan((), {}, None, None, ()), Mocks({}))

    def begin(self, part: Part) -> None:
        """Take up another part."""
        self.part = part

    def _playing(self, node_type: NodeType) -> Inline | Waiting:
        def run(config: BaseModel, context: Context) -> Any:
            return self.play(node_type, config, context)

        return run

    def play(self, node_type: NodeType, config: BaseModel, context: Context) -> Result | Awaitable[Result]:
        """Do what the node does in this rehearsal. Raises what its mock raises."""
        name = written(context.node_id)
        effect = self.effect(node_type, context.node_id)
        found = self.part.mocks.find(name, context.item, context.attempt, effectful=effect is not Effect.NONE)
        self.part.calls.append(
            Call(
                name,
                context.item,
                context.attempt,
                node_type.key,
                effect,
                config,
                found is not None,
            )
        )
        if found is not None:
            mock, last = found
            return _taking(mock, context, last=last) if mock.takes else mock.come_true(last=last)
        if effect is Effect.NONE:
            return node_type.run(config, context)
        return self.without_mock(node_type, context.node_id)

    def without_mock(self, node_type: NodeType, node: str) -> Result | Awaitable[Result]:
        """Refuse to have an effect."""
        name, effect = written(node), self.effect(node_type, node)
        self.part.unmocked.setdefault(name, effect)
        raise Fail(UNMOCKED, unmocked_words(name, effect))

    def effect(self, node_type: NodeType, name: str) -> Effect:
        """Return the effect a node has. What its author declares harmless counts as what its type says: it would get out."""
        node = self.part.plan.nodes[name]
        return node.effect if node.effect is not Effect.NONE else node_type.effect_of(node.config)


async def _taking(mock: Mock, context: Context, *, last: bool) -> Result:
    """Take one's time, as a node does that sends its heartbeats."""
    if isinstance(context, NodeContext):
        context.pulse.excuse()
    await asyncio.sleep(mock.takes)
    return mock.come_true(last=last)


def written(node: str) -> str:
    """Return the id that the author gave to a node: one that is repeated alone has another inside the repetition."""
    return node.removesuffix(_ITEM)


def unmocked_words(name: str, effect: Effect) -> str:
    """Say what is missing."""
    return f"The node {name} has the effect {effect}, and the test has no mock for it."


def unmocked_hint(name: str) -> str:
    """Say what to do about it."""
    return f'Add it to `mocks`: "{name}": {{"output": ...}}'


class Walls:
    """The surroundings of a rehearsal: there is no way out of it."""

    def client(self) -> NoReturn:
        """Refuse."""
        raise Fail("egress.no_way_out", "Nothing leaves a rehearsal.")

    async def connect(self, project: str, name: str, kinds: tuple[str, ...]) -> tuple[Link, frozenset[str]]:
        """Refuse."""
        kind = f" ({' or '.join(kinds)})" if kinds else ""
        message = f"Nothing leaves a rehearsal: the connection {name}{kind} of {project} is not opened."
        raise Fail("egress.no_way_out", message)


class Understudies:
    """Nodes that compute in a child process elsewhere do it here, in this one."""

    async def call(
        self, step: Step, config: Json, context: NodeContext, timeout: float, began: Callable[[], None]
    ) -> Any:
        """Return what the node returns; raise what it raises."""
        began()
        node_type = cast("NodeType", step.type)
        returned = node_type.run(node_type.config.model_validate(cast("Mapping[str, Any]", config)), context)
        if not isinstance(returned, Awaitable):
            return returned
        return await in_time(returned, timeout, context.pulse)
