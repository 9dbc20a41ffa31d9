"""Real child processes: one is shared by a test's calls, and every one is gone at its end."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvloop

from celeriac import Fail, Json, Wait
from engine.context import NodeContext
from engine.performance import ChildDied, NoChild, NodeSilent, NodeTimeout
from engine.pulse import Pulse
from engine.settings import Settings
from tests.workbench import NOW
from worker import children as module
from worker.children import Children, NodeCrashed


@pytest.fixture
def children(tmp_path: Path) -> Children:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    modules = ("nodes", "tests.nodes")
    return Children(Settings(url, "memory://", tmp_path, node_modules=modules, children=1))


def on_a_workers_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on the event loop workers have, and leave no child behind."""

    @functools.wraps(test)
    def run(children: Children, **more: Any) -> None:
        async def whole() -> None:
            try:
                await test(children=children, **more)
            finally:
                await children.end()
            assert len(children) == 0

        uvloop.run(whole())

    return run


async def call(
    children: Children, name: str, config: Json = None, timeout: float = 30, began: Any = None
) -> Any:
    step = SimpleNamespace(node=SimpleNamespace(type=name))
    context = NodeContext("exec_1", "a", "", 1, NOW, "proj", None, None, 10)
    return await children.call(cast("Any", step), config or {}, context, timeout, began or (lambda: None))


@on_a_workers_loop
async def test_a_call_begins_when_a_child_takes_it_up_and_not_while_it_waits_its_turn(
    children: Children,
) -> None:
    begun: list[str] = []
    async with asyncio.TaskGroup() as group:
        for name in ("first", "second"):
            group.create_task(
                call(children, "compute", {"seconds": 0.05}, 30, lambda name=name: begun.append(name))
            )
        await asyncio.sleep(0)
        assert len(begun) <= 1
        while not begun:
            await asyncio.sleep(0.001)
        assert begun == ["first"]
    assert begun == ["first", "second"]
    assert len(children) == 1


@on_a_workers_loop
async def test_outcomes_come_through_and_the_child_lives_on(children: Children) -> None:
    assert await call(children, "compute", {"value": [1]}) == [1]
    rest = await call(children, "wait", {"for": 5})
    assert isinstance(rest, Wait)
    assert rest.until == NOW + 5_000
    with pytest.raises(Fail) as caught:
        await call(children, "misfit", {"kind": "deep", "size": 100_000})
    assert caught.value.code == "node.output_invalid"
    with pytest.raises(NodeCrashed) as crashed:
        await call(children, "compute", {"seconds": "soon"})
    assert "ValidationError" in crashed.value.error.kinds
    assert len(children) == 1


@on_a_workers_loop
async def test_a_child_that_died_while_it_was_idle_costs_nobody_anything(children: Children) -> None:
    assert await call(children, "compute", {"value": 1}) == 1
    (idle,) = children._all
    idle.process.kill()
    await idle.process.wait()
    assert await call(children, "compute", {"value": 2}) == 2
    assert idle not in children._all


@on_a_workers_loop
async def test_a_child_that_dies_at_work_is_told_from_a_node_that_fails(children: Children) -> None:
    with pytest.raises(ChildDied, match="exit code 3"):
        await call(children, "die", {"kind": "exit"})
    with pytest.raises(ChildDied, match="signal 9"):
        await call(children, "die")
    with pytest.raises(NodeTimeout):
        await call(children, "compute", {"seconds": 30}, 0.01)


@on_a_workers_loop
async def test_the_time_a_child_takes_to_start_is_not_the_nodes(children: Children) -> None:
    assert await call(children, "compute", {"value": 1}, 0.1) == 1


@on_a_workers_loop
async def test_a_machine_that_cannot_start_a_child_is_asked_again_and_the_node_has_not_failed(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSES", (0, 0))
    real, refusals = asyncio.create_subprocess_exec, [OSError(11, "Resource temporarily unavailable")] * 2

    async def start(*arguments: Any, **more: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return await real(*arguments, **more)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    assert await call(children, "compute", {"value": 1}) == 1
    await children.end()
    await asyncio.sleep(0)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  a path of the kernel
    refusals.extend([OSError(11, "Resource temporarily unavailable")] * 3)
    with pytest.raises(NoChild, match="could be started"):
        await call(children, "compute", {"value": 1})
    await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208


async def turn(children: Children, name: str, config: Json, most: float | None, last: Json = None) -> Any:
    """Call a node that tells of each page it has turned. Returns what it came to and what it told."""
    told: list[Json] = []

    async def beat(details: Json) -> None:
        told.append(details)

    step = SimpleNamespace(node=SimpleNamespace(type=name))
    context = NodeContext("exec_1", "a", "", 1, NOW, "proj", None, None, 10, last, Pulse(most), beat)
    try:
        return await children.call(cast("Any", step), config, context, 30, lambda: None), told
    except NodeSilent as error:
        return str(error.message), told


@pytest.mark.parametrize("name", ["pages_apart", "counts"])
@on_a_workers_loop
async def test_the_heartbeats_of_a_child_are_those_of_its_call(children: Children, name: str) -> None:
    assert await turn(children, name, {"pages": 3}, 20) == ([0, 1, 2], [0, 1, 2])
    assert await turn(children, name, {"pages": 3}, 20, last=1) == ([2], [2])


@pytest.mark.parametrize("name", ["pages_apart", "counts"])
@on_a_workers_loop
async def test_a_child_that_is_silent_for_too_long_is_killed(children: Children, name: str) -> None:
    message, told = await turn(children, name, {"pages": 3, "stuck": 2}, 0.3)
    assert (message, told) == ("The attempt sent no heartbeat for 0.3 s; its process was killed.", [0, 1])
    assert len(children) == 0
