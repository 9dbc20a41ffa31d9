"""Services on loopback that insist on what their vendors document: the shape of a request, its credential, its limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from celeriac import Json
from engine.outside.addresses import Policy
from engine.outside.connections import make_connection, open_connection
from engine.outside.egress import Egress, OpenLink
from engine.outside.sealing import SealingKeys
from engine.registry import Registry
from tests.loopback import Asked, answer

REGISTRY = Registry.load(["nodes"])
KEYS = SealingKeys.of(b"k" * 32)


def linked(egress: Egress, kind: str, values: Mapping[str, Json], hosts: tuple[str, ...] = ()) -> OpenLink:
    """An opened connection as the engine opens it: sealed, opened, bound, and carrying its credential below the client."""
    sealed = make_connection(
        connection_id="conn_1",
        project_id="proj",
        name=kind,
        kind=kind,
        hosts=hosts,
        values=values,
        kinds=REGISTRY.connections,
        keys=KEYS,
        now=0,
        random_bytes=lambda count: b"r" * count,
    )
    opened = open_connection(sealed, REGISTRY.connections, KEYS)
    return egress.link(opened.credential(), kind, opened.fields)


def loopback_egress() -> Egress:
    """A way out to loopback and nowhere else."""
    return Egress(Policy.parse("127.0.0.1"))


@dataclass(frozen=True, slots=True)
class Call:
    """A request, read."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which has to be JSON."""
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)

    @property
    def form(self) -> list[tuple[str, str]]:
        """The body, which has to be a form."""
        assert self.headers["content-type"] == "application/x-www-form-urlencoded"
        return parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True)


Reply = tuple[int, Any, dict[str, str]]
Respond = Callable[[Call], Reply]


