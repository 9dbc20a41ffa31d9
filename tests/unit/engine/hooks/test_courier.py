"""The courier beside a real receiver on loopback: what it sends, what it writes down, and what it leaves for later."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from engine import operations as op
from engine.feed import BEGINNING
from engine.hooks import message, rows, schedule
from engine.hooks.courier import Courier, place_of
from engine.hooks.rows import Hook
from engine.outside.addresses import Policy
from engine.outside.egress import Egress
from engine.outside.sealing import SealingKeys, seal
from engine.settings import DEFAULT_PROJECT
from tests.builders import document, node
from tests.loopback import Server, always, answer, serving
from tests.workbench import Workbench

KEY = SealingKeys.of(b"s" * 32)
SECRET = message.make_secret(lambda count: b"r" * count)
HOUR = 3_600.0


class Desk:
    """A bench with a courier, and hooks that are told of what happens on it."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.courier = self.another()

    def another(self) -> Courier:
        parts = cast("Any", self)
        egress = Egress(Policy.parse("127.0.0.1"))
        return Courier(parts, egress, lambda: KEY, "http://celeriac.test")

    @property
    def ledger(self) -> Workbench:
        return self.bench

    @property
    def reader(self) -> Workbench:
        return self.bench

    @property
    def clock(self) -> Any:
        return self.bench.clock

    def hook(self, url: str, types: Sequence[str] = rows.DEFAULT_TYPES, **more: Any) -> Hook:
        now, id_ = self.clock.now(), self.clock.mint("sub")
        sealed = seal(SECRET.encode(), place_of(DEFAULT_PROJECT, id_), KEY, self.clock.entropy)
        made = Hook(
            id_, DEFAULT_PROJECT, url, tuple(types), None, "", True, None, sealed, None, None, BEGINNING,
            None, now, now,
        )  # fmt: skip
        made = Hook(**{each: more.get(each, getattr(made, each)) for each in Hook.__slots__})
        added: Hook = self.bench.ask(rows.add(made, 100))
        return added

    async def ended(self, payload: Any = None) -> str:
        """Let an execution come to its end."""
        active = self.bench.push(document([node("a")], name="w", outputs={"got": "{{ trigger.payload }}"}))
        execution = self.bench.start(active, payload or {})
        await self.bench.carry()
        return execution

    def known(self, hook: Hook) -> Hook:
        found: Hook = self.bench.ask(lambda connection: rows.hook(connection, hook.id))
        return found

    def log(self, hook: Hook) -> list[Any]:
        return list(self.bench.ask(lambda connection: rows.deliveries(connection, hook.id, 100, None)).rows)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    bench = Workbench(tmp_path)
    made = Desk(bench)
    yield made
    await made.courier.end()
    bench.close()


def told(server: Server) -> list[Any]:
    return [json.loads(each.body) for each in server.asked]


async def test_an_end_is_told_once_signed_with_its_result(desk: Desk) -> None:
    async with serving(always(answer("ok"))) as receiver:
        hook = desk.hook(f"{receiver.url}/in")
        execution = await desk.ended({"n": 3})
        for _ in range(3):
            await desk.courier.round()
        (asked,), (body,) = receiver.asked, told(receiver)
    assert (asked.method, asked.target) == ("POST", "/in")
    assert body["type"] == "execution.succeeded"
    assert body["data"]["result"] == {"got": {"n": 3}}
    assert body["data"]["url"] == f"http://celeriac.test/api/v1/executions/{execution}"
    id_, at = asked.headers["webhook-id"], int(asked.headers["webhook-timestamp"])
    expected = message.sign(id_, at, asked.body.decode(), [SECRET])
    assert {name: asked.headers[name.lower()] for name in expected} == expected
    (entry,) = desk.log(hook)
    assert (entry["status"], entry["id"], entry["attempts"][0]["status"]) == ("delivered", id_, 200)


async def test_what_happened_before_is_not_told(desk: Desk) -> None:
    async with serving(always(answer())) as receiver:
        await desk.ended()
        desk.hook(receiver.url)
        await desk.courier.round()
        assert receiver.asked == []


async def test_types_and_workflows_choose(desk: Desk) -> None:
    async with serving(always(answer())) as receiver:
        desk.hook(f"{receiver.url}/all", types=["*.*"])
        desk.hook(f"{receiver.url}/nodes", types=["node.*"])
        desk.hook(f"{receiver.url}/other", workflow="wf_of_another_kind")
        await desk.ended()
        await desk.courier.round()
        paths = [(each.target, json.loads(each.body)["type"]) for each in receiver.asked]
    assert ("/all", "execution.created") in paths
    assert ("/all", "execution.succeeded") in paths
    assert {type_ for path, type_ in paths if path == "/nodes"} == {"node.succeeded"}
    assert not [path for path, _ in paths if path == "/other"]


async def test_who_does_not_hear_is_told_again_under_the_same_id(desk: Desk) -> None:
    busy = answer("no", status="503 Service Unavailable", Retry_After="60")
    async with serving(always(busy, answer("no", status="500 Oh"), answer("ok"))) as receiver:
        hook = desk.hook(receiver.url)
        await desk.ended()
        await desk.courier.round()
        assert desk.known(hook).failing_since is not None
        for seconds in (59.0, 10.0, HOUR):
            desk.clock.move(seconds)
            await desk.courier.round()
        assert len({each.headers["webhook-id"] for each in receiver.asked}) == 1
        assert len({each.body for each in receiver.asked}) == 1
        assert len(receiver.asked) == 3
    (entry,) = desk.log(hook)
    assert [each["status"] for each in entry["attempts"]] == [503, 500, 200]
    assert (entry["status"], desk.known(hook).failing_since) == ("delivered", None)


