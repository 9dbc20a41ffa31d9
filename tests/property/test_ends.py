"""Orders in which scopes are opened, stopped and cancelled while processes die: each ends once, and from the inside outwards."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from engine import operations as op
from tests.builders import document, edges, node
from tests.chaos.checker import effect_key
from tests.chaos.dags import Case
from tests.chaos.world import SINK, World, _play, opened

SEEDS = int(os.environ.get("CELERIAC_TEST_SEEDS", "120"))
BLOCKS = 4

pytestmark = pytest.mark.timeout(600)


def call(name: str, script: str = "ok", **more: Any) -> dict[str, Any]:
    """A node with a keyed effect that the sink counts."""
    body = {"execution": "{{ execution.id }}", "node": name}
    config = {
        "method": "POST",
        "url": f"{SINK}/effect?node={name}&script={script}",
        "idempotent": True,
        "body": body,
    }
    return node(name, "http_request", config, retry={"max_attempts": 9, "delay": 0.1}, **more)


def undone(name: str) -> dict[str, Any]:
    undo = {key: value for key, value in call(f"{name}@undo").items() if key != "id"}
    return call(name, compensate=undo)


INNER = {
    "id": "inner",
    "type": "scope",
    "for_each": {"items": "[1, 2, 3]", "on_item_error": "null"},
    "body": {
        "nodes": [undone("work"), node("rest", "wait", {"for": 0.2}), call("more")],
        "edges": edges("work->rest->more"),
    },
    "finally": {
        "nodes": [node("slowly", "wait", {"for": 0.5}), call("bye", "drop")],
        "edges": edges("slowly->bye"),
    },
}
OUTER = {
    "id": "outer",
    "type": "scope",
    "body": {"nodes": [undone("first"), INNER], "edges": edges("first->inner")},
    "finally": {"nodes": [call("last")]},
}
WAIT = node("pause", "wait", {"for": 1.5})
BESIDE = {
    "nothing": [],
    "failure": [WAIT, node("bad", "fail", {"code": "x.broken", "message": "It broke."})],
    "exit": [WAIT, node("bad", "exit", {"scope": "workflow", "value": 7})],
    "loser": [WAIT, node("bad", "noop"), node("won", "noop", join={"mode": "any", "cancel_rest": True})],
}
ENDS = {"nothing": "succeeded", "failure": "failed", "exit": "succeeded", "loser": "succeeded"}


def ending(beside: str) -> dict[str, Any]:
    """A scope around a map of scopes, and beside it something that may stop it."""
    ways = edges("pause->bad") if BESIDE[beside] else []
    ways += edges("bad->won", "outer->won") if beside == "loser" else []
    return document([OUTER, *BESIDE[beside]], ways, name="ending")


class Impatient(World):
    """A world in which people cancel early, more than once, and now and then by force."""

    forced = False

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed)
        # An end has only so much time, which a clock that is set by minutes would use up.
        self.leaps = False

    def _cancel(self) -> None:
        force = self.rng.random() < 0.1
        execution = self._any()
        self.cancels.add(execution)
        self.forced = self.forced or force
        self._ask(op.Cancel(execution, self.clock.now(), "no longer needed", force=force))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.actors[0].connection.run(sql)


def play(folder: Path, seed: int) -> list[str]:
    """Run one seed to its end. Returns what is wrong."""
    beside = list(BESIDE)[seed // BLOCKS % len(BESIDE)]
    with opened(Impatient(folder, seed)) as world:
        rested = asyncio.run(_play(world, {"ending": Case(ending(beside), {}, {})}, 300))
        return [*([] if rested else ["it does not come to rest"]), *_wrong(world, beside)]


def _wrong(world: Impatient, beside: str) -> list[str]:
    ((name, status),) = world.rows("SELECT id, status FROM execution")
    found = []
    if status not in ({ENDS[beside], "cancelled"} if world.cancels else {ENDS[beside]}):
        found.append(f"it is {status} beside {beside}")
    times = {
        (name, item): (begun, ended)
        for name, item, begun, ended in world.rows(
            "SELECT node, item, started_at, ended_at FROM journal WHERE step = '' AND status <> 'intent'"
        )
    }
    stopped = {
        item
        for item, error in world.rows("SELECT item, error FROM journal WHERE node = 'inner@item@end'")
        if error and json.loads(error)["code"] == "scope.stopped"
    }
    applied = {each.key: 0 for each in world.sink.effects()}
    for each in world.sink.effects():
        applied[each.key] += each.applied
    found += [f"{key} was applied {count} times" for key, count in applied.items() if count > 1]
    opened_ = world.rows("SELECT segment, item FROM segment WHERE fan IS NOT NULL")
    ((version,),) = world.rows("SELECT version_id FROM execution")
    segments = world.programs.plan(version, world.actors[0].connection).segments
    for number, item in opened_:
        container = segments[number].nodes[-1]
        last = {"outer": "last", "inner@item": "bye"}.get(container.id)
        inside = f"{item}.0" if item else "0"
        if last is None or world.forced:
            continue
        if applied.get(effect_key(name, last, inside)) != 1:
            found.append(
                f"{container.id} {item} was opened, and {last} was done {applied.get(effect_key(name, last, inside))} times"
            )
            continue
        work = {"last": "first", "bye": "work"}[last]
        undo = f"{work}@undo"
        if (undo, inside) in times and times[undo, inside][1] > times[last, inside][0]:
            found.append(f"{work} {inside} was undone after {last}")
        owes_undo = last == "bye" and inside in stopped and (work, inside) in times
        if owes_undo and applied.get(effect_key(name, undo, inside)) != 1:
            found.append(f"{work} {inside} was not undone")
        if last == "last":
            late = [each for each in times if each[0] == "bye" and times[each][1] > times["last", inside][0]]
            found += [f"{each} ended after what is around it" for each in late]
    left = world.rows(
        "SELECT segment, item, status FROM segment WHERE status NOT IN ('done', 'failed', 'skipped', 'cancelled')"
    )
    return found + [f"{each} is left" for each in left]


@pytest.mark.parametrize("block", range(BLOCKS))
def test_every_interleaving_ends_each_scope_once_and_from_the_inside(tmp_path: Path, block: int) -> None:
    for seed in range(block, SEEDS, BLOCKS):
        found = play(tmp_path, seed)
        assert not found, (seed, found)
        for left in tmp_path.iterdir():
            left.unlink()
