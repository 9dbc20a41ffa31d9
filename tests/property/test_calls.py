"""Orders in which calls, ends, cancels and deaths can happen: each seed is one, and each keeps what calls promise."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from engine import catalog, execute, identity, ledger
from engine.transitions import ending
from tests.builders import document, edges, node
from tests.chaos import checker
from tests.chaos.drafts import Case
from tests.chaos.world import World, _play, at_place

SEEDS = int(os.environ.get("CELERIAC_TEST_SEEDS", "120"))
BLOCKS = 4

pytestmark = pytest.mark.timeout(600)

LEAF = document(
    [
        node("rest", "wait", {"for": 0.2}),
        node("odd", "if", {"condition": "n % 3 == 0"}),
        node("no", "fail", {"code": "leaf.odd", "message": "No."}),
        node("yes", "transform", {"expression": "n * 10"}),
    ],
    [
        *edges("rest->odd"),
        {"from": "odd", "to": "no", "port": "true"},
        {"from": "odd", "to": "yes", "port": "false"},
    ],
    name="leaf",
    outputs="{{ nodes.yes.output }}",
)
MIDDLE = document(
    [
        node(
            "down",
            "workflow",
            {"workflow": "leaf", "input": {"n": "{{ n }}"}},
            retry={"max_attempts": 2, "delay": 0.1},
        ),
        node("free", "workflow", {"workflow": "leaf", "input": {"n": 1}, "wait": False}),
    ],
    edges("down->free"),
    name="middle",
    outputs="{{ nodes.down.output }}",
)
TOP = document(
    [
        node(
            "each",
            "workflow",
            {"workflow": "middle", "input": {"n": "{{ item }}"}},
            for_each={"items": "[1, 2, 3, 4]", "on_item_error": "null"},
        )
    ],
    name="top",
    outputs="{{ nodes.each.output }}",
)


class Callers(World):
    """A world in which anything that runs may be cancelled or held, called ones too."""

    cancelling = True

    def push(self, body: dict[str, Any]) -> None:
        self.actors[0].ask_all([catalog.push(body, self.registry, self.clock)])

    def _any(self) -> str:
        rows = self.actors[0].connection.run("SELECT id FROM execution ORDER BY id")
        self._last = str(self.rng.choice(rows)[0])
        if all(each.execution != self._last for each in self.ops):
            self.ops.append(checker.Op(self._last, "ok", self._last, self.clock.now()))
        return self._last

    def _cancel(self) -> None:
        if self.cancelling:
            super()._cancel()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.actors[0].connection.run(sql)


def play(folder: Path, seed: int, *, cancelling: bool) -> list[str]:
    """Run one seed to its end. Returns what is wrong."""
    with ExitStack() as stack:
        world = Callers(folder, seed)
        world.cancelling = cancelling
        stack.callback(world.close)
        stack.enter_context(mock.patch.object(identity, "is_dead", world.is_dead))
        for module in (execute, ledger, ending):
            stack.enter_context(mock.patch.object(module, "failpoint", at_place))
        world.push(LEAF)
        world.push(MIDDLE)
        ended = asyncio.run(_play(world, {"top": Case(TOP, {}, {})}, 400))
        for _ in range(3):
            world.clock.move(1)
            world.actors[0].poller.tick()
        return [*([] if ended else [f"it does not come to rest with seed {seed}"]), *_wrong(world)]


def _wrong(world: Callers) -> list[str]:
    found = []
    if world.rows("SELECT 1 FROM execution WHERE told = 0"):
        found.append("an end was not told")
    if world.rows("SELECT 1 FROM segment WHERE status = 'cancelled' AND child IS NOT NULL"):
        found.append("a called execution was forgotten")
    tries = world.rows(
        "SELECT j.execution_id, j.node, j.item, j.tries, (SELECT count(*) FROM execution c WHERE "
        "c.parent_execution = j.execution_id AND c.parent_item = j.item AND c.idempotency_key LIKE "
        "'call:' || j.execution_id || ':' || j.node || ':' || j.item || ':%') "
        "FROM journal j WHERE j.node IN ('each@item', 'down', 'free') AND j.status <> 'waived'"
    )
    found += [
        f"{each[:3]} has {each[4]} children in {each[3]} attempts" for each in tries if each[3] != each[4]
    ]
    for parent, status, children in world.rows(
        "SELECT p.id, p.status, group_concat(c.status) FROM execution p JOIN execution c ON c.parent_execution = p.id "
        "WHERE p.status IN ('cancelled', 'failed') GROUP BY p.id, p.status"
    ):
        if status == "cancelled" and not world.cancels:
            found.append(f"{parent} is cancelled, and nobody asked: {children}")
    ((status, output),) = world.rows("SELECT status, output FROM execution WHERE depth = 0")
    if not world.cancels and (status, json.loads(output or "null")) != ("succeeded", [10, 20, None, 40]):
        found.append(f"the result is {status} {output}")
    return found


@pytest.mark.parametrize("cancelling", [True, False])
@pytest.mark.parametrize("block", range(BLOCKS))
def test_every_interleaving_keeps_what_calls_promise(tmp_path: Path, block: int, cancelling: bool) -> None:
    for seed in range(block, SEEDS, BLOCKS * 2):
        found = play(tmp_path, seed, cancelling=cancelling)
        assert not found, (seed, found)
        for left in tmp_path.iterdir():
            left.unlink()