async def test_who_never_hears_is_disabled_and_the_reason_is_told(desk: Desk) -> None:
    async with serving(always(answer("no", status="500 Oh"))) as receiver:
        hook = desk.hook(receiver.url)
        await desk.ended()
        for _ in range(len(schedule.PAUSES) + 3):
            await desk.courier.round()
            desk.clock.move(11 * HOUR)
        assert len(receiver.asked) == len(schedule.PAUSES) + 1
    (entry,) = desk.log(hook)
    assert (entry["status"], entry["next_attempt_at"]) == ("failed", None)
    known = desk.known(hook)
    assert not known.enabled
    assert known.reason is not None


async def test_one_event_given_up_among_others_that_are_heard_disables_nobody(desk: Desk) -> None:
    answers: list[bytes] = []

    async def handle(asked: Any, writer: asyncio.StreamWriter) -> None:
        bad = json.loads(asked.body)["data"]["result"]["got"].get("bad")
        answers.append(answer("no", status="500 Oh") if bad else answer("ok"))
        writer.write(answers[-1])

    async with serving(handle) as receiver:
        hook = desk.hook(receiver.url)
        await desk.ended({"bad": True})
        for _ in range(len(schedule.PAUSES) + 2):
            await desk.courier.round()
            await desk.ended({"bad": False})
            await desk.courier.round()
            desk.clock.move(11 * HOUR)
    states = [each["status"] for each in desk.log(hook)]
    assert states.count("failed") == 1
    assert desk.known(hook).enabled


async def test_410_ends_it_at_once(desk: Desk) -> None:
    async with serving(always(answer(status="410 Gone"))) as receiver:
        hook = desk.hook(receiver.url)
        await desk.ended()
        await desk.courier.round()
    assert not desk.known(hook).enabled
    assert "410" in str(desk.known(hook).reason)


async def test_a_hook_that_is_enabled_again_hears_of_what_happens_from_then_on(desk: Desk) -> None:
    async with serving(always(answer())) as receiver:
        hook = desk.hook(receiver.url)
        for enabled in (0, 1):
            await desk.ended({"n": enabled})
            change = rows.alter(hook.id, DEFAULT_PROJECT, {"enabled": enabled}, desk.clock.now())
            desk.bench.ask(change)
            await desk.courier.round()
        assert told(receiver) == []
        await desk.ended({"n": 2})
        await desk.courier.round()
        assert [each["data"]["result"]["got"]["n"] for each in told(receiver)] == [2]


async def test_private_addresses_are_refused_and_redirects_not_followed(desk: Desk) -> None:
    async with serving(always(answer(status="302 Found", Location="/elsewhere"))) as receiver:
        moved, inner = desk.hook(receiver.url), desk.hook("http://10.0.0.1/")
        await desk.ended()
        await desk.courier.round()
        assert [each.target for each in receiver.asked] == ["/"]
    assert desk.log(moved)[0]["attempts"][0]["status"] == 302
    assert desk.log(inner)[0]["attempts"][0]["error"].startswith("egress.refused")


async def test_who_is_killed_after_a_request_leaves_it_to_be_made_again_after_its_lease(desk: Desk) -> None:
    async with serving(always(answer())) as receiver:
        hook = desk.hook(receiver.url)
        await desk.ended()
        await desk.courier._gather()
        desk.bench.ask(rows.take(desk.clock.now(), 10))  # and then it dies
        await desk.courier.round()
        assert receiver.asked == []
        desk.clock.move(rows.LEASE / 1000)
        await desk.courier.round()
        assert len(receiver.asked) == 1
    assert desk.log(hook)[0]["status"] == "delivered"


async def test_an_attempt_whose_time_is_over_changes_nothing(desk: Desk) -> None:
    hook = desk.hook("http://127.0.0.1:9/")
    await desk.ended()
    await desk.courier._gather()
    ((_, late),) = desk.bench.ask(rows.take(desk.clock.now(), 10))
    desk.clock.move(rows.LEASE / 1000)
    ((_, now),) = desk.bench.ask(rows.take(desk.clock.now(), 10))
    for delivery, heard in ((late, False), (now, True), (late, False)):
        at = desk.clock.now()
        desk.bench.ask(rows.note(rows.Attempt(delivery, heard, at, at, 200 if heard else 500, None, None)))
    assert desk.log(hook)[0]["status"] == "delivered"
    assert desk.known(hook).enabled


async def test_of_two_couriers_that_look_at_once_one_makes_the_delivery(desk: Desk) -> None:
    async with serving(always(answer())) as receiver:
        desk.hook(receiver.url)
        await desk.ended()
        other = desk.another()
        await asyncio.gather(desk.courier.round(), other.round(), other.round())
        await asyncio.gather(desk.courier.round(), other.round())
        assert len(receiver.asked) == 1
        await other.end()


async def test_a_cancelled_execution_is_told_without_a_result(desk: Desk) -> None:
    async with serving(always(answer())) as receiver:
        desk.hook(receiver.url)
        active = desk.bench.push(document([node("a")], name="w"))
        execution = desk.bench.start(active, {})
        desk.bench.ask(op.Cancel(execution, desk.clock.now(), "enough"))
        await desk.courier.round()
        (body,) = told(receiver)
    assert (body["type"], body["status"]) == ("execution.cancelled", "cancelled")
    assert "result" not in body["data"]