@dataclass(slots=True)
class Service:
    """A vendor's server. `refuses` are answers it gives before anything else, each once; `effects` are what it did."""

    respond: Callable[[Service, Call], Reply]
    authorised: Callable[[Call], bool]
    denied: Reply
    refuses: list[Reply] = field(default_factory=list)
    effects: list[Any] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    keys: dict[str, Reply] = field(default_factory=dict)

    def count(self) -> int:
        """How many effects there were."""
        return len(self.effects)

    async def handle(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        parts = urlsplit(asked.target)
        call = Call(asked.method, unquote(parts.path), parse_qsl(parts.query), asked.headers, asked.body)
        self.calls.append(call)
        if self.refuses:
            status, body, headers = self.refuses.pop(0)
        elif not self.authorised(call):
            status, body, headers = self.denied
        else:
            status, body, headers = self.respond(self, call)
        if isinstance(body, bytes):
            content, kind = body, headers.pop("Content-Type", "application/octet-stream")
        else:
            content, kind = (
                (b"" if body is None else json.dumps(body).encode()),
                "application/json; charset=utf-8",
            )
        named = {name.replace("-", "_"): value for name, value in headers.items()}
        writer.write(answer(content, status=f"{status} Said", Content_Type=kind, **named))


def bearer(token: str) -> Callable[[Call], bool]:
    return lambda call: call.headers.get("authorization") == f"Bearer {token}"


# Slack: https://docs.slack.dev/reference/methods/chat.postMessage


def slack(token: str) -> Service:
    def respond(service: Service, call: Call) -> Reply:
        if call.path == "/api/auth.test":
            return 200, {"ok": True, "team": "Acme", "user": "robot"}, {}
        assert (call.method, call.path) == ("POST", "/api/chat.postMessage")
        body = call.json
        assert set(body) <= {"channel", "text", "blocks", "thread_ts"}
        if body["channel"] != "C1":
            return 200, {"ok": False, "error": "channel_not_found"}, {}
        service.effects.append(body)
        return (
            200,
            {"ok": True, "channel": "C1", "ts": f"170000000{len(service.effects)}.000100", "message": {}},
            {},
        )

    return Service(respond, bearer(token), (200, {"ok": False, "error": "invalid_auth"}, {}))


# Discord: https://docs.discord.com/developers/resources/message#create-message


def discord(token: str) -> Service:
    def respond(service: Service, call: Call) -> Reply:
        if call.path == "/api/v10/users/@me":
            return 200, {"username": "robot"}, {}
        assert call.method == "POST"
        assert call.headers["user-agent"].startswith("DiscordBot (")
        if call.path != "/api/v10/channels/42/messages":
            return 404, {"message": "Unknown Channel", "code": 10003}, {}
        body = call.json
        assert set(body) <= {
            "content",
            "embeds",
            "message_reference",
            "allowed_mentions",
            "nonce",
            "enforce_nonce",
        }
        assert len(body["nonce"]) <= 25
        known = next((each for each in service.effects if each["nonce"] == body["nonce"]), None)
        if known is None:
            service.effects.append(body)
        return 200, {"id": "99", "channel_id": "42"}, {}

    def authorised(call: Call) -> bool:
        return call.headers.get("authorization") == f"Bot {token}"

    return Service(respond, authorised, (401, {"message": "401: Unauthorized", "code": 0}, {}))


# Telegram: https://core.telegram.org/bots/api#making-requests


def telegram(token: str) -> Service:
    def respond(service: Service, call: Call) -> Reply:
        if call.path.endswith("/getMe"):
            return 200, {"ok": True, "result": {"username": "robot"}}, {}
        assert (call.method, call.path) == ("POST", f"/bot{token}/sendMessage")
        body = call.json
        if body["chat_id"] not in (7, "7"):
            return 400, {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}, {}
        service.effects.append(body)
        return 200, {"ok": True, "result": {"message_id": 5, "chat": {"id": 7}}}, {}

    def authorised(call: Call) -> bool:
        return call.path.startswith(f"/bot{token}/")

    return Service(
        respond, authorised, (401, {"ok": False, "error_code": 401, "description": "Unauthorized"}, {})
    )


# GitHub: https://docs.github.com/en/rest/using-the-rest-api


def github(token: str) -> Service:
    issues = [{"number": number} for number in range(1, 8)]

    def respond(service: Service, call: Call) -> Reply:
        if call.path == "/rate_limit":
            return 200, {"rate": {"limit": 5000, "remaining": 4999}}, {}
        assert call.headers["accept"] == "application/vnd.github+json"
        assert call.headers["x-github-api-version"] == "2022-11-28"
        if call.path != "/repos/acme/shop/issues":
            return 404, {"message": "Not Found"}, {}
        if call.method == "POST":
            service.effects.append(call.json)
            return 201, {"number": 8, **call.json}, {}
        query = dict(call.query)
        size, page = int(query.get("per_page", 30)), int(query.get("page", 1))
        found = issues[size * (page - 1) : size * page]
        more = size * page < len(issues)
        host = call.headers["host"]
        link = f'<http://{host}{call.path}?per_page={size}&page={page + 1}>; rel="next", <http://{host}/x>; rel="last"'
        return 200, found, {"Link": link} if more else {}

    return Service(respond, bearer(token), (401, {"message": "Bad credentials"}, {}))


# Stripe: https://docs.stripe.com/api/idempotent_requests


def stripe(key: str) -> Service:
    def respond(service: Service, call: Call) -> Reply:
        if call.path == "/v1/balance":
            return 200, {"livemode": False}, {}
        if call.method == "GET":
            return 200, {"object": "list", "data": service.effects, "url": call.path}, {}
        name = call.headers["idempotency-key"]
        if name not in service.keys:
            form = dict(call.form)
            if "email" not in form:
                return 400, {"error": {"type": "invalid_request_error", "message": "Missing email"}}, {}
            service.effects.append(form)
            service.keys[name] = (200, {"id": f"cus_{len(service.effects)}", "object": "customer"}, {})
        return service.keys[name]

    denied = {"error": {"type": "invalid_request_error", "message": "Invalid API Key provided"}}
    return Service(respond, bearer(key), (401, denied, {}))
