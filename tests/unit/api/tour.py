"""A tour of the API: the client asks for every operation once, of the application itself, and what it sends and is answered
is taken down. The examples of the API's description are what was taken down.

`python -m tests.unit.api.tour` writes them anew.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from api.examples import FILE
from api.permission import Route, declarations
from celeriac import Json
from celeriac.client import Client
from celeriac.passages import Passage, Source
from engine import passages
from engine.settings import DEFAULT_PROJECT
from tests.builders import document, edges, node
from tests.unit.api.conftest import Api, opened
from tests.unit.api.people import PASSWORD
from tests.unit.api.routes.test_callbacks import path_of

ALWAYS_NEW = {"csrf_token", "cursor", "next_cursor", "request_id"}
"""Members whose text is another each time; a token in a path is one as well."""
AT = 1_796_000_000_000
MOST_ENTRIES, MOST_KEYS, MOST_LEVELS = 3, 30, 7

_ID = re.compile(r"\b([a-z]{2,8})_([0-9a-hjkmnp-tv-z]{26})\b")
_TOKEN = re.compile(r"\b(cl[a-z])_([A-Za-z0-9_-]{20,}|[A-Za-z0-9_-]{6}$)")
_SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]{20,}")
_ADDRESS = re.compile(
    r"(/(?:webhooks|forms)/wf_[0-9a-z]{26}/|/(?:approval-)?links/|/callbacks/)[A-Za-z0-9_.-]{20,}"
)
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
_ETAG = re.compile(r'^"[0-9a-f]{16,32}"$')
_INSTANT = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
_PORT = re.compile(r"(127\.0\.0\.1|localhost):\d+")

CONFIG = {"cron": "0 9 * * *", "timezone": "Europe/Berlin"}
CHARGE = document(
    [
        node("ask", "approval", {"title": "Charge {{ amount }}?", "show": "{{ amount }}"}),
        node("charge", "set", {"values": {"charged": "{{ amount }}"}}),
    ],
    [
        {"from": "trigger", "to": "ask", "when": "{{ amount > 100 }}"},
        {"from": "trigger", "to": "charge", "when": "{{ amount <= 100 }}"},
        {"from": "ask", "to": "charge", "port": "approved"},
    ],
    name="charge",
)
"""Charges what was ordered; large amounts ask first."""


@dataclass
class Taken:
    """What was asked and answered: the first of each operation, and all statuses that it came with."""

    routes: list[tuple[str, re.Pattern[str], Route]]
    found: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, api: Api) -> Taken:
        """Begin with the operations of an application; exact paths before those with parameters."""
        found = []
        for route in sorted(declarations(api.guard.app), key=lambda each: each.path.count("{")):
            pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", route.path)
            found.append((route.method, re.compile(pattern), route))
        return cls(found)

    def note(self, request: httpx2.Request, answer: httpx2.Response) -> None:
        """Take one exchange down."""
        path = request.url.raw_path.decode().partition("?")[0]
        for method, pattern, route in self.routes:
            match = pattern.fullmatch(path)
            if method != request.method or match is None or route.operation is None:
                continue
            if route.operation in self.found or answer.status_code >= 400:
                return
            self.found[route.operation] = _exchange(request, answer, match.groupdict())
            return


def _exchange(request: httpx2.Request, answer: httpx2.Response, path: dict[str, str]) -> dict[str, Any]:
    """Return one exchange in the form that is kept."""
    found: dict[str, Any] = {"status": answer.status_code}
    parameters = {**path, **dict(request.url.params)}
    if "token" in parameters:
        parameters["token"] = "..."
    if parameters:
        found["parameters"] = parameters
    if request.content:
        found["request"] = json.loads(request.content)
        if (kind := request.headers["content-type"]) != "application/json":
            found["request_type"] = kind
    if answer.content:
        kind = answer.headers["content-type"].partition(";")[0]
        found["answer"] = answer.json() if kind.endswith("json") else f"{answer.text[:75]}..."
        if kind != "application/json":
            found["type"] = kind
    return found


class Noting(httpx2.AsyncBaseTransport):
    """A way to the application that takes down what passes."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, taken: Taken) -> None:
        self._inner = inner
        self._taken = taken

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self._inner.handle_async_request(request)
        await answer.aread()
        self._taken.note(request, answer)
        return answer


