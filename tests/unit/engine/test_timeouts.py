"""The limits on how long a node waits for a worker, and on how long it is silent, in the heart itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from celeriac import Context, Json
from engine import operations as op
from engine.registry import Registry
from tests.builders import document, edge, edges, node
from tests.theatre import REGISTRY, Stage, Theatre

FAR = {"timeout": {"queue": "10s"}}


def far(*more: Any, **keys: Any) -> dict[str, Any]:
    """A node whose queue nobody serves, and what follows."""
    ways = [edge("a", each["id"], on="timeout") for each in more]
    return document([node("a", "distant", **{**FAR, **keys}), *more], ways)


async def carry_near(at: Theatre) -> None:
    """Perform what was sent to the queue that is served."""
    executor = at.executor()
    while near := [each for queue, each in at.outlet.sent if queue == "default"]:
        at.outlet.sent = [each for each in at.outlet.sent if each[0] != "default"]
        await executor.perform(near)


async def wait_in_vain(at: Theatre, seconds: float, body: dict[str, Any]) -> str:
    name = at.start(at.push(body))
    await carry_near(at)
    assert at.segment(name, 1, "status", "queue", "epoch") == ("ready", "far", 0)
    at.clock.move(seconds)
    at.poller(["default", "far"]).tick()
    await carry_near(at)
    return name


async def test_what_nobody_takes_up_in_time_fails_though_nobody_serves_its_queue(
    at: Theatre, stage: Stage
) -> None:
    name = await wait_in_vain(at, 10, far())
    assert at.error(name) == {
        "node": "a",
        "code": "timeout.queue",
        "message": "No worker took it up within the time for which it may wait for one.",
    }
    assert stage.calls == []
    assert at.query("SELECT 1 FROM segment WHERE status = 'ready'") == []


async def test_a_moment_before_it_is_left_where_it_is(at: Theatre, stage: Stage) -> None:
    name = await wait_in_vain(at, 9.999, far())
    assert at.segment(name, 1, "status", "queue") == ("ready", "far")
    await at.carry()
    assert (at.status(name), stage.calls) == ("succeeded", ["a"])


async def test_edges_for_timeouts_and_catch_see_it(at: Theatre, stage: Stage) -> None:
    name = await wait_in_vain(at, 11, far(node("b", "pure")))
    assert (at.status(name), stage.calls) == ("succeeded", ["b"])
    scope = node(
        "s",
        "scope",
        body={"nodes": [node("a", "distant", **FAR)]},
        catch=[
            {
                "on": ["timeout.*"],
                "body": {"nodes": [node("c", "pure", {"text": "{{ nodes.s.error.code }}"})]},
            }
        ],
    )
    name = at.start(at.push(document([scope])))
    await carry_near(at)
    at.clock.move(11)
    at.poller(["default", "far"]).tick()
    await carry_near(at)
    assert (at.status(name), stage.seen[-1]) == ("succeeded", ("c", "timeout.queue"))


async def test_it_is_no_attempt_so_none_is_repeated(at: Theatre, stage: Stage) -> None:
    policy = {"retry": {"max_attempts": 5, "on": ["*"], "delay": 1}}
    name = await wait_in_vain(at, 10, far(**policy))
    assert (at.status(name), at.error(name)["code"]) == ("failed", "timeout.queue")


async def test_a_worker_that_comes_too_late_fails_it_itself(at: Theatre, stage: Stage) -> None:
    name = at.start(at.push(far()))
    await carry_near(at)
    at.clock.move(10)
    await at.carry()
    assert (at.error(name)["code"], stage.calls) == ("timeout.queue", [])


async def test_whoever_was_taken_up_once_waits_as_long_as_it_takes(at: Theatre, stage: Stage) -> None:
    name = at.start(at.push(far()))
    await carry_near(at)
    now = at.clock.now()
    claimed = at.ask(op.Claim(name, 1, "", "elsewhere:1:1", now, now + 15_000))
    at.ask(op.Release(name, 1, "", claimed.epoch, pure=False, now=now))
    at.clock.move(60)
    at.poller(["default", "far"]).tick()
    await at.carry()
    assert (at.status(name), stage.calls) == ("succeeded", ["a"])


async def test_the_time_of_a_pause_does_not_count(at: Theatre, stage: Stage) -> None:
    name = at.start(at.push(far()))
    await carry_near(at)
    at.clock.move(4)
    at.ask(op.Pause(name, at.clock.now()))
    at.clock.move(3600)
    at.poller(["default", "far"]).tick()
    assert at.segment(name, 1, "status", "queue") == ("ready", "far")
    at.ask(op.Pause(name, at.clock.now(), resume=True))
    at.clock.move(5.999)
    at.poller(["default", "far"]).tick()
    assert at.segment(name, 1, "queue") == ("far",)
    at.clock.move(0.001)
    at.poller(["default", "far"]).tick()
    assert at.segment(name, 1, "queue") == ("default",)


async def test_whoever_fails_it_need_not_have_its_type(at: Theatre, stage: Stage) -> None:
    name = at.start(at.push(far()))
    await carry_near(at)
    at.clock.move(10)
    at.poller(["default", "far"]).tick()
    at.programs._registry = Registry([each for each in REGISTRY.everything() if each.name != "distant"])
    at.programs._found.clear()
    await carry_near(at)
    assert at.error(name)["code"] == "timeout.queue"


async def test_a_node_that_is_handed_on_waits_for_nobody(at: Theatre, stage: Stage) -> None:
    body = document([node("a", "pure"), node("b", "pure", timeout={"queue": "1ms"})], edges("a->b"))
    name = await at.run(body)
    assert (at.status(name), stage.calls) == ("succeeded", ["a", "b"])


async def test_each_item_of_a_map_has_its_own_time(at: Theatre, stage: Stage) -> None:
    each = node("a", "distant", for_each={"items": "[1, 2]", "on_item_error": "null"}, **FAR)
    name = at.start(at.push(document([each])))
    await carry_near(at)
    at.clock.move(10)
    at.poller(["default", "far"]).tick()
    await carry_near(at)
    assert (at.status(name), at.output(name)) == ("succeeded", {"a": [None, None]})


# Heartbeats

SILENT = {"max_attempts": 2, "delay": 1, "jitter": 0, "on": ["timeout.heartbeat"]}


def beats(*details: Json, then: Any = "done") -> Any:
    """Send heartbeats, and then return, raise or be silent."""

    async def act(ctx: Context) -> Any:
        for each in details:
            await ctx.heartbeat(each)
        if then is None:
            await asyncio.sleep(60)
        if isinstance(then, Exception):
            raise then
        return then

    return act


async def test_details_are_durable_and_the_next_attempt_finds_them(at: Theatre, stage: Stage) -> None:
    seen: list[Json] = []

    def second(ctx: Context) -> Any:
        seen.append(ctx.last_heartbeat)
        return beats({"page": 8})(ctx)

    stage.tell("a", beats({"page": 6}, {"page": 7}, then=None), second)
    limits: dict[str, Any] = {"timeout": {"heartbeat": 0.05}, "retry": SILENT}
    name = await at.run(document([node("a", "read", **limits)]))
    assert at.segment(name, 0, "status") == ("backing_off",)
    rows = at.journal(name, "node", "step", "status", "output")
    assert ("a", "@heartbeat", "beat", '{"page":7}') in rows
    (_, error) = next(
        (node_, more["error"]) for kind, node_, _, more in at.events(name) if kind == "node.retrying"
    )
    assert error["code"] == "timeout.heartbeat"
    await at.tick(1)
    assert (at.status(name), seen) == ("succeeded", [{"page": 7}])


async def test_without_a_policy_silence_is_the_end_and_a_timeout_to_edges(at: Theatre, stage: Stage) -> None:
    stage.tell("a", beats(then=None))
    body = document(
        [node("a", "read", timeout={"heartbeat": 0.02}), node("b", "pure")], [edge("a", "b", on="timeout")]
    )
    name = await at.run(body)
    assert (at.status(name), stage.calls) == ("succeeded", ["a", "b"])


async def test_a_silent_effect_that_cannot_be_repeated_is_in_doubt(at: Theatre, stage: Stage) -> None:
    stage.tell("a", beats(then=None))
    name = await at.run(document([node("a", "once", timeout={"heartbeat": 0.02})]))
    assert at.segment(name, 0, "status") == ("uncertain",)


async def test_a_heartbeat_without_a_limit_hands_on_its_details_as_well(at: Theatre, stage: Stage) -> None:
    stage.tell("a", beats(1, then=ValueError()), lambda ctx: {"from": ctx.last_heartbeat})
    policy = {"max_attempts": 2, "delay": 1, "jitter": 0}
    name = await at.run(document([node("a", "read", retry=policy)]))
    await at.tick(1)
    assert at.output(name) == {"a": {"from": 1}}


async def test_no_credential_is_kept_with_a_heartbeat(at: Theatre, stage: Stage) -> None:
    async def tells(ctx: Context) -> Any:
        await ctx.connect("bank")
        await ctx.heartbeat("s3cr3t-token")
        return 1

    stage.tell("a", tells)
    name = await at.run(document([node("a", "read")]))
    assert "s3cr3t" not in str(at.journal(name, "output"))


async def test_details_that_are_no_json_fail_the_node(at: Theatre, stage: Stage) -> None:
    stage.tell("a", beats(float("nan")))
    name = await at.run(document([node("a", "read")]))
    assert at.error(name)["code"] == "node.output_invalid"


async def test_large_details_are_stored_beside_the_rows(at: Theatre, stage: Stage) -> None:
    stage.tell("a", beats("x" * 40_000, then=None), lambda ctx: beats(then=len(str(ctx.last_heartbeat)))(ctx))
    limits: dict[str, Any] = {"timeout": {"heartbeat": 0.05}, "retry": SILENT}
    name = await at.run(document([node("a", "read", **limits)]))
    await at.tick(1)
    assert at.output(name) == {"a": 40_000}


async def test_a_heartbeat_of_what_is_to_stop_ends_the_attempt(at: Theatre, stage: Stage) -> None:
    reached: list[bool] = []

    async def act(ctx: Context) -> Any:
        at.ask(op.Cancel(ctx.execution_id, at.clock.now()))
        await ctx.heartbeat()
        reached.append(True)

    stage.tell("a", act)
    name = await at.run(document([node("a", "read")]))
    assert (at.status(name), reached) == ("cancelled", [])


async def test_a_heartbeat_of_what_was_taken_away_ends_the_attempt(at: Theatre, stage: Stage) -> None:
    reached: list[bool] = []

    async def act(ctx: Context) -> Any:
        ((epoch,),) = at.query("SELECT epoch FROM segment WHERE execution_id = ?", ctx.execution_id)
        lose = op.Lose(ctx.execution_id, ((0, "", epoch),), at.clock.now(), "late", 3)
        at.ask(lose)
        await ctx.heartbeat()
        reached.append(True)

    stage.tell("a", act)
    name = await at.run(document([node("a", "read")]))
    assert (at.segment(name, 0, "status"), reached) == (("ready",), [])


@pytest.mark.parametrize("kind", ["pure", "slow"])
async def test_a_node_with_a_heartbeat_is_claimed_whatever_its_effect(
    at: Theatre, stage: Stage, kind: str
) -> None:
    name = await at.run(document([node("a", kind, timeout={"heartbeat": 5})]))
    assert at.segment(name, 0, "epoch") == (1,)


async def test_a_cancel_that_ends_a_pause_gives_back_the_time_of_it(at: Theatre, stage: Stage) -> None:
    last = {"nodes": [node("z", "distant", **FAR)]}
    scope = node("s", "scope", body={"nodes": [node("a", "pure")]}, **{"finally": last})
    name = at.start(at.push(document([scope])))
    await carry_near(at)
    (before,) = at.query("SELECT expires FROM segment WHERE expires > 0")
    at.ask(op.Pause(name, at.clock.now()))
    at.clock.move(60)
    at.ask(op.Cancel(name, at.clock.now()))
    assert at.query("SELECT expires FROM segment WHERE expires > 0") == [(before[0] + 60_000,)]
