"""The API is killed in the middle of its work, under load, on both stacks: what was accepted is there, and once."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from bench.stacks import Servers
from tests.builders import document, node
from tests.servers import Valkey
from tests.story.house import House

pytestmark = pytest.mark.timeout(240)

CLIENTS, EACH = 16, 12
KILLS = 2


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, valkey: Valkey) -> Iterator[House]:
    found = Servers(valkey)
    if request.param == "postgresql":
        found.environment["DATABASE_URL"] = request.getfixturevalue("postgres_url")
    made = House(found)
    try:
        made.start()
        yield made
    finally:
        made.clear()


@dataclass
class Load:
    """Clients that send each request until it is answered, and now and then once more."""

    house: House
    hook: dict[str, Any]
    accepted: dict[str, list[str]] = field(default_factory=dict)
    broken: int = 0
    """Requests that had been sent and were never answered: nobody knows what became of them."""

    async def client(self, number: int, rng: random.Random) -> None:
        """Start executions by the API and by the webhook in turn."""
        async with httpx2.AsyncClient(trust_env=False, timeout=10) as http:
            for count in range(EACH):
                name = f"{'hook' if count % 2 else 'api'}-{number}-{count}"
                for _ in range(1 + (rng.random() < 0.3)):
                    self.accepted.setdefault(name, []).append(await self._until_answered(http, name))

    async def _until_answered(self, http: httpx2.AsyncClient, name: str) -> str:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                answer = await (self._deliver if name.startswith("hook") else self._execute)(http, name)
            except httpx2.TransportError as error:
                self.broken += not isinstance(error, httpx2.ConnectError)
                await asyncio.sleep(0.05)
                continue
            if answer.status_code in (409, 503):  # the first one is still at it; it is starting
                await asyncio.sleep(0.05)
                continue
            assert answer.status_code in (200, 202), answer.text  # 200: it has ended already
            body = answer.json()
            return str(body.get("execution") or body["id"])
        raise AssertionError(f"{name} was never answered")

    async def _execute(self, http: httpx2.AsyncClient, name: str) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.house.token}", "Idempotency-Key": name}
        body = {"input": {"name": name}}
        return await http.post(f"{self.house.url}/api/v1/workflows/load/execute", json=body, headers=headers)

    async def _deliver(self, http: httpx2.AsyncClient, name: str) -> httpx2.Response:
        body, stamp = json.dumps({"name": name}).encode(), str(int(time.time()))
        told = f"{stamp}.".encode() + body
        headers = {
            "Content-Type": "application/json",
            "X-Webhook-Signature": "sha256="
            + hmac.digest(self.hook["secret"].encode(), told, hashlib.sha256).hex(),
            "X-Webhook-Timestamp": stamp,
            "X-Webhook-Id": name,
        }
        return await http.post(self.hook["url"], content=body, headers=headers)


async def test_no_accepted_request_is_lost_or_doubled_when_the_api_is_killed(house: House) -> None:
    trigger = {"type": "webhook", "config": {"path": "/load"}}
    headers = {"Authorization": f"Bearer {house.token}"}
    async with httpx2.AsyncClient(
        base_url=f"{house.url}/api/v1", headers=headers, trust_env=False, timeout=30
    ) as http:
        keep = node("keep", "set", {"values": {"name": "{{ name }}"}})
        pushed = await http.post("/workflows", json=document([keep], name="load", trigger=trigger))
        assert pushed.status_code == 201, pushed.text
        (hook,) = pushed.json()["webhooks"]
        load = Load(house, hook)
        crowd = [asyncio.create_task(load.client(each, random.Random(each))) for each in range(CLIENTS)]
        for killed in range(KILLS):
            wanted = CLIENTS * EACH * (killed + 1) // (KILLS + 2)
            while len(load.accepted) < wanted:
                await asyncio.sleep(0.002)
            house.kill_api()
            await asyncio.to_thread(house.start_api)
        await asyncio.gather(*crowd)
        assert load.broken > 0
        assert len(load.accepted) == CLIENTS * EACH
        wrong = {name: told for name, told in load.accepted.items() if len(set(told)) != 1}
        assert wrong == {}
        expected = {told[0]: name for name, told in load.accepted.items()}
        assert len(expected) == CLIENTS * EACH
        found = await _ended(http)
    assert {each["id"] for each in found} == set(expected)
    assert {each["status"] for each in found} == {"succeeded"}
    assert len(found) == len(expected)


async def _ended(http: httpx2.AsyncClient) -> list[dict[str, Any]]:
    """Every execution there is, when all of them have ended."""
    deadline = time.monotonic() + 60
    while True:
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            more = f"&cursor={cursor}" if cursor else ""
            answer = (await http.get(f"/executions?workflow=load&limit=200{more}")).json()
            found += answer["data"]
            cursor = answer.get("next_cursor")
        if all(each["status"] == "succeeded" for each in found) or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.2)