@dataclass
class Tour:
    """Somebody who asks for everything once."""

    api: Api
    taken: Taken

    def client(self, token: str | None = None, project: str | None = None) -> Client:
        inner: Any = self.api.http._transport
        shown = self.api.token if token is None else token
        return Client("http://localhost", shown, project=project, transport=Noting(inner, self.taken))

    async def go(self) -> None:
        """Ask for everything."""
        async with self.client() as keeper:
            await self._people(keeper)
            await self._workflows(keeper)
            await self._executions(keeper)
            await self._while_they_run(keeper)
            await self._approvals(keeper)
            await self._triggers(keeper)
            await self._subscriptions(keeper)
            await self._settings(keeper)
            await self._endings(keeper)

    async def _people(self, keeper: Client) -> None:
        await keeper.invite_first_user()
        await keeper.create_user("ada@example.com", PASSWORD, owns=True)
        invited = await keeper.create_user("bob@example.com")
        await keeper.users()
        await keeper.user("bob@example.com")
        async with self.client("") as nobody:
            await nobody.accept_invitation(invited["invitation"]["token"], PASSWORD)
            ada = await nobody.login("ada@example.com", PASSWORD)
            again = await nobody.refresh(ada["refresh_token"])
        settings: dict[str, Json] = {"default_model": "gpt-4", "budget_limit": 1000}
        await keeper.create_project("shop", description="Orders and parcels.", settings=settings)
        await keeper.projects()
        await keeper.project("shop")
        await keeper.update_project("shop", {"settings": {"budget_limit": 500}})
        await keeper.put_member("shop", "bob@example.com", ["operator", "approver"], ["finance"])
        await keeper.members("shop")
        await keeper.project_stats("shop")
        async with self.client(again["access_token"]) as session:
            await session.me()
            await session.csrf_token()
            (other,) = [each for each in await session.sessions() if each["current"]]
            another = await session.login("ada@example.com", PASSWORD)
            async with self.client(another["access_token"]) as second:
                await second.end_session(other["id"])
                await second.change_password(PASSWORD, "another horse, another battery")
                await second.logout()
        await keeper.invite_user("bob@example.com")
        await keeper.update_user("bob@example.com", active=False)

    async def _workflows(self, keeper: Client) -> None:
        text = json.dumps(CHARGE).encode()
        await keeper.validate(text)
        await keeper.preview(text)
        await keeper.push(text)
        await keeper.push(json.dumps(document([node("a")], name="greet")).encode())
        await keeper.workflows()
        await keeper.workflow("charge")
        changed = json.loads(text)
        changed["definition"]["edges"][0]["when"] = "{{ amount > 500 }}"
        await keeper.push(json.dumps(changed).encode())
        await keeper.versions("charge")
        await keeper.version("charge", 1)
        await keeper.diff("charge")
        await keeper.name_version("charge", "stable", 1)
        await keeper.roll_back("charge", "stable")
        await keeper.publish_version("charge", 2)
        await keeper.forget_version_name("charge", "stable")
        seen = (await keeper.workflow("charge"))["etag"]
        await keeper.update_workflow("charge", {"description": "Charges what was ordered."}, match=seen)
        await keeper.replace_workflow("charge", json.dumps(changed).encode())
        greet = (await keeper.workflow("greet"))["id"]
        await keeper.delete_workflow("greet")
        await keeper.restore_workflow(greet)
        await keeper.disable("charge")
        await keeper.enable("charge")

    async def _executions(self, keeper: Client) -> None:
        started = await keeper.execute("charge", {"amount": 90}, key="order-17")
        name = started["id"]
        await self.api.carry(name)
        await keeper.executions(workflow="charge")
        await keeper.execution(name, with_input=True)
        await keeper.report("charge", name)
        await keeper.events(name)
        await keeper.nodes(name, with_output=True)
        await keeper.node(name, "charge")
        await keeper.fork(name, {"from": ["charge"], "edits": {"input": {"amount": 80}}})
        steps = [{"action": "set", "params": {"values": {"sent": True}}}]
        await keeper.push(json.dumps({"name": "notify", "definition": {"steps": steps}}).encode())
        played = (await keeper.execute("notify", {}))["id"]
        await self.api.carry(played)
        await keeper.steps(played)

    async def _while_they_run(self, keeper: Client) -> None:
        async def resting(*nodes: Any, name: str) -> str:
            ways = edges("->".join(each["id"] for each in nodes)) if len(nodes) > 1 else []
            await keeper.push(json.dumps(document(nodes, ways, name=name)).encode())
            started = (await keeper.execute(name, {}))["id"]
            rows = self.api.bench.query("SELECT created_at FROM execution WHERE id = ?", started)
            self.api.bench.clock.ms = rows[0][0]
            await self.api.carry(started)
            return str(started)

        pause = node("pause", "wait", {"for": "1h"})
        held = await resting(pause, name="slow")
        await keeper.why(held)
        await keeper.pause(held)
        await keeper.resume(held)
        await keeper.cancel(held, "not needed")
        other = await resting(pause, node("next"), name="slow")
        await keeper.skip(other, "pause", {"output": {"waited": False}, "reason": "they called"})
        third = await resting(pause, name="slow")
        await keeper.cancel_node(third, "pause", {"reason": "no answer"})
        await self.api.carry(third)
        await keeper.retry(third, from_failure=True)
        each = node("each", "wait", {"for": "1h"}, for_each={"items": "[1, 2, 3]", "on_item_error": "null"})
        mapping = await resting(each, name="many")
        await keeper.items(mapping, "each", {"add": [4], "reason": "one more"})
        called = await resting(node("pause", "wait", {"callback": True}), name="called")
        async with self.client("") as nobody:
            await nobody.call_back(path_of(self.api, called).rpartition("/")[2], {"paid": True})
        await keeper.push(json.dumps(document([node("a"), node("b")], edges("a->b"), name="doubt")).encode())
        doubted = (await keeper.execute("doubt", {}))["id"]
        self.api.doubt(doubted)
        await keeper.attention()
        await keeper.resolve(doubted, 0, {"decision": "done", "output": {"sent": True}})

    async def _approvals(self, keeper: Client) -> None:
        for amount in (900, 800):
            name = (await keeper.execute("charge", {"amount": amount}))["id"]
            await self.api.carry(name)
        page = await keeper.approvals(status="open", mine=True)
        approval, other = (each["id"] for each in page["data"])
        shown = await keeper.approval(approval)
        said = {"decision": "approve", "shown_hash": shown["shown_hash"], "comment": "A good customer."}
        await keeper.decide(approval, said)
        await keeper.put_member("default", "ada@example.com", ["approver"])
        link = (await keeper.create_approval_link(other, "ada@example.com", expires_in=3600))["url"]
        token = link.rpartition("/")[2]
        async with self.client("") as nobody:
            shown = await nobody.linked_approval(token)
            await nobody.decide_by_link(token, {"decision": "reject", "shown_hash": shown["shown_hash"]})

    async def _triggers(self, keeper: Client) -> None:
        made = await keeper.add_schedule("charge", "daily", CONFIG)
        name = made["id"]
        await keeper.schedules(workflow="charge")
        await keeper.schedule(name)
        await keeper.replace_schedule(name, {"every": "1h"})
        await keeper.pause_schedule(name, "holidays")
        await keeper.resume_schedule(name)
        await keeper.run_schedule(name, {"amount": 10}, key="now")
        await keeper.preview_schedule(name, 3, "2026-03-28T00:00:00Z")
        await keeper.preview_config(CONFIG, 3, "2026-03-28T00:00:00Z")
        past = {"from": "2026-03-28T00:00:00Z", "to": "2026-03-28T03:00:00Z"}
        await keeper.backfill(name, {**past, "overlap": "allow"})
        await keeper.slots(name)
        await keeper.remove_schedule(name)
        hook = (await keeper.add_webhook("charge", "paid", {"path": "/paid/{shop}", "verify": "standard"}))[
            "id"
        ]
        await keeper.webhooks(workflow="charge")
        await keeper.webhook(hook)
        await keeper.rotate_webhook(hook, keep="1h")
        await keeper.test_webhook(hook, {"amount": 20}, {"shop": "north"})
        await keeper.webhook_deliveries(hook)
        await keeper.disable_webhook(hook)
        await keeper.enable_webhook(hook)
        await keeper.remove_webhook(hook)
        trigger = {"type": "event", "config": {"type": "order.*"}}
        await keeper.push(json.dumps(document([node("a")], name="ordered", trigger=trigger)).encode())
        await keeper.publish(
            {"type": "order.paid", "correlation": "order-17", "data": {"amount": 90}, "id": "17-paid"}
        )
        listed = (await keeper.event_triggers())["data"][0]["id"]
        await keeper.event_arrivals(listed)
        await keeper.feed(limit=1)

    async def _subscriptions(self, keeper: Client) -> None:
        wish: dict[str, Json] = {
            "url": "https://example.com/hooks",
            "types": ["execution.*"],
            "description": "The dashboard.",
        }
        name = (await keeper.subscribe(wish))["id"]
        await keeper.subscriptions()
        await keeper.subscription(name)
        await keeper.change_subscription(name, {"types": ["execution.failed"]})
        await keeper.rotate_subscription(name)
        sent = (await keeper.test_subscription(name))["id"]
        await keeper.deliveries(name)
        self.api.bench.query("UPDATE hook_delivery SET status = 'delivered' WHERE id = ?", sent)
        await keeper.redeliver(name, sent)
        await keeper.unsubscribe(name)

    async def _settings(self, keeper: Client) -> None:
        await keeper.connection_kinds()
        stored: dict[str, Json] = {
            "name": "crm",
            "kind": "bearer",
            "hosts": ["127.0.0.1"],
            "values": {"token": "s3cr3t-t0k3n"},
        }
        await keeper.add_connection(stored)
        await keeper.connections()
        await keeper.connection("crm")
        await keeper.node_types()
        await keeper.node_type("wait")
        await keeper.test_connection("crm")
        await keeper.reseal_connections()
        await keeper.remove_connection("crm")
        await keeper.models()
        own: dict[str, Json] = {
            "provider": "openai",
            "model": "llama3.2",
            "connection": "ollama",
            "max_tokens": 131_072,
        }
        await keeper.enter_model("fast", own)
        await keeper.forget_model("fast")
        await keeper.set_budget("project", {"usd": 100, "period": "month"})
        await keeper.budgets()
        await keeper.usage(since=AT)
        await keeper.lift_budget("project")
        rows = [passages.stored(Passage("a", 0, "Hello", {}, [1.0, 2.0]))]
        place = (DEFAULT_PROJECT, "faq")
        self.api.bench.ask(lambda connection: passages.put(connection, place, Source("words"), rows, 0))
        await keeper.collections()
        await keeper.remove_collection("faq")
        await keeper.put_variable("limit", 10)
        await keeper.variables()
        await keeper.remove_variable("limit")
        key = (await keeper.create_key("ci", ["execution:start"], 90))["id"]
        await keeper.keys()
        await keeper.key(key)
        await keeper.revoke_key(key)

    async def _endings(self, keeper: Client) -> None:
        await keeper.audit(action="key:create")
        await keeper.audit_installation(limit=1)
        await keeper.health()
        for path in ("/healthz", "/readyz", "/metrics", "/schemas/workflow/v1.json"):
            await keeper._http.get(path)
        await keeper.remove_member("shop", "bob@example.com")
        await keeper.delete_project("shop")


