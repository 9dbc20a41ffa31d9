from __future__ import annotations

import json
from typing import Any, cast

from celeriac import Json
from engine import admission, retention
from engine import operations as op
from engine.access import invitations, sessions, users
from engine.encoding import place
from engine.retention import Purged
from engine.settings import DEFAULT_PROJECT
from tests.builders import document, node
from tests.workbench import Workbench

DAY = 86_400_000


COUNT = {
    "blob": "SELECT count(*) FROM blob",
    "event_log": "SELECT count(*) FROM event_log",
    "execution": "SELECT count(*) FROM execution",
    "invitation": "SELECT count(*) FROM invitation",
    "session": "SELECT count(*) FROM session",
}
OF = (
    "SELECT execution_id FROM segment",
    "SELECT execution_id FROM journal",
    "SELECT execution_id FROM event",
    "SELECT execution_id FROM signal",
    "SELECT execution_id FROM subscription",
)


def rows(bench: Workbench, table: str) -> int:
    count: int = bench.query(COUNT[table])[0][0]
    return count


def purge(bench: Workbench, days: float = 1) -> Purged:
    now = bench.clock.now()
    return retention.purge(bench.database, now - round(days * DAY), now)


async def test_what_ended_long_ago_goes_with_all_it_kept_and_the_rest_stays(bench: Workbench) -> None:
    active = bench.push(document([node("n")]))
    bench.start(active)
    await bench.carry()
    bench.clock.move(2 * 86_400)
    young = bench.start(active)
    await bench.carry()
    waiting = bench.start(bench.push(document([node("rest", "wait", {"for": "9d"})], name="slow")))
    await bench.carry()
    assert purge(bench).executions == 1
    assert {row[0] for row in bench.query("SELECT id FROM execution")} == {young, waiting}
    for query in OF:
        assert {row[0] for row in bench.query(query)} <= {young, waiting}


async def test_more_than_a_batch_goes_in_several(bench: Workbench) -> None:
    active = bench.push(document([node("n")]))
    for _ in range(retention.BATCH + 30):
        bench.start(active)
    await bench.carry()
    bench.clock.move(2 * 86_400)
    steps: list[int] = []
    now = bench.clock.now()
    retention.purge(bench.database, now - DAY, now, lambda gone: steps.append(gone.executions))
    assert steps == [retention.BATCH, retention.BATCH + 30]
    assert rows(bench, "execution") == 0


async def test_a_blob_goes_with_the_last_that_names_it(bench: Workbench) -> None:
    active = bench.push(document([node("n", "set", {"values": {"t": "{{ t }}"}})]))
    old: Json = {"t": "x" * 40_000}
    shared: Json = {"t": "y" * 40_000}
    bench.start(active, old)
    bench.start(active, shared)
    await bench.carry()
    bench.clock.move(2 * 86_400)
    bench.start(active, shared)
    await bench.carry()
    before = rows(bench, "blob")
    gone = purge(bench)
    assert (gone.executions, gone.blobs) == (2, 2)
    assert rows(bench, "blob") == before - 2
    named = "SELECT blob FROM journal UNION SELECT input_blob FROM execution UNION SELECT output_blob FROM execution"
    assert {row[0] for row in bench.query("SELECT hash FROM blob")} == {
        row[0] for row in bench.query(named) if row[0]
    }


async def test_what_a_later_execution_is_based_on_stays(bench: Workbench) -> None:
    active = bench.push(document([node("n")]))
    base = bench.start(active)
    await bench.carry()
    bench.clock.move(2 * 86_400)
    bench.start(active, base=base)
    assert purge(bench).executions == 0


def test_an_execution_with_an_effect_at_work_stays(bench: Workbench) -> None:
    execution = bench.start(
        bench.push(document([node("n", "http_request", {"url": "https://example.com"}), node("m")]))
    )
    now = bench.clock.now()
    bench.connection.run("UPDATE execution SET finished_at = ? WHERE id = ?", (now, execution))
    bench.ask(op.Claim(execution, 0, "", "elsewhere:1:1", now, now + 15_000))
    bench.connection.run("UPDATE segment SET status = 'running' WHERE execution_id = ?", (execution,))
    bench.clock.move(2 * 86_400)
    assert purge(bench).executions == 0


def test_marks_of_writers_are_kept_for_a_day(bench: Workbench) -> None:
    bench.push(document([node("n")]))
    assert purge(bench).marks == 0
    bench.clock.move(2 * 86_400)
    assert purge(bench).marks == 1


