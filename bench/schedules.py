"""`python3 -m bench.schedules [--schedules N] [--every SECONDS] [--seconds S] [--stack sqlite|postgresql]`.

How late one scheduler starts what many schedules stand for: the time from a slot to the birth of its execution, as the rows
tell it. The slots are spread over the interval; nothing carries the executions out.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

from bench import processes
from bench.stacks import STACKS, environment, servers
from celeriac import Json
from engine import catalog
from engine.registry import Registry
from engine.runtime import assemble
from engine.settings import Settings, from_environment
from engine.store import schema
from engine.store.database import open_database
from engine.store.sql import Insert, columns
from engine.triggers.registration import API, SCHEDULE, stored
from engine.triggers.slots import next_slots
from engine.triggers.spec import Spec
from tests.servers import Den

WORKFLOWS = 100
_INSERT = Insert(
    "schedule",
    columns(
        "id project_id workflow_id name origin kind spec slot due created_at updated_at",
        slot="bigint",
        due="bigint",
        created_at="bigint",
        updated_at="bigint",
    ),
)


def main(arguments: Sequence[str]) -> int:
    """Measure one stack and print one JSON object."""
    parser = argparse.ArgumentParser(
        prog="python3 -m bench.schedules", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument("--schedules", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=600, help="the interval of each, in seconds")
    parser.add_argument("--seconds", type=int, default=60, help="for how long")
    parser.add_argument("--stack", choices=STACKS, default="sqlite")
    given = parser.parse_args(arguments)
    with ExitStack() as ending:
        found = ending.enter_context(servers(given.stack))
        den = Den()
        ending.callback(den.clear)
        around = environment(den.folder, found)
        settings = from_environment(around)
        schema.migrate(settings, time.time_ns() // 1_000_000)
        begun = _prepare(settings, given.schedules, given.every)
        line = [sys.executable, "-m", "celeriac", "poller"]
        poller = den.start(line, quits_on=signal.SIGTERM, environment=around)
        roles = {"scheduler": [poller.pid]}
        before = processes.snapshot(roles)
        time.sleep(given.seconds)
        spent = processes.spent(before, processes.snapshot(roles))["scheduler"]
        body = _measured(settings, begun, poller, spent)
        print(
            json.dumps({"stack": given.stack, "schedules": given.schedules, "every_s": given.every, **body})
        )
    return 0


def _prepare(settings: Settings, count: int, every: int) -> int:
    """Write the schedules down, their slots spread over the interval. Returns the time of the first look."""
    at = assemble(settings, poll=False)
    registry = Registry.load(["nodes"])
    names = []
    for number in range(WORKFLOWS):
        document = {"name": f"w{number}", "definition": {"nodes": [{"id": "a", "type": "noop"}]}}
        names.append(at.ledger.ask(catalog.push(document, registry, at.clock)).workflow)
    at.close()
    connection = open_database(settings).connect()
    now = connection.now() + 5_000
    for begin in range(0, count, 5_000):
        rows = []
        for number in range(begin, min(begin + 5_000, count)):
            offset = round(every * 1000 * number / count) / 1000
            config = {"every": every, "offset": offset, "overlap": "allow"}
            (slot,) = next_slots(Spec.parse(config), now, 1)
            workflow = names[number % WORKFLOWS]
            fields = (
                f"sched_{number:06}",
                "proj_default",
                workflow,
                f"s{number}",
                API,
                SCHEDULE,
                stored(config),
            )
            rows.append((*fields, slot, slot, now, now))
        connection.begin()
        connection.insert(_INSERT, rows)
        connection.commit()
    connection.close()
    return now


def _measured(
    settings: Settings, begun: int, poller: subprocess.Popen[bytes], spent: float
) -> dict[str, Json]:
    connection = open_database(settings).connect()
    # The time the scheduler took to start is not the time it takes.
    rows = connection.run(
        "SELECT e.created_at - CAST(i.key AS BIGINT) FROM inbox i JOIN execution e ON e.id = i.execution_id "
        "WHERE CAST(i.key AS BIGINT) > ? ORDER BY 1",
        (begun + 5_000,),
    )
    now = connection.now()
    ((late,),) = connection.run("SELECT count(*) FROM schedule WHERE due < ?", (now - 1_500,))
    connection.close()
    lags: list[int] = [row[0] for row in rows]
    if not lags or poller.poll() is not None:
        message = "The scheduler has started nothing."
        raise SystemExit(message)

    def share(part: float) -> Json:
        return lags[min(len(lags) - 1, int(len(lags) * part))]

    return {
        "started": len(lags),
        "lag_p50_ms": share(0.5),
        "lag_p99_ms": share(0.99),
        "lag_max_ms": lags[-1],
        "overdue_at_the_end": late,
        "us_of_processor_a_start": round(spent * 1e6 / len(lags)),
        "load": round(os.getloadavg()[0], 1),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
