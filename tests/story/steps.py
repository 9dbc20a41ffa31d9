"""The story, step by step. Each step is one sentence, and what was seen; the first surprise ends it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
from websockets.asyncio.client import connect

from tests.builders import document, node
from tests.story.house import House
from tests.story.outside import SUMMARY, World, world

SUMMARIZER = Path(__file__).with_name("email_summarizer.json")
PATIENCE = 30.0
ANN = "ann@example.com"
PASSWORD = "correct horse battery staple"
MAIL = {"email": {"from": "ada@example.com", "body": "Shall we have lunch at noon, at the usual place?"}}

SPRING = "2031-03-09T03:00:00-04:00"
"""The first instant after an hour that clocks in New York do not show: half past two of that night."""

Say = Callable[[str, str], None]


class Surprise(AssertionError):
    """Something was seen that does not belong into the story."""


def expect(seen: Any, expected: Any, what: str) -> None:
    """Hold something against what it has to be. Raises `Surprise`."""
    if seen != expected:
        message = f"{what}: expected {expected!r}, saw {seen!r}"
        raise Surprise(message)


@dataclass
class Story:
    """Who tells it, where, and what was seen over the streams."""

    house: House
    world: World
    say: Say
    http: httpx2.AsyncClient
    project: str = ""
    ann: str = ""
    streamed: list[dict[str, Any]] = field(default_factory=list)
    pushed: list[dict[str, Any]] = field(default_factory=list)

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        status: int = 200,
        token: str | None = None,
        **headers: str,
    ) -> Any:
        """Ask the API, and return what it answers. Raises `Surprise` for another status."""
        shown = self.house.token if token is None else token
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given |= {"Authorization": f"Bearer {shown}"} if shown else {}
        given |= {"X-Celeriac-Project": self.project} if self.project and shown else {}
        more: dict[str, Any] = {} if body is None else {"json": body}
        answer = await self.http.request(method, f"/api/v1{path}", headers=given, **more)
        expect(answer.status_code, status, f"{method} {path}: {answer.text[:600]}")
        return answer.json() if answer.content else None

    async def begin(self) -> str:
        """Make a project with the connections that the summarizer needs."""
        made = await self.ask(
            "POST", "/projects", {"name": "mail", "description": "What comes in"}, status=201
        )
        self.project = made["id"]
        smtp = {
            "host": "127.0.0.1",
            "port": self.world.box.port,
            "security": "none",
            "sender": "bot@example.com",
        }
        values = {"api_key": "sk-story", "base_url": f"{self.world.models.url}/v1"}
        for name, kind, each in (("openai", "openai", values), ("email", "smtp", smtp)):
            body = {"name": name, "kind": kind, "values": each}
            kept = await self.ask("POST", "/connections", body, status=201)
            expect("sk-story" in json.dumps(kept), False, "a secret in the answer")
        found = await self.ask("GET", f"/projects/{self.project}")
        return f"{found['name']} ({found['id']}), connections openai and email"

    async def post(self) -> tuple[str, dict[str, Any]]:
        """Post the summarizer as it was given."""
        content = SUMMARIZER.read_bytes()
        headers = {
            "Authorization": f"Bearer {self.house.token}",
            "X-Celeriac-Project": self.project,
            "Content-Type": "application/json",
        }
        answer = await self.http.post("/api/v1/workflows", content=content, headers=headers)
        expect(answer.status_code, 201, f"POST /workflows: {answer.text[:600]}")
        made = answer.json()
        expect(made["webhook_url"], f"{self.house.url}/webhooks/email", "the address of its webhook")
        return f"{made['id']}, {made['webhook_url']}", made

    async def subscribe(self) -> str:
        """Have an address outside told of everything."""
        body = {"url": f"{self.world.receiving.url}/told", "types": ["execution.*", "node.*"]}
        made = await self.ask("POST", "/subscriptions", body, status=201)
        self.world.receiver.secret = made["secret"]
        await self.ask("POST", f"/subscriptions/{made['id']}/test", status=202)
        await self.until(lambda: bool(self.world.receiver.told), "the test event outside")
        told = self.world.receiver.told.pop()
        expect(told["type"], "webhook.test", "the test event")
        return f"{made['id']}; its test event came, and its signatures are right"

    async def fire(self, hook: dict[str, Any]) -> tuple[str, str]:
        """Deliver a mail, signed, and the same delivery once more."""
        (issued,) = hook["webhooks"]
        body, stamp = json.dumps(MAIL).encode(), str(int(self.house.now()))
        told = f"{stamp}.".encode() + body
        headers = {
            "Content-Type": "application/json",
            "X-Webhook-Signature": "sha256="
            + hmac.digest(issued["secret"].encode(), told, hashlib.sha256).hex(),
            "X-Webhook-Timestamp": stamp,
            "X-Webhook-Id": "mail-1",
        }
        forged = {**headers, "X-Webhook-Signature": "sha256=" + "0" * 64}
        refused = await self.http.post(issued["url"], content=body, headers=forged)
        expect(refused.status_code, 401, "a forged delivery")
        answers = [await self.http.post(issued["url"], content=body, headers=headers) for _ in range(2)]
        expect([each.status_code for each in answers], [202, 202], f"the deliveries: {answers[0].text}")
        first, again = (each.json() for each in answers)
        expect(again["execution"], first["execution"], "the execution of the repeated delivery")
        expect(again.get("duplicate"), True, "what the repeated delivery is called")
        return f"202 {first['execution']}; again: the same; forged: 401", str(first["execution"])

    async def read(self, workflow: str, execution: str) -> str:
        """Read what it came to, with its log."""
        ended = await self.ask("GET", f"/executions/{execution}", Prefer="wait=20")
        expect(ended["status"], "succeeded", f"the execution: {ended.get('error')}")
        listed = await self.ask("GET", "/executions?workflow=Email%20Summarizer")
        expect([each["id"] for each in listed["data"]], [execution], "the executions of two deliveries")
        (asked,) = [json.loads(each.body) for each in self.world.models.asked]
        expect(asked["messages"][-1]["content"], f"Summarize: {MAIL['email']['body']}", "the question")
        (mail,) = self.world.box.messages
        expect((mail["To"], mail["Subject"]), (MAIL["email"]["from"], "Summary"), "the mail")
        expect(SUMMARY in mail.get_content(), True, f"the summary in {mail.get_content()!r}")
        found = await self.ask("GET", f"/workflows/{workflow}/executions/{execution}")
        fields = {
            "id",
            "workflow_id",
            "status",
            "started_at",
            "completed_at",
            "duration_ms",
            "result",
            "logs",
        }
        expect(set(found), fields, "the fields of a report")
        expect(
            (found["status"], set(found["result"])), ("completed", {"output", "credits_used"}), "the report"
        )
        expect(
            [set(each) for each in found["logs"][:1]],
            [{"timestamp", "level", "message"}],
            "a line of the log",
        )
        said = [each["message"] for each in found["logs"]]
        expect(
            [each in said for each in ("Starting node_1", "Starting node_2")], [True, True], f"the log {said}"
        )
        return f"{found['status']} in {found['duration_ms']} ms, {len(said)} lines; one question, one mail"

    async def compare(self, execution: str) -> str:
        """Hold the history against what came over the streams and to the address outside."""
        history = (await self.ask("GET", f"/executions/{execution}/events"))["data"]
        wanted = [(each["seq"], each["type"]) for each in history]
        outside = [each for each in wanted if each[1].startswith(("execution.", "node."))]

        def of(events: list[dict[str, Any]]) -> list[tuple[int, str]]:
            return [(each["seq"], each["type"]) for each in events if each["execution_id"] == execution]

        def told() -> list[tuple[int, str]]:
            found = [(each["data"], each["type"]) for each in self.world.receiver.told]
            return sorted((data["seq"], type_) for data, type_ in found if data["execution_id"] == execution)

        streams: tuple[tuple[Callable[[], list[tuple[int, str]]], list[tuple[int, str]], str], ...] = (
            (lambda: of(self.streamed), wanted, "Server-Sent Events"),
            (lambda: of(self.pushed), wanted, "the WebSocket"),
            (told, outside, "the address outside"),
        )
        for seen, whole, what in streams:
            await self.until(lambda seen=seen, whole=whole: len(seen()) >= len(whole), what)  # type: ignore[misc]
            expect(seen(), whole, what)
        expect(self.world.receiver.forged, 0, "requests with a wrong signature")
        ends = [each for each in self.world.receiver.told if each["type"] == "execution.succeeded"]
        (end,) = [each for each in ends if each["execution_id"] == execution]
        fields = {name: end.get(name) for name in ("event", "execution_id", "status")}
        expected = {"event": "workflow.executed", "execution_id": execution, "status": "completed"}
        expect(fields, expected, "the end, as it was told")
        return f"{len(wanted)} events over SSE and WebSocket, {len(outside)} outside, each once and in order"

    async def hire(self) -> str:
        """Let somebody sign in who may decide on approvals, and nothing else."""
        await self.ask("POST", "/users", {"name": ANN, "password": PASSWORD}, status=201)
        await self.ask("PUT", f"/projects/{self.project}/members/{ANN}", {"roles": ["approver"]})
        login = {"name": ANN, "password": PASSWORD}
        self.ann = (await self.ask("POST", "/auth/login", login, token=""))["access_token"]
        await self.ask("GET", "/audit", token=self.ann, status=403)
        return f"{ANN}, approver"

    async def consent(self, execution: str) -> str:
        """Decide from the inbox: what a model has said is shown to people before it is mailed."""
        asked = await self.asked("May node_2 do this with what a model has said?", execution)
        shown = await self.ask("GET", f"/approvals/{asked['id']}", token=self.ann)
        expect(SUMMARY in json.dumps(shown["show"]), True, f"the summary in {shown['show']}")
        expect(self.world.box.messages, [], "mails before the decision")
        said = {"decision": "approve", "shown_hash": shown["shown_hash"], "comment": "Fine."}
        decided = await self.ask("POST", f"/approvals/{asked['id']}/decide", said, token=self.ann)
        expect(decided["status"], "approved", "the decision from the inbox")
        return f"{shown['title']!r}: approved by {ANN}"

    async def follow(self) -> str:
        """Decide by a link, without signing in; a link is good for one voice."""
        ask = node("ask", "approval", {"title": "Pay {{ amount }}?", "approvers": {"users": [ANN]}})
        ways = [{"from": "ask", "to": "paid", "port": "approved"}]
        await self.ask("POST", "/workflows", document([ask, node("paid")], ways, name="pay"), status=201)
        body = {"input": {"amount": 20}}
        started, again = [
            await self.ask("POST", "/workflows/pay/execute", body, status=202, Idempotency_Key="pay-20")
            for _ in range(2)
        ]
        expect(again["id"], started["id"], "the execution of a repeated request")
        asked = await self.asked("Pay 20?", started["id"])
        made = await self.ask("POST", f"/approvals/{asked['id']}/links", {"user": ANN}, status=201)
        link = made["url"].partition("/api/v1")[2]
        shown = await self.ask("GET", link, token="")
        expect(shown["title"], "Pay 20?", "what the link shows")
        said = {"decision": "approve", "shown_hash": shown["shown_hash"]}
        decided = await self.ask("POST", f"{link}/decide", said, token="")
        expect(decided["status"], "approved", "the decision by the link")
        await self.ask("POST", f"{link}/decide", said, token="", status=409)
        ended = await self.ask("GET", f"/executions/{started['id']}", Prefer="wait=20")
        expect(ended["status"], "succeeded", "an execution that was decided on")
        return f"{shown['title']!r}: approved by a link of {ANN}; a second time: 409"

    async def asked(self, title: str, execution: str) -> dict[str, Any]:
        """Wait until the inbox has a question of an execution, and return it. Raises `Surprise` when it does not come."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = await self.ask("GET", "/approvals?status=open", token=self.ann)
            for each in found["data"]:
                if each["title"] == title:
                    return dict(each)
            await asyncio.sleep(0.05)
        happened = (await self.ask("GET", f"/executions/{execution}/events"))["data"]
        message = f"the inbox: no {title!r} within {PATIENCE:g} s, but {happened[-3:]}"
        raise Surprise(message)

    async def schedule(self) -> str:
        """Live through the night in which clocks in New York go forward: half past two is at three, and once."""
        instant = datetime.fromisoformat(SPRING).timestamp()
        await self._move(instant - 3600)
        await self.ask("POST", "/workflows", document([node("a")], name="nightly"), status=201)
        config = {"cron": "30 2 * * *", "timezone": "America/New_York"}
        body = {"workflow": "nightly", "name": "night", "config": config}
        made = await self.ask("POST", "/schedules", body, status=201)
        ahead = await self.ask("GET", f"/schedules/{made['id']}/preview?count=2")
        expect(
            [each["local"] for each in ahead["data"]], [SPRING, "2031-03-10T02:30:00-04:00"], "the next slots"
        )
        await self._move(instant - 1)
        deadline = time.monotonic() + PATIENCE
        listed: list[dict[str, Any]] = []
        while not listed and time.monotonic() < deadline:
            listed = (await self.ask("GET", "/executions?workflow=nightly"))["data"]
            await asyncio.sleep(0.1)
        expect(len(listed), 1, "executions of the night")
        ended = await self.ask("GET", f"/executions/{listed[0]['id']}", Prefer="wait=20")
        expect(
            (ended["status"], ended["trigger"]["schedule"]),
            ("succeeded", made["id"]),
            "the execution of the night",
        )
        expect(ended["created_at"] >= instant * 1000, True, "that it was born after the slot")
        slots = (await self.ask("GET", f"/schedules/{made['id']}/slots"))["data"]
        expect([each["execution"] for each in slots], [ended["id"]], f"the slots {slots}")
        return (
            f"half past two is {SPRING}: one execution, {ended['created_at'] - instant * 1000:.0f} ms later"
        )

    async def _move(self, at: float) -> None:
        """Let the house live at another time."""
        await asyncio.to_thread(self.house.stop)
        await asyncio.to_thread(self.house.start, at)

    async def until(self, ready: Callable[[], bool], what: str) -> None:
        """Wait until something is there. Raises `Surprise` when it does not come."""
        deadline = time.monotonic() + PATIENCE
        while not ready():
            if time.monotonic() > deadline:
                message = f"{what}: did not come within {PATIENCE:g} s"
                raise Surprise(message)
            await asyncio.sleep(0.02)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Follow the project over both streams."""
        headers = {"Authorization": f"Bearer {self.house.token}", "X-Celeriac-Project": self.project}
        ready = asyncio.Event()

        async def stream() -> None:
            shown = {**headers, "Accept": "text/event-stream"}
            async with self.http.stream("GET", "/api/v1/events", headers=shown) as answer:
                expect(answer.status_code, 200, "the stream")
                async for line in answer.aiter_lines():
                    ready.set()
                    if line.startswith("data: "):
                        self.streamed.append(json.loads(line.removeprefix("data: ")))

        async def follow() -> None:
            async for frame in socket:
                found = json.loads(frame)
                if found["type"] == "events":
                    self.pushed.extend(found["data"])

        where = self.house.url.replace("http", "ws", 1) + "/api/v1/ws"
        async with connect(where, proxy=None) as socket:
            auth = {"type": "auth", "token": self.house.token, "project": self.project}
            await socket.send(json.dumps(auth))
            expect(json.loads(await socket.recv())["type"], "ready", "the WebSocket")
            await socket.send(json.dumps({"type": "subscribe", "topic": "project"}))
            expect(json.loads(await socket.recv())["type"], "subscribed", "the WebSocket")
            tasks = [asyncio.create_task(stream()), asyncio.create_task(follow())]
            try:
                async with asyncio.timeout(PATIENCE):
                    await ready.wait()
                yield
            finally:
                for each in tasks:
                    each.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome


async def play(house: House, say: Say) -> None:
    """Play the story in a house that has started. `say` is told each step and what was seen. Raises `Surprise`."""
    async with (
        world(house.now) as outside,
        httpx2.AsyncClient(base_url=house.url, trust_env=False, timeout=PATIENCE) as http,
    ):
        story = Story(house, outside, say, http)
        say("a project is made", await story.begin())
        say("somebody is hired who decides", await story.hire())
        seen, hook = await story.post()
        say("the Email Summarizer is posted as it was given", seen)
        say("an address outside is told of events", await story.subscribe())
        async with story.listening():
            seen, execution = await story.fire(hook)
            say("its webhook is fired, signed, and the same delivery once more", seen)
            say("what the model said is decided on in the inbox", await story.consent(execution))
            say("the execution is read with its log", await story.read(hook["id"], execution))
            say("the same events came everywhere", await story.compare(execution))
        say("another approval is decided by a link", await story.follow())
        say("a schedule lives through a change of the clock", await story.schedule())
