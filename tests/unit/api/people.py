"""Users, keys and projects for tests of who may."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.builders import document, node
from tests.unit.api.conftest import Api

PASSWORD = "correct horse battery staple"
EVERY_ROLE = ("approver", "viewer", "operator", "editor", "admin", "owner")


@dataclass
class Person:
    """Somebody who shows a token, or nobody without one."""

    api: Api
    token: str | None
    name: str = ""

    async def ask(
        self, method: str, path: str, body: object = None, project: str | None = None, **more: str
    ) -> httpx2.Response:
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        # "" takes the place of the keeper's own, which the client of the test shows by default
        headers["Authorization"] = f"Bearer {self.token}" if self.token else ""
        if project is not None:
            headers["X-Celeriac-Project"] = project
        named: dict[str, Any] = {} if body is None else {"json": body}
        return await self.api.http.request(method, f"/api/v1{path}", headers=headers, **named)

    async def get(self, path: str, project: str | None = None) -> httpx2.Response:
        return await self.ask("GET", path, project=project)

    async def post(self, path: str, body: object = None, project: str | None = None) -> httpx2.Response:
        return await self.ask("POST", path, body, project)


@dataclass
class House:
    """A project and what stands in it, by the names that paths have for it."""

    id: str
    name: str
    things: dict[str, str] = field(default_factory=dict)


async def user(api: Api, name: str, *, owns: bool = False) -> Person:
    """A new user who has signed in."""
    made = await api.post("/users", {"name": name, "password": PASSWORD, "owns": owns})
    assert made.status_code == 201, made.text
    answer = await api.post("/auth/login", {"name": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return Person(api, answer.json()["access_token"], name)


async def project(api: Api, name: str) -> str:
    made = await api.post("/projects", {"name": name})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


async def member(api: Api, project: str, name: str, *roles: str, groups: tuple[str, ...] = ()) -> None:
    body = {"roles": list(roles), "groups": list(groups)}
    answer = await api.http.put(f"/api/v1/projects/{project}/members/{name}", json=body)
    assert answer.status_code == 200, answer.text


async def furnished(api: Api, name: str) -> House:
    """A project with one of everything."""
    house = House(await project(api, name), name)
    keeper = Person(api, api.token)
    there = {"project": house.id}

    async def made(path: str, body: object, method: str = "POST") -> Any:
        answer = await keeper.ask(method, path, body, house.id)
        assert answer.status_code in (200, 201, 202), answer.text
        return answer.json()

    asks, trigger = node("ask", "approval", {"title": "Pay?"}), {"type": "event", "config": {"type": "due"}}
    pushed = await made("/workflows", document([asks], name="pay", trigger=trigger))
    there["ref"] = pushed["id"]
    there["execution"] = (await made(f"/workflows/{pushed['id']}/execute", {"input": {}}))["id"]
    await api.carry(there["execution"])
    ((there["approval"],),) = api.bench.query(
        "SELECT id FROM approval WHERE execution_id = ?", there["execution"]
    )
    there["node"], there["number"] = "ask", "1"
    made_key = await made("/keys", {"name": "ci", "scopes": ["viewer"]})
    there["key"] = made_key["id"]
    values = {
        "name": f"crm_{name}",
        "kind": "bearer",
        "hosts": ["api.example.com"],
        "values": {"token": "s3cr3t-t0k3n"},
    }
    await made("/connections", values)
    await made(f"/variables/crm_{name}", {"value": "red"}, "PUT")
    told = await made("/subscriptions", {"url": "https://example.com/hooks"})
    there["subscription"] = told["id"]
    config = {"every": "1h"}
    scheduled = await made("/schedules", {"workflow": "pay", "name": "hourly", "config": config})
    there["schedule"] = scheduled["id"]
    there["webhook"] = (await made("/webhooks", {"workflow": "pay", "name": "paid"}))["id"]
    there["trigger"] = (await keeper.get("/events/triggers", house.id)).json()["data"][0]["id"]
    there["name"] = f"crm_{name}"
    house.things = there
    return house
