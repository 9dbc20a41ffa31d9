"""Mutexes and limits in the world where a seed decides everything: no key is ever held by more than may hold it."""

from __future__ import annotations

import dataclasses
import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pytest

from engine.store.database import Connection
from tests.builders import document, node
from tests.chaos import checker, world
from tests.chaos.drafts import Case
from tests.property.test_interleavings import drawn

SEEDS = int(os.environ.get("CELERIAC_TEST_SEEDS", "60"))
BLOCKS = 2
LIMITS: dict[str, dict[str, Any]] = {
    "door": {"mutex": "door"},
    "hall": {"concurrency": {"key": "hall", "limit": 2}},
    "road": {"rate": {"key": "road", "limit": 3, "period": "2s"}},
}
MOST = {"door": 1, "hall": 2, "": 1_000}

CROWD = Case(
    document(
        [
            node(
                name,
                "http_request",
                {
                    "method": "POST",
                    "url": f"{world.SINK}/effect?node={name}&script=ok",
                    "body": {"execution": "{{ execution.id }}", "node": name, "value": 1},
                    "idempotent": True,
                },
                **LIMITS["door"],
            )
            for name in ("c1", "c2", "c3")
        ],
        [],
        "crowd",
    ),
    {},
    {},
)
"""Calls that want the door all at once: in nearly every world somebody waits."""

pytestmark = pytest.mark.timeout(600)


def limited(case: Case, rng: random.Random) -> Case:
    """The case with limits on most of its nodes.

    A repeated scope gets none: with one its nodes stand a level deeper, where the judge does not look for their effects.
    """
    document = json.loads(json.dumps(case.document))
    for each in document["definition"]["nodes"]:
        name = rng.choice([*LIMITS, "door", None])
        deep = "body" in each and ("for_each" in each or "loop" in each)
        if name is not None and not deep:
            each.update(LIMITS[name])
    return dataclasses.replace(case, document=document)


class Watched(world.World):
    """A world in which every commit is looked at."""

    wrong: ClassVar[list[str]] = []
    """A failure in the midst of it would leave coroutines that nothing answers any more."""
    grants = waits = 0

    def _commit(self) -> None:
        super()._commit()
        self._watch()

    def _tick(self) -> None:
        super()._tick()
        self._watch()

    def _watch(self) -> None:
        connection = self.actors[0].connection
        holders = connection.run("SELECT execution_id, segment, item, key FROM hold WHERE granted = 1")
        Watched.grants = max(Watched.grants, len(holders))
        Watched.waits += connection.run("SELECT count(*) FROM hold WHERE granted = 0")[0][0]
        over = {key: count for key, count in Counter(row[3] for row in holders).items() if count > MOST[key]}
        without = self._running(connection) - {row[:3] for row in holders}
        if over or without:
            Watched.wrong.append(f"held by more than may: {over}; at work and not let in: {without}")

    def evidence(self) -> checker.Evidence:
        Watched.wrong += map(str, self.actors[0].connection.run("SELECT * FROM hold"))
        return super().evidence()

    def _running(self, connection: Connection) -> set[tuple[Any, ...]]:
        """The segments at work that have to hold a key."""
        rows = connection.run(
            "SELECT s.execution_id, s.segment, s.item, e.version_id FROM segment s JOIN execution e "
            "ON e.id = s.execution_id WHERE s.status = 'running'"
        )
        found = set()
        for *place, version in rows:
            limits = self.programs.plan(version, connection).segments[place[1]].limits
            if limits is not None and limits.concurrency is not None:
                found.add(tuple(place))
        return found


@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_interleaving_lets_more_in_than_may(
    tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world, "World", Watched)
    for seed in range(block, SEEDS, BLOCKS):
        rng = random.Random(seed)
        cases = {name: limited(case, rng) for name, case in drawn(seed).items()} | {"crowd": CROWD}
        found = world.play(tmp_path, seed, cases, steps=600)
        assert not found, found[0]
        assert not Watched.wrong, f"with seed {seed} {Watched.wrong[0]}"
        for left in tmp_path.iterdir():
            left.unlink()
    assert Watched.grants > 1
    assert Watched.waits > 100