async def test_published_events_go_when_they_have_expired_with_what_only_they_named(bench: Workbench) -> None:
    now = bench.clock.now()
    text = json.dumps("x" * 40_000)
    payload, blob = place(text, 32 * 1024)
    assert blob is not None
    for name, lasts in (("evt_a", DAY), ("evt_b", 9 * DAY)):
        bench.ask(op.Publish(name, "proj_default", "t", "", now, now + lasts, payload, (blob,)))
    assert purge(bench).events == 0
    bench.clock.move(2 * 86_400)
    gone = purge(bench)
    assert (gone.events, gone.blobs, rows(bench, "event_log")) == (1, 0, 1)
    bench.clock.move(9 * 86_400)
    gone = purge(bench)
    assert (gone.events, gone.blobs) == (1, 1)


async def test_the_signal_of_a_wait_goes_with_its_execution(bench: Workbench) -> None:
    now = bench.clock.now()
    active = bench.push(document([node("pause", "wait", {"event": {"type": "t"}})]))
    name = bench.start(active)
    await bench.carry()
    payload, blob = place(json.dumps("x" * 40_000), 32 * 1024)
    assert blob is not None
    published = bench.ask(op.Publish("evt_a", "proj_default", "t", "", now, now + DAY, payload, (blob,)))
    bench.outlet.send(name, [ready for _, ready in published.ready])
    await bench.carry()
    bench.clock.move(3 * 86_400)
    gone = purge(bench)
    assert (gone.executions, gone.events, rows(bench, "blob")) == (1, 1, 0)
    for query in OF:
        assert bench.query(query) == []


def test_what_an_execution_spent_goes_with_it_and_what_its_workflow_spent_stays(bench: Workbench) -> None:
    name = bench.start(bench.push(document([node("n")])))
    spend = "INSERT INTO budget VALUES (?, ?, 'total', NULL, 5, 0, 0, 5, '[]')"
    use = "INSERT INTO usage VALUES (?, ?, 'wf', ?, 'n', '', 'openai', 'gpt-4', 1, 1, 0, NULL, 1, 0)"
    for scope in (f"execution:{name}", f"node:{name}:n:", "execution:other", "node:other:n:", "project"):
        bench.ask(lambda connection, scope=scope: connection.run(spend, (DEFAULT_PROJECT, scope)))
    for use_id, execution in (("use_1", name), ("use_2", "other")):
        row = (use_id, DEFAULT_PROJECT, execution)
        bench.ask(lambda connection, row=row: connection.run(use, row))
    bench.ask(op.Cancel(name, bench.clock.now(), "x"))
    bench.clock.move(2 * 86_400)
    assert purge(bench).executions == 1
    assert bench.query("SELECT scope FROM budget ORDER BY scope") == [
        ("execution:other",),
        ("node:other:n:",),
        ("project",),
    ]
    assert bench.query("SELECT id FROM usage") == [("use_2",)]


def test_sessions_and_invitations_that_are_over_go(bench: Workbench) -> None:
    now = bench.clock.now()
    user = bench.ask(users.create("user_1", "ann", None, now, owns=False))["id"]
    for number, at in enumerate((now, now + 1)):
        _, change = sessions.open_(b"k", f"sess_{number}", user, "password", bytes([number]) * 32, at, "", "")
        bench.ask(change)
        bench.ask(invitations.issue(f"cli_{number}", f"user_{number}", at))
    end = now + sessions.LASTS_MS + 1
    gone = retention.purge(bench.database, now, end)
    assert (gone.sessions, rows(bench, "session"), rows(bench, "invitation")) == (1, 1, 0)


async def test_arrivals_go_with_what_they_started_and_after_a_day_at_least(bench: Workbench) -> None:
    active = bench.push(document([node("n")]))

    def arrive(key: str, *starts: op.Start, status: str = "started") -> None:
        bench.ask(op.Arrive((op.Arrival("hook", key, active.project, bench.clock.now(), starts, status),)))

    def started() -> op.Start:
        return admission.operation(cast("Any", bench), admission.Request(active, {}))

    ended, open_ = started(), started()
    arrive("ended", ended)
    arrive("open", open_)
    arrive("failed", status="failed")
    bench.outlet.sent.append(("default", (ended.execution, 0, "")))
    await bench.carry()
    bench.clock.move(12 * 3_600)
    assert purge(bench, 0.1).arrivals == 0
    bench.clock.move(13 * 3_600)
    arrive("young", status="failed")
    gone = purge(bench, 0.1)
    assert gone.arrivals == 2
    assert bench.query("SELECT key FROM inbox ORDER BY key") == [("open",), ("young",)]