def plain(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what was taken down without what is another every time: ids, times, tokens, digests."""
    seen: dict[str, str] = {}

    def text(value: str) -> str:
        value = _TOKEN.sub(r"\1_...", value)
        value = _ADDRESS.sub(r"\1...", value)
        value = _SECRET.sub("whsec_...", value)
        value = _DIGEST.sub("2e53d85df391eb23042a53681ad9f54e334d03d78b90e9cc08f34668813f83d7", value)
        value = _ETAG.sub('"5f2b8c1d9e3a7064"', value)
        value = _INSTANT.sub(
            lambda found: found[0] if found[0] < "2026-06" else "2026-11-30T00:53:20Z", value
        )
        value = _PORT.sub(r"\1:8321", value)
        return _ID.sub(lambda found: seen.setdefault(found[0], f"{found[1]}_{len(seen) + 1:026d}"), value)

    def of(value: Json, key: str = "") -> Json:
        match value:
            case dict():
                return {text(name): of(each, name) for name, each in value.items()}
            case list():
                return [of(each, key) for each in value]
            case str():
                return "..." if key in ALWAYS_NEW else text(value)
            case bool():
                return value
            case int() if 1_700_000_000_000 < value < 2_200_000_000_000:
                return AT
            case int() | float() if key in ("ms", "duration_ms", "took_ms", "messages", "uptime_seconds"):
                return 12
        return value

    return {operation: of(_shortened(found[operation])) for operation in sorted(found)}


def _shortened(exchange: dict[str, Any]) -> dict[str, Any]:
    """Return an exchange with the first entries of long lists and a word in the place of what is very deep."""

    def of(value: Json, depth: int) -> Json:
        match value:
            case dict(members) if "$schema" in members and "$id" in members:
                return {name: each for name, each in members.items() if isinstance(each, str)}
            case dict(members) if depth > MOST_LEVELS and members:
                return {"...": "..."}
            case dict(members):
                return {name: of(each, depth + 1) for name, each in [*members.items()][:MOST_KEYS]}
            case list(entries):
                return [of(each, depth + 1) for each in entries[:MOST_ENTRIES]]
        return value

    return {**exchange, "answer": of(exchange["answer"], 0)} if "answer" in exchange else exchange


async def recorded(api: Api) -> dict[str, Any]:
    """Go on the tour, and return what was taken down."""
    tour = Tour(api, Taken.of(api))
    await tour.go()
    return plain(tour.taken.found)


async def _write(folder: Path, patch: pytest.MonkeyPatch) -> None:
    async with opened(folder, patch) as api:
        FILE.write_text(written(await recorded(api)), encoding="utf-8")


def written(found: dict[str, Any]) -> str:
    """Return the text of the file of examples."""
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        asyncio.run(_write(Path(name), patch))
