"""Services on loopback that insist on what their vendors document: the shape of a request, its credential, its limits."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from celeriac import Json
from engine.outside.addresses import Policy
from engine.outside.connections import Opened, make_connection, open_connection
from engine.outside.egress import Egress, OpenLink
from engine.outside.sealing import SealingKeys
from engine.registry import Registry
from tests.loopback import Asked, answer

REGISTRY = Registry.load(["nodes"])
KEYS = SealingKeys.of(b"k" * 32)


def opened_as(kind: str, values: Mapping[str, Json], hosts: tuple[str, ...] = ()) -> Opened:
    """A connection that was sealed and opened again."""
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
    return open_connection(sealed, REGISTRY.connections, KEYS)


def linked(egress: Egress, kind: str, values: Mapping[str, Json], hosts: tuple[str, ...] = ()) -> OpenLink:
    """An opened connection as the engine opens it: sealed, opened, bound, and carrying its credential below the client."""
    opened = opened_as(kind, values, hosts)
    return egress.link(opened.credential(), kind, opened.fields)


async def logged_in(egress: Egress, kind: str, values: Mapping[str, Json]) -> OpenLink:
    """The same for a kind that gets its credential from the service."""
    opened = opened_as(kind, values)
    assert opened.type.log_in is not None
    token = await opened.type.log_in(opened.fields, egress.client())
    return egress.link(opened.credential(token.carried), kind, opened.fields)


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
        if re.fullmatch("/repos/acme/shop/issues/[0-9]+/labels", call.path):
            service.effects.append(call.json)
            return 200, [{"name": each} for each in call.json["labels"]], {}
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


# Google: https://developers.google.com/identity/protocols/oauth2/service-account, and the APIs' own pages


def google() -> Service:
    """Sheets, Calendar and Drive, and the place that hands out tokens for the key of `google_key`."""
    tokens: list[str] = []
    cells: list[list[Json]] = [["id", "total"]]
    events: dict[str, dict[str, Any]] = {}
    files: dict[str, tuple[dict[str, Any], bytes, str]] = {}

    def hand_out(call: Call) -> Reply:
        form = dict(call.form)
        if form["grant_type"] == "refresh_token":
            good = (form["client_id"], form["client_secret"], form["refresh_token"]) == GOOGLE_PERSON
        else:
            assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
            good = _is_signed(form["assertion"])
        if not good:
            return 400, {"error": "invalid_grant", "error_description": "Bad grant."}, {}
        tokens.append(f"ya29.t0k3n-number-{len(tokens)}")
        return 200, {"access_token": tokens[-1], "expires_in": 3599, "token_type": "Bearer"}, {}

    def missing() -> Reply:
        return (
            404,
            {
                "error": {
                    "code": 404,
                    "message": "Requested entity was not found.",
                    "errors": [{"reason": "notFound"}],
                }
            },
            {},
        )

    def sheets(service: Service, call: Call) -> Reply:
        query = dict(call.query)
        if call.method == "GET":
            assert query["valueRenderOption"] == "UNFORMATTED_VALUE"
            return 200, {"range": "Orders!A1:B9", "majorDimension": "ROWS", "values": cells}, {}
        assert call.path.endswith("/values/Orders!A1:B:append")
        assert query["insertDataOption"] == "INSERT_ROWS"
        assert query["valueInputOption"] in ("RAW", "USER_ENTERED")
        rows = call.json["values"]
        cells.extend(rows)
        service.effects.append(rows)
        return 200, {"updates": {"updatedRange": "Orders!A2:B3", "updatedRows": len(rows)}}, {}

    def calendar(service: Service, call: Call) -> Reply:
        name = call.path.rpartition("/events")[2].removeprefix("/")
        if call.method == "GET":
            size, start = int(dict(call.query)["maxResults"]), int(dict(call.query).get("pageToken", 0))
            found = [{"id": f"e{number}"} for number in range(5)]
            body: dict[str, Any] = {"items": found[start : start + min(size, 2)]}
            if start + 2 < 5 and size > 2:
                body["nextPageToken"] = str(start + 2)
            return 200, body, {}
        if call.method == "POST":
            event = call.json
            assert re.fullmatch("[a-v0-9]{5,1024}", event["id"])
            if event["id"] in events:
                return (
                    409,
                    {"error": {"code": 409, "message": "The requested identifier already exists."}},
                    {},
                )
            events[event["id"]] = event
            service.effects.append(event)
            return 200, {**event, "htmlLink": "https://calendar.example/e"}, {}
        if name == "gone":
            return 410, {"error": {"code": 410, "message": "Resource has been deleted"}}, {}
        if name != "e1":
            return missing()
        if call.method == "DELETE":
            if name not in service.keys:
                service.effects.append(name)
            service.keys[name] = (410, {"error": {"code": 410, "message": "Resource has been deleted"}}, {})
            return 204, None, {}
        if not service.effects:
            service.effects.append(call.json)
        return 200, {"id": name, **call.json}, {}

    def drive(service: Service, call: Call) -> Reply:
        query = dict(call.query)
        if call.path.startswith("/upload"):
            assert query["uploadType"] == "multipart"
            message = message_from_bytes(
                b"Content-Type: " + call.headers["content-type"].encode() + b"\r\n\r\n" + call.body
            )
            written: Any = message.get_payload()
            metadata, content = written
            told = json.loads(metadata.get_payload(decode=True))
            data = content.get_payload(decode=True)
            files["f1"] = (told, bytes(data), content.get_content_type())
            service.effects.append(told)
            return 200, {"id": "f1", **told}, {}
        if call.path == "/drive/v3/files":
            assert query["fields"].startswith("nextPageToken,files(id,name")
            return 200, {"files": [{"id": "f1", "name": "a.csv"}]}, {}
        name = call.path.rpartition("/")[2]
        if name not in files:
            return missing()
        told, data, kind = files[name]
        if call.method == "DELETE":
            del files[name]
            service.effects.append(name)
            return 204, None, {}
        assert query["alt"] == "media"
        return 200, data, {"Content-Type": kind}

    files["f0"] = ({"name": "old.bin"}, b"\0\1", "application/octet-stream")

    def respond(service: Service, call: Call) -> Reply:
        if call.path == "/token":
            return hand_out(call)
        for beginning, answers in (
            ("/v4/spreadsheets/sheet1/values/", sheets),
            ("/calendar/v3/calendars/primary/events", calendar),
            ("/drive/v3/files", drive),
            ("/upload/drive/v3/files", drive),
        ):
            if call.path.startswith(beginning):
                return answers(service, call)
        return missing()

    def authorised(call: Call) -> bool:
        latest = f"Bearer {tokens[-1]}" if tokens else None
        return call.path == "/token" or (latest is not None and call.headers.get("authorization") == latest)

    return Service(respond, authorised, (401, {"error": {"code": 401, "message": "Invalid Credentials"}}, {}))


GOOGLE_PERSON = ("client-1", "s3cr3t-client-secret", "1//s3cr3t-refresh-token")


@cache
def google_key() -> dict[str, str]:
    """The key of a service account, as Google gives it."""
    private = rsa.generate_private_key(65537, 2048)
    text = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "client_email": "robot@project.iam.gserviceaccount.com",
        "private_key_id": "k1",
        "private_key": text.decode(),
    }


def _is_signed(assertion: str) -> bool:
    head, claims, signature = assertion.split(".")
    key = serialization.load_pem_private_key(google_key()["private_key"].encode(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    try:
        key.public_key().verify(
            _decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
        )
    except InvalidSignature:
        return False
    said = json.loads(_decoded(claims))
    assert json.loads(_decoded(head)) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    assert said["exp"] - said["iat"] == 3600
    assert "spreadsheets" in said["scope"]
    return bool(said["iss"] == google_key()["client_email"])


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def google_person(url: str) -> dict[str, Json]:
    client, secret, refresh = GOOGLE_PERSON
    person: dict[str, Json] = {"client_id": client, "client_secret": secret, "refresh_token": refresh}
    return {**person, "base_url": url, "token_url": f"{url}/token"}


# OPNsense: https://docs.opnsense.org/development/api/core/firewall.html


def _basic(name: str, secret: str) -> Callable[[Call], bool]:
    pair = base64.b64encode(f"{name}:{secret}".encode()).decode()
    return lambda call: call.headers.get("authorization") == f"Basic {pair}"


def opnsense(secret: str) -> Service:
    """A firewall with an alias `quarantine`."""

    def respond(service: Service, call: Call) -> Reply:
        if call.path == "/api/firewall/alias_util/aliases":
            return 200, ["quarantine"], {}
        assert call.method == "POST"
        alias = call.path.removeprefix("/api/firewall/alias_util/add/")
        assert set(call.json) == {"address"}
        if alias != "quarantine":
            return 200, {"status": "failed", "status_msg": "nonexisting alias"}, {}
        if call.json["address"] not in service.effects:
            service.effects.append(call.json["address"])
        return 200, {"status": "done"}, {}

    return Service(
        respond, _basic("key-1", secret), (401, {"status": 401, "message": "Authentication Failed"}, {})
    )


# Pi-hole: https://docs.pi-hole.net/api/


def pihole(password: str) -> Service:
    """A Pi-hole that hands out sessions for its password."""
    sessions: list[str] = []

    def respond(service: Service, call: Call) -> Reply:
        if call.path == "/api/auth":
            if call.json != {"password": password}:
                return 401, {"session": {"valid": False, "sid": None}}, {}
            sessions.append(f"s1d-number-{len(sessions)}")
            return 200, {"session": {"valid": True, "sid": sessions[-1], "validity": 1800}}, {}
        if call.path == "/api/info/version":
            return 200, {"version": {"core": {"local": {"version": "v6.0"}}}}, {}
        assert (call.method, call.json["enabled"]) == ("PUT", True)
        domain = call.path.removeprefix("/api/domains/deny/exact/")
        if domain == "broken.example":
            error = {"item": domain, "error": "UNIQUE constraint failed"}
            return 200, {"domains": [], "processed": {"success": [], "errors": [error]}}, {}
        if domain not in service.effects:
            service.effects.append(domain)
        return (
            201,
            {"domains": [{"domain": domain}], "processed": {"success": [{"item": domain}], "errors": []}},
            {},
        )

    def authorised(call: Call) -> bool:
        return call.path == "/api/auth" or call.headers.get("x-ftl-sid") in sessions

    denied = {"error": {"key": "unauthorized", "message": "Unauthorized", "hint": None}}
    return Service(respond, authorised, (401, denied, {}))


# Microsoft: https://learn.microsoft.com/en-us/graph/api/user-update, .../defender-endpoint/api/collect-investigation-package


def microsoft(secret: str) -> Service:
    """Entra ID, Graph and Defender, with the user `eve@acme.example` and the device `m1`."""
    tokens: dict[str, str] = {}

    def hand_out(call: Call) -> Reply:
        form = dict(call.form)
        assert form["grant_type"] == "client_credentials"
        if (form["client_id"], form["client_secret"]) != ("app-1", secret):
            return (
                401,
                {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret."},
                {},
            )
        tokens[f"ey.t0k3n-for-{form['scope']}"] = form["scope"]
        return 200, {"access_token": [*tokens][-1], "expires_in": 3599, "token_type": "Bearer"}, {}

    def respond(service: Service, call: Call) -> Reply:
        if call.path == "/acme.example/oauth2/v2.0/token":
            return hand_out(call)
        scope = tokens[call.headers["authorization"].removeprefix("Bearer ")]
        if call.path == "/v1.0/users/eve@acme.example":
            assert (call.method, scope) == ("PATCH", "https://graph.microsoft.com/.default")
            assert call.json == {"accountEnabled": False}
            if "eve" not in service.effects:
                service.effects.append("eve")
            return 204, None, {}
        if call.path == "/api/machines/m1/collectInvestigationPackage":
            assert (call.method, scope) == ("POST", "https://api.securitycenter.microsoft.com/.default")
            assert set(call.json) == {"Comment"}
            service.effects.append("m1")
            return (
                201,
                {"id": "a-1", "machineId": "m1", "type": "CollectInvestigationPackage", "status": "Pending"},
                {},
            )
        return 404, {"error": {"code": "Request_ResourceNotFound", "message": "It does not exist."}}, {}

    def authorised(call: Call) -> bool:
        given = call.headers.get("authorization", "").removeprefix("Bearer ")
        return call.path.endswith("/token") or given in tokens

    denied = {"error": {"code": "InvalidAuthenticationToken", "message": "Access token is empty."}}
    return Service(respond, authorised, (401, denied, {}))


# Alertmanager: https://prometheus.io/docs/alerting/latest/alerts_api/


def alertmanager(password: str) -> Service:
    """An Alertmanager, to which alerts of the same labels are one."""

    def respond(service: Service, call: Call) -> Reply:
        if call.path == "/api/v2/status":
            return 200, {"versionInfo": {"version": "0.28.0"}}, {}
        assert (call.method, call.path) == ("POST", "/api/v2/alerts")
        for alert in call.json:
            assert set(alert) <= {"labels", "annotations", "generatorURL"}
            if any(not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", each) for each in alert["labels"]):
                return 400, "invalid label set", {}
            if alert["labels"] not in [each["labels"] for each in service.effects]:
                service.effects.append(alert)
        return 200, None, {}

    return Service(respond, _basic("robot", password), (401, "Unauthorized", {}))


# Jira: https://developer.atlassian.com/cloud/jira/platform/rest/v2/api-group-issues/#api-rest-api-2-issue-post


def jira(token: str) -> Service:
    """A Jira with the project SEC."""

    def respond(service: Service, call: Call) -> Reply:
        if call.path == "/rest/api/2/myself":
            return 200, {"displayName": "Robot"}, {}
        assert (call.method, call.path) == ("POST", "/rest/api/2/issue")
        told = call.json["fields"]
        if told["project"] != {"key": "SEC"}:
            return 400, {"errorMessages": [], "errors": {"project": "valid project is required"}}, {}
        service.effects.append(told)
        return 201, {"id": "10000", "key": f"SEC-{len(service.effects)}"}, {}

    return Service(
        respond,
        _basic("robot@acme.example", token),
        (401, {"errorMessages": ["Client must be authenticated"]}, {}),
    )


# VirusTotal: https://docs.virustotal.com/reference/ip-info, .../file-info


def virustotal(key: str) -> Service:
    """What is known of 203.0.113.9 and of the hash `44d8...`."""
    stats = {"malicious": 9, "suspicious": 1, "undetected": 20, "harmless": 60, "timeout": 0}
    known: dict[str, dict[str, Any]] = {
        "/api/v3/ip_addresses/203.0.113.9": {
            "reputation": -12,
            "country": "NL",
            "as_owner": "Example Hosting",
        },
        "/api/v3/ip_addresses/192.0.2.1": {"reputation": 0},
        "/api/v3/files/44d88612fea8a8f36de82e1278abb02f": {"reputation": -3, "meaningful_name": "eicar.com"},
    }

    def respond(_: Service, call: Call) -> Reply:
        assert call.method == "GET"
        if call.path not in known:
            return 404, {"error": {"code": "NotFoundError", "message": "Resource not found."}}, {}
        return 200, {"data": {"attributes": {**known[call.path], "last_analysis_stats": stats}}}, {}

    denied = {"error": {"code": "WrongCredentialsError", "message": "Wrong API key"}}
    return Service(respond, lambda call: call.headers.get("x-apikey") == key, (401, denied, {}))


SECURITY: dict[str, tuple[str, dict[str, Json], str]] = {
    "opnsense": ("opnsense", {"key": "key-1"}, "secret"),
    "pihole": ("pihole", {}, "password"),
    "entra": ("microsoft", {"tenant": "acme.example", "client_id": "app-1"}, "client_secret"),
    "defender": ("microsoft", {"tenant": "acme.example", "client_id": "app-1"}, "client_secret"),
    "alertmanager": ("alertmanager", {"username": "robot"}, "password"),
    "jira": ("jira", {"email": "robot@acme.example"}, "token"),
    "virustotal": ("virustotal", {}, "key"),
}
"""For each kind of connection of the security actions: the service, the fields that are no secret, and the one that is."""


def security_values(kind: str, secret: str, url: str) -> dict[str, Json]:
    """Return the values of a connection to such a service."""
    _, values, named = SECURITY[kind]
    there: dict[str, Json] = {"login_url": url} if kind in ("entra", "defender") else {}
    return {**values, named: secret, "base_url": url, **there}


async def secured(egress: Egress, kind: str, secret: str, url: str) -> OpenLink:
    """An opened connection to such a service, which has logged in where its kind does."""
    values = security_values(kind, secret, url)
    log_in = REGISTRY.connections[kind].log_in
    return await logged_in(egress, kind, values) if log_in else linked(egress, kind, values)
