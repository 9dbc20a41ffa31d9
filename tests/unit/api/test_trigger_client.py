"""Everything that the client asks about triggers, asked of the application; and what the audit tells of it."""

from __future__ import annotations

from celeriac.client import Client
from tests.builders import node
from tests.unit.api.conftest import Api

CONFIG = {"cron": "0 9 * * *", "timezone": "Europe/Berlin"}


def client(api: Api) -> Client:
    return Client("http://localhost", api.token, transport=api.http._transport)


async def deeds(api: Api) -> list[tuple[str, str]]:
    """What the audit tells, the first first."""
    rows = (await api.get("/audit?limit=200")).json()["data"]
    return [(each["action"], each["subject"]) for each in reversed(rows) if each["action"] != "workflow:push"]


async def test_the_client_asks_for_everything_about_schedules(api: Api) -> None:
    await api.push(node("a"))
    async with client(api) as asked:
        made = await asked.add_schedule("w", "daily", CONFIG)
        name = str(made["id"])
        assert (await asked.schedules(workflow="w"))["data"] == [await asked.schedule(name)]
        assert (await asked.replace_schedule(name, {"every": "1h"}))["config"] == {"every": "1h"}
        paused = await asked.pause_schedule(name, "holidays")
        assert (paused["status"], paused["reason"], paused["next_due"]) == ("paused", "holidays", None)
        assert (await asked.resume_schedule(name))["status"] == "active"
        first = await asked.run_schedule(name, {"n": 1}, key="k")
        assert await asked.run_schedule(name, {"n": 1}, key="k") == {**first, "new": False}
        after = "2026-03-28T00:00:00Z"
        assert len(await asked.preview_schedule(name, 3, after)) == 3
        assert [each["local"] for each in await asked.preview_config(CONFIG, 2, after)] == [
            "2026-03-28T09:00:00+01:00",
            "2026-03-29T09:00:00+02:00",
        ]
        past = {"from": "2026-03-28T00:00:00Z", "to": "2026-03-28T03:00:00Z"}
        assert (await asked.backfill(name, {**past, "dry": True}))["count"] == 3
        assert (await asked.backfill(name, past))["started"] == 3
        assert len(await asked.slots(name)) == 3
        await asked.remove_schedule(name)
    told = ["add", "replace", "pause", "resume", "remove"]
    assert await deeds(api) == [(f"schedule:{each}", name) for each in told]


async def test_the_client_asks_for_everything_about_webhooks(api: Api) -> None:
    await api.push(node("a"))
    async with client(api) as asked:
        made = await asked.add_webhook("w", "paid", {"path": "/paid/{shop}", "verify": "standard"})
        name = str(made["id"])
        assert (await asked.webhooks(workflow="w"))["data"] == [await asked.webhook(name)]
        renewed = await asked.rotate_webhook(name, keep="1h")
        assert (await asked.disable_webhook(name))["enabled"] is False
        assert (await asked.enable_webhook(name))["enabled"] is True
        started = await asked.test_webhook(name, {"n": 1}, {"shop": "north"})
        (delivery,) = await asked.webhook_deliveries(name)
        assert started["execution"] == delivery["execution"]
        await asked.remove_webhook(name)
    told = ["add", "rotate", "disable", "enable", "remove"]
    assert await deeds(api) == [(f"webhook:{each}", name) for each in told]
    noted = str(api.bench.query("SELECT * FROM audit"))
    assert made["secret"] not in noted
    assert renewed["secret"] not in noted


async def test_the_client_publishes_what_starts_workflows(api: Api) -> None:
    trigger = {"type": "event", "config": {"type": "order.*"}}
    await api.push(node("a"), trigger=trigger)
    await api.push(node("a"), name="other", trigger={"type": "event", "config": {"type": "other"}})
    async with client(api) as asked:
        event = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.paid"}
        (started,) = (await asked.publish(event))["started"]
        again = await asked.publish(event)
        assert (again["duplicate"], again["started"]) == (True, [])
        first = await asked.event_triggers(limit=1)
        second = await asked.event_triggers(limit=1, cursor=str(first["next_cursor"]))
        assert second["next_cursor"] is None
        pages = [*first["data"], *second["data"]]
        listed = next(each for each in pages if each["workflow"]["name"] == "w")
        (arrival,) = await asked.event_arrivals(listed["id"])
        assert arrival["execution"] == started
