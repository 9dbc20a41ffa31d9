"""A world for each node type: a config that succeeds, and real servers on loopback that count what is done to them."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx2
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from celeriac import Json
from celeriac.testing import OpenLink, World
from nodes.connections.imap import Imap as ImapFields
from nodes.connections.redis import Redis
from nodes.connections.signing_key import SigningKey
from nodes.connections.smtp import Smtp
from nodes.databases.parameters import Statement
from nodes.databases.session import session
from tests import servers, vendors
from tests.bucket import KEYS as OBJECT_KEYS
from tests.bucket import Bucket, Stored
from tests.conformance.minds import agent, asking, drafting, running, texts
from tests.databases import KINDS, Database, database_of
from tests.forwarding import forwarding
from tests.imap import USER, Imap, message
from tests.loopback import Asked, Handler, Server, answer, serving
from tests.mailbox import mailbox
from tests.models import chat
from tests.pdf import pdf_of
from tests.toolbox import TOKEN as TOOLS_TOKEN
from tests.toolbox import toolbox
from tests.unit.nodes.documents.shelter import THREE


@dataclass(frozen=True, slots=True)
class Town:
    """Where servers are opened, to be closed after the test."""

    stack: AsyncExitStack
    request: pytest.FixtureRequest

    async def serve(self, handler: Handler) -> Server:
        """Start a server."""
        return await self.stack.enter_async_context(serving(handler))

    async def client(self) -> httpx2.AsyncClient:
        """Open a client."""
        return await self.stack.enter_async_context(httpx2.AsyncClient())


TOKEN = "s3cr3t-t0k3n-0f-the-vend0r"

Make = Callable[[Town], Awaitable[World]]


def plain(**config: Json) -> list[Make]:
    """A world without anything in it."""

    async def make(_: Town) -> World:
        return World(config)

    return [make]


def keyed(server: Server) -> Callable[[], int]:
    """Count the effects of a server that does each key once."""

    def count() -> int:
        changing = [each for each in server.asked if each.method not in ("GET", "HEAD")]
        named = {each.headers["idempotency-key"] for each in changing if "idempotency-key" in each.headers}
        return len(named) + sum("idempotency-key" not in each.headers for each in changing)

    return count


def http_request(**config: Json) -> Make:
    async def make(town: Town) -> World:
        server = await town.serve(_ok)
        given: dict[str, Json] = {"url": server.url, **config}
        return World(given, http=await town.client(), effects=keyed(server))

    return make


async def _ok(_: Asked, writer: Any) -> None:
    writer.write(answer(json.dumps({"ok": True}), Content_Type="application/json"))


async def failing(_: Town) -> World:
    return World({"message": "As its author wants it."}, fails="workflow.failed")


def sql_query(kind: str) -> Make:
    async def make(town: Town) -> World:
        db = await database_of(kind, town.request, town.stack)
        async with session(db.link, read_only=False, seconds=5) as opened:
            await opened.run(Statement.parse("CREATE TABLE t (a INTEGER)"), [{}], None)
            await opened.commit()
        config: dict[str, Json] = {
            "connection": "db",
            "sql": "SELECT count(*) + :n AS n FROM t",
            "parameters": {"n": 1},
        }
        return World(config, connections={"db": db.link})

    return make


def eye_of(db: Database, town: Town) -> Callable[[str], int]:
    """Look at a database past the node."""
    fields: Any = db.link.fields
    if db.kind == "sqlite":
        opened: Any = sqlite3.connect(fields.path, isolation_level=None)
    elif db.kind == "mariadb":
        opened = town.request.getfixturevalue("mariadb").connect(fields.database)
    else:
        server: servers.Postgres = town.request.getfixturevalue("postgres")
        told = {**conninfo_to_dict(server.url), "dbname": fields.database}
        opened = psycopg.connect(make_conninfo(**told), autocommit=True)
    town.stack.callback(opened.close)

    def ask(sql: str) -> int:
        cursor = opened.cursor()
        cursor.execute(sql)
        return int(cursor.fetchone()[0])

    return ask


def sql_execute(kind: str, **more: Json) -> Make:
    async def make(town: Town) -> World:
        db = await database_of(kind, town.request, town.stack)
        async with session(db.link, read_only=False, seconds=5) as opened:
            await opened.run(Statement.parse("CREATE TABLE t (a INTEGER)"), [{}], None)
            await opened.commit()
        eye = eye_of(db, town)
        config: dict[str, Json] = {
            "connection": "db",
            "sql": "INSERT INTO t VALUES (:a)",
            "parameters": {"a": 1},
        }
        return World(
            {**config, **more},
            connections={"db": db.link},
            effects=lambda: eye("SELECT count(*) FROM t"),
        )

    return make


def vendor(kind: str, prefix: str = "", **config: Json) -> Make:
    """A node type of a vendor, at a server that insists on what the vendor documents."""

    async def make(town: Town) -> World:
        service: vendors.Service = getattr(vendors, kind)(TOKEN)
        server = await town.serve(service.handle)
        egress = vendors.loopback_egress()
        town.stack.push_async_callback(egress.aclose)
        secret = {"stripe": "key"}.get(kind, "token")
        link = vendors.linked(egress, kind, {secret: TOKEN, "base_url": server.url + prefix})
        return World(config, connections={kind: link}, effects=service.count, secrets=[TOKEN])

    return make


def google(**config: Json) -> Make:
    async def make(town: Town) -> World:
        service = vendors.google()
        server = await town.serve(service.handle)
        egress = vendors.loopback_egress()
        town.stack.push_async_callback(egress.aclose)
        link = await vendors.logged_in(egress, "google", vendors.google_person(server.url))
        return World(
            config, connections={"google": link}, effects=service.count, secrets=vendors.GOOGLE_PERSON[1:]
        )

    return make


def security(kind: str, **config: Json) -> Make:
    """A security action, at a server of its system."""

    async def make(town: Town) -> World:
        service: vendors.Service = getattr(vendors, vendors.SECURITY[kind][0])(TOKEN)
        server = await town.serve(service.handle)
        egress = vendors.loopback_egress()
        town.stack.push_async_callback(egress.aclose)
        link = await vendors.secured(egress, kind, TOKEN, server.url)
        return World(config, connections={kind: link}, effects=service.count, secrets=[TOKEN])

    return make


SHEET: dict[str, Json] = {"spreadsheet": "sheet1", "range": "Orders!A1:B"}
WHEN: dict[str, Json] = {"start": {"date": "2031-05-02"}, "end": {"date": "2031-05-03"}}


def redis_command(command: str, *arguments: Json) -> Make:
    async def make(town: Town) -> World:
        valkey: servers.Valkey = town.request.getfixturevalue("valkey")
        valkey.flush()
        town.stack.callback(valkey.flush)
        told: dict[str, Any] = valkey.client.connection_pool.connection_kwargs
        where = forwarding(str(told.get("path") or told.get("host")), int(told.get("port", 6379)))
        way = await town.stack.enter_async_context(where)
        link = OpenLink("redis", Redis(host="127.0.0.1", port=way.port, tls="none"))
        config: dict[str, Json] = {"command": command, "arguments": [*arguments]}
        return World(config, connections={"redis": link}, effects=lambda: int(valkey.client.get("n") or 0))

    return make


def s3(**config: Json) -> Make:
    async def make(town: Town) -> World:
        bucket = Bucket(objects={"old": Stored(b"a", {"Content-Type": "text/plain", "ETag": '"x"'})})
        server = await town.serve(bucket.handle)
        egress = vendors.loopback_egress()
        town.stack.push_async_callback(egress.aclose)
        values: dict[str, Json] = {
            "endpoint": server.url,
            "region": OBJECT_KEYS.region,
            "access_key": OBJECT_KEYS.access_key,
            "secret_key": OBJECT_KEYS.secret_key,
            "bucket": "box",
            "path_style": True,
        }
        link = vendors.linked(egress, "s3", values)
        return World(config, connections={"s3": link}, effects=lambda: bucket.writes)

    return make


async def signature(_: Town) -> World:
    link = OpenLink("signing_key", SigningKey(key=SecretStr("s3cr3t-signing-key")))
    return World({"value": "abc", "connection": "key"}, connections={"key": link})


async def pdf(_: Town) -> World:
    return World({"file": {"base64": base64.b64encode(pdf_of(["Hello"])).decode()}})


async def send_email(town: Town) -> World:
    box = await town.stack.enter_async_context(mailbox())
    fields = Smtp(host="127.0.0.1", port=box.port, security="none", sender="bot@example.com")
    config: dict[str, Json] = {"to": "ada@example.com", "subject": "Hello", "body": "Hello."}
    return World(config, connections={"email": OpenLink("smtp", fields)}, effects=lambda: len(box.messages))


async def email_read(town: Town) -> World:
    server: Imap = town.request.getfixturevalue("imap")
    box = server.mailbox()
    box.put(message("Hello"))
    way = await town.stack.enter_async_context(forwarding("127.0.0.1", server.port))
    fields = ImapFields(
        host="127.0.0.1", port=way.port, security="none", username=USER, password=SecretStr(server.password)
    )
    config: dict[str, Json] = {"mailbox": box.name}
    return World(config, connections={"inbox": OpenLink("imap", fields)}, secrets=[server.password])


def mcp_call(tool: str, **config: Json) -> Make:
    async def make(town: Town) -> World:
        box = town.stack.enter_context(toolbox())
        egress = vendors.loopback_egress()
        town.stack.push_async_callback(egress.aclose)
        link = vendors.linked(egress, "mcp", {"url": box.url, "token": TOOLS_TOKEN})
        given: dict[str, Json] = {"tool": tool, **config}
        return World(given, connections={"mcp": link}, effects=lambda: len(box.filed), secrets=[TOOLS_TOKEN])

    return make


async def analysed(town: Town) -> World:
    async def serve(_: Asked, writer: Any) -> None:
        writer.write(answer(THREE))

    server = await town.serve(serve)
    return World({"url": server.url}, http=await town.client())


PERSON: Json = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}

WORLDS: dict[str, list[Make]] = {
    "ai_agent": [agent],
    "ai_call": [
        asking(chat("Hello."), prompt="Say hello."),
        asking(chat("Hello."), prompt="Say hello.", cache={"ttl": "1h", "key": "hello"}),
    ],
    "ai_classify": [
        asking(chat('{"label": "bug"}'), text="It broke.", labels=["bug", "wish"]),
        asking(chat('{"label": "bug"}'), text="It broke.", labels=["bug", "wish"], cache={"ttl": "1h"}),
    ],
    "ai_embed": [asking(input="late parcels"), asking(input="late parcels", cache={"ttl": "1h"})],
    "ai_extract": [
        asking(chat('{"name": "Ada"}'), text="I am Ada.", schema=PERSON),
        asking(chat('{"name": "Ada"}'), text="I am Ada.", schema=PERSON, cache={"ttl": "1h"}),
    ],
    "ai_index": [texts(model="openai/words", documents=[{"id": "a", "text": "Late parcels."}])],
    "ai_playbook": [drafting],
    "ai_search": [texts("Late parcels.", "Lost passwords.", query="parcel")],
    "alert_admin": [security("alertmanager", summary="A door is open.")],
    "api_document_analyze": [analysed, *plain(document=THREE)],
    "approval": plain(title="Go on?"),
    "block_domain": [security("pihole", domain="evil.example")],
    "calendar_create": [google(summary="Review", **WHEN)],
    "calendar_delete": [google(event="e1")],
    "calendar_list": [google()],
    "calendar_update": [google(event="e1", summary="Later")],
    "csv_parse": plain(text="a,b\n1,2"),
    "csv_write": plain(rows=[{"a": 1}]),
    "datetime": plain(add="1h"),
    "disable_user": [security("entra", user="eve@acme.example")],
    "discord_post": [vendor("discord", "/api/v10", channel="42", text="Hello")],
    "drive_delete": [google(file="f0")],
    "drive_download": [google(file="f0")],
    "drive_list": [google()],
    "drive_upload": [google(name="a.csv", content="a,b")],
    "email_read": [email_read],
    "emit": plain(event="order.placed"),
    "enrich_hash": [security("virustotal", hash="44d88612fea8a8f36de82e1278abb02f")],
    "enrich_ip": [security("virustotal", ip="203.0.113.9")],
    "exit": plain(scope="branch"),
    "fail": [failing],
    "forensic_dump": [security("defender", machine="m1")],
    "github_list": [vendor("github", path="/repos/acme/shop/issues")],
    "github_request": [
        vendor("github", path="/repos/acme/shop/issues"),
        vendor("github", path="/repos/acme/shop/issues", method="POST", body={"title": "Hello"}),
    ],
    "hash": plain(value="abc"),
    "hmac": [signature],
    "http_request": [
        http_request(),
        http_request(method="POST", body={"a": 1}),
        http_request(method="POST", idempotent=True),
        http_request(method="PUT", body="text"),
    ],
    "if": plain(condition=True),
    "json_parse": plain(text="{}"),
    "log": plain(message="Hello."),
    "markdown_html": plain(text="# Hi"),
    "mcp_call": [
        mcp_call("add", arguments={"a": 1, "b": 2}, reads=True),
        mcp_call("file", arguments={"text": "Hello"}),
    ],
    "merge": plain(),
    "noop": plain(),
    "open_ticket": [security("jira", project="SEC", summary="A door is open.")],
    "pdf_text": [pdf],
    "playbook_run": [running],
    "quarantine_ip": [security("opnsense", ip="203.0.113.9")],
    "redis_command": [
        redis_command("GET", "a"),
        redis_command("SET", "n", 1),
        redis_command("INCR", "n"),
    ],
    "respond": plain(body={"a": 1}),
    "s3_get": [s3(key="old")],
    "s3_list": [s3()],
    "s3_put": [s3(key="new", content="b")],
    "send_email": [send_email],
    "set": plain(values={"a": 1}),
    "sheets_append": [google(**SHEET, rows=[[1, 2]])],
    "sheets_read": [google(**SHEET)],
    "slack_post": [vendor("slack", "/api", channel="C1", text="Hello")],
    "sql_execute": [
        *(sql_execute(kind) for kind in KINDS),
        *(sql_execute(kind, remember="effects") for kind in KINDS),
    ],
    "sql_query": [sql_query(kind) for kind in KINDS],
    "stripe_request": [
        vendor("stripe", path="/v1/customers"),
        vendor("stripe", path="/v1/customers", method="POST", body={"email": "a@b.c"}),
    ],
    "switch": plain(cases=[{"name": "big", "when": True}]),
    "telegram_send": [vendor("telegram", chat=7, text="Hello")],
    "transform": plain(expression=[1]),
    "wait": plain(**{"for": "1s"}),
    "workflow": plain(workflow="other"),
    "xml_parse": plain(text="<a/>"),
    "xml_write": plain(value={"a": 1}),
}
