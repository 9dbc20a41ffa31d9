"""The heart on a workbench, with nodes that do as a stage tells them, and children and a way out that are no more than that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from celeriac import (
    Context,
    Effect,
    NodeType,
    Retry,
    node,
)
from engine.execute import Executor
from engine.leases import _Loop
from engine.registry import Registry
from tests.workbench import OWNER, Workbench

Act = Callable[[Context], Any]


class Config(BaseModel):
    """What a node is handed."""

    text: Any = None


class Stage:
    """Tells each node what to do, by its id: one act a call, the last one for ever after."""

    def __init__(self) -> None:
        self.acts: dict[str, list[Act]] = {}
        self.calls: list[str] = []
        self.seen: list[tuple[str, Any]] = []

    def tell(self, name: str, *acts: Any) -> None:
        """Set what a node does; what is no function is returned, an exception raised."""
        self.acts[name] = [each if callable(each) else does(each) for each in acts]

    def play(self, ctx: Context, config: Config) -> Any:
        self.calls.append(ctx.node_id)
        self.seen.append((ctx.node_id, config.text))
        acts = self.acts.get(ctx.node_id, [lambda _: {"by": ctx.node_id}])
        return (acts.pop(0) if len(acts) > 1 else acts[0])(ctx)


def does(what: Any) -> Act:
    def act(_: Context) -> Any:
        if isinstance(what, BaseException):
            raise what
        return what

    return act


STAGE = Stage()


def declared(name: str, **more: Any) -> NodeType:
    @node(name, **more)
    def run(config: Config, ctx: Context) -> Any:
        """Do as the stage says."""
        return STAGE.play(ctx, config)

    @node(name, **more)
    async def wait(config: Config, ctx: Context) -> Any:
        """Do as the stage says."""
        result = STAGE.play(ctx, config)
        return await result if isinstance(result, Awaitable) else result

    return wait if more.get("effect", Effect.NONE) is not Effect.NONE else run


def slow_declared(name: str) -> NodeType:
    @node(name)
    async def wait(config: Config, ctx: Context) -> Any:
        """Do as the stage says, and take one's time."""
        return await STAGE.play(ctx, config)

    return wait


REGISTRY = Registry(
    [
        declared("pure"),
        declared("forks", ports=("true", "false")),
        declared("waits", waits=True),
        declared("answers", effect=Effect.KEYED, waits=True),
        declared("computes", process=True),
        declared("read", effect=Effect.READ),
        declared("keyed", effect=Effect.KEYED),
        declared("once", effect=Effect.ONCE, retry=Retry(2, on=("x.busy",), jitter=0)),
        declared("quick", effect=Effect.READ, timeout=0.01),
        declared("distant", effect=Effect.READ, queue="far"),
        slow_declared("slow"),
    ]
)


@dataclass
class Link:
    """An opened connection."""

    http: Any = None


class Around:
    """A way out with one connection."""

    def client(self) -> Any:
        return None

    async def connect(self, project: str, name: str, kinds: tuple[str, ...]) -> tuple[Link, frozenset[str]]:
        return Link(), frozenset({"s3cr3t-token"})


class Children:
    """Child processes that do as the stage says too."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any, float]] = []

    async def call(
        self, step: Any, config: Any, context: Any, timeout: float, began: Callable[[], None]
    ) -> Any:
        self.asked.append((step.node.id, config, timeout))
        began()
        result = STAGE.play(context, Config(**config))
        return await result if isinstance(result, Awaitable) else result


class Theatre(Workbench):
    """A workbench whose executor has children and a way out."""

    children: Children

    def executor(self, children: Any = None, around: Any = None, owner: str = OWNER) -> Executor:
        return super().executor(children or self.children, around or Around(), owner)

    async def run(self, body: dict[str, Any], payload: Any = None, **more: Any) -> str:
        """Start and carry an execution as far as it goes."""
        name = self.start(self.push(body), payload, **more)
        await self.carry()
        return name

    async def tick(self, seconds: float) -> None:
        """Let time pass, wake what is due, and carry it."""
        self.clock.move(seconds)
        self.poller().tick()
        await self.carry()


def theatre(folder: Path, **more: Any) -> Theatre:
    made = Theatre(folder, registry=REGISTRY, **more)
    made.children = Children()
    made.leases._loop = _Loop(asyncio.get_running_loop(), 0)
    return made
