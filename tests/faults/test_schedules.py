"""A scheduler is killed in the middle of what it does; each slot starts one execution, and none is left out."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from engine.triggers import schedules
from tests.builders import Client, Process, document, environment, node, prepared, wait_until
from tests.servers import Postgres

PLACES = ("commit.before=kill@3", "commit.after=kill@3", "fire.after=kill@3")
SCHEDULES = 20
NO_BROKER = "redis+socket:///nowhere"
"""What is accepted here is not carried out."""

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=["sqlite", "postgresql"])
def around(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """An installation with nothing but a migrated database."""
    with ExitStack() as opened:
        url = None
        if request.param == "postgresql":
            server: Postgres = request.getfixturevalue("postgres")
            template = server.template("migrated", lambda made: _migrate(tmp_path, made))
            url = opened.enter_context(server.database(template))
        yield environment(tmp_path, NO_BROKER, url)


def _migrate(folder: Path, url: str) -> None:
    prepared(environment(folder, NO_BROKER, url))


@pytest.mark.parametrize("rule", PLACES)
def test_a_scheduler_that_dies_leaves_each_slot_to_one_execution(
    around: dict[str, str], tmp_path: Path, rule: str
) -> None:
    client = Client(prepared(around), poll=False)
    line = ["-m", "celeriac", "poller"]
    dying = Process(
        line, {**around, "CELERIAC_TEST": "1", "CELERIAC_FAILPOINTS": rule}, tmp_path / "dying.log"
    )
    after: list[Process] = []
    try:
        at = client.runtime
        active = client.push(document([node("a")]))
        config = {"every": 1, "overlap": "allow", "misfire": {"policy": "all", "max": 1000}}
        for number in range(SCHEDULES):
            name = f"sched_{number:02}"
            at.ledger.ask(schedules.add(name, active.workflow, f"s{number}", config, at.clock.now()))
        wait_until(lambda: dying.code is not None, 40, "a death")
        assert dying.code == -signal.SIGKILL, dying.said()
        died_at = at.clock.now()
        after += [Process(line, around, tmp_path / f"after-{number}.log") for number in range(2)]
        least = "SELECT min(coalesce(last_slot, 0)) FROM schedule"
        wait_until(lambda: client.query(least)[0][0] > died_at + 1_000, 40, "slots behind the death")
    finally:
        for each in (dying, *after):
            if each.code is None:
                each.kill()
    rows = client.query("SELECT trigger_event FROM execution")
    found = Counter(
        (event["schedule"], event["scheduled_at"]) for (text,) in rows for event in [json.loads(text)]
    )
    assert set(found.values()) == {1}
    for number in range(SCHEDULES):
        name = f"sched_{number:02}"
        ((first, last, count),) = client.query(
            "SELECT min(CAST(key AS BIGINT)), max(CAST(key AS BIGINT)), count(*) FROM inbox WHERE source = ?",
            name,
        )
        assert count == (last - first) // 1_000 + 1 == sum(schedule == name for schedule, _ in found)
    client.close()
