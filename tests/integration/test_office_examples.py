"""The workflows of examples/office: each is run as it stands, over real servers on loopback and a model, and its outcome has the
shape that is expected of it. What a model says is its own affair.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from celeriac import Json
from engine.checking import problems
from engine.definition import SCHEMA_ID
from tests import bucket, servers, vendors
from tests.forwarding import forwarding
from tests.loopback import Asked, Server, answer, serving
from tests.mailbox import mailbox
from tests.mind import think
from tests.office import Office, office
from tests.pdf import pdf_of
from tests.unit.nodes.documents.shelter import THREE
from worker.local_models import LocalModels

FOLDER = Path(__file__).parents[2] / "examples" / "office"
NAMES = sorted(each.stem for each in FOLDER.glob("*.json"))
HERE = "http://127.0.0.1:8765"
"""What stands in the inputs for the address of a server that the test starts."""

FEED = "<rss><channel><item><title>Tea is cheaper.</title></item><item><title>Cups are not.</title></item></channel></rss>"
TABLES = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, region TEXT, total NUMERIC(10, 2));
CREATE TABLE invoices (number TEXT PRIMARY KEY, total NUMERIC(10, 2), currency TEXT);
CREATE TABLE expenses (who TEXT, what TEXT, amount NUMERIC(10, 2));
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, email TEXT, changed INTEGER);
"""
ORDERS = "INSERT INTO orders VALUES (1, 'north', 10), (2, 'south', 32.5), (3, 'north', 7.5);"


def whole(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


class Town:
    """The servers that the workflows of an office talk to; only what a workflow names is started."""

    def __init__(self, made: Office, stack: AsyncExitStack, request: pytest.FixtureRequest) -> None:
        self.office = made
        self._stack = stack
        self._request = request
        self.services: dict[str, vendors.Service] = {}
        self.databases: dict[str, str] = {}
        self.square: Server | None = None

    async def furnish(self, definition: dict[str, Any], model: str) -> None:
        """Start what a definition needs, and store the connections to it."""
        needed = _connections(definition, self.office)
        for name, kind in sorted(needed.items()):
            await self._connect(name, kind, model)
        self.office.ask_by_default(model)
        self.square = await self._stack.enter_async_context(serving(self._serve))

    async def _connect(self, name: str, kind: str, model: str) -> None:
        keep = self.office.keep
        if kind == "smtp":
            self.box = await self._stack.enter_async_context(mailbox())
            keep(
                name,
                kind,
                {
                    "host": "127.0.0.1",
                    "port": self.box.port,
                    "security": "none",
                    "sender": "bot@acme.example",
                },
            )
        elif kind == "postgresql":
            keep(name, kind, await self._database(name))
        elif kind == "redis":
            keep(name, kind, await self._redis())
        elif kind == "signing_key":
            keep(name, kind, {"key": "s3cr3t-of-both"})
        elif kind == "openai":
            if model != "local":
                mind = await self._stack.enter_async_context(serving(think))
                keep(name, kind, {"api_key": "sk-nobody", "base_url": f"{mind.url}/v1"})
        elif kind == "s3":
            keep(name, kind, await self._store())
        else:
            keep(name, kind, await self._vendor(kind))

    async def _vendor(self, kind: str) -> dict[str, Json]:
        secret = "s3cr3t-of-the-vendor"
        named = vendors.SECURITY[kind][0] if kind in vendors.SECURITY else kind
        service: vendors.Service = vendors.google() if kind == "google" else getattr(vendors, named)(secret)
        self.services[kind] = service
        server = await self._stack.enter_async_context(serving(service.handle))
        if kind in vendors.SECURITY:
            return vendors.security_values(kind, secret, server.url)
        if kind == "google":
            return vendors.google_person(server.url)
        path = {"slack": "/api", "discord": "/api/v10"}.get(kind, "")
        return {{"stripe": "key"}.get(kind, "token"): secret, "base_url": server.url + path}

    async def _database(self, name: str) -> dict[str, Json]:
        server: servers.Postgres = self._request.getfixturevalue("postgres")
        url = self._stack.enter_context(server.database())
        told = conninfo_to_dict(url)
        with psycopg.connect(url, autocommit=True) as eye:
            eye.execute(TABLES + (ORDERS if name == "shop" else ""))
            if name == "crm":
                eye.execute(
                    "INSERT INTO customers VALUES (1, 'Ada', 'ada@example.com', 5), (2, 'Grace', 'g@example.com', 9)"
                )
        host, port = str(told["host"]), int(str(told.get("port", 5432)))
        where = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else host
        way = await self._stack.enter_async_context(forwarding(where, port))
        self.databases[name] = url
        return {
            "host": "127.0.0.1",
            "port": way.port,
            "tls": "none",
            "database": str(told["dbname"]),
            "username": str(told["user"]),
        }

    async def _redis(self) -> dict[str, Json]:
        valkey: servers.Valkey = self._request.getfixturevalue("valkey")
        valkey.flush()
        self._stack.callback(valkey.flush)
        told: dict[str, Any] = valkey.client.connection_pool.connection_kwargs
        where = forwarding(str(told.get("path") or told.get("host")), int(told.get("port", 6379)))
        return {
            "host": "127.0.0.1",
            "port": (await self._stack.enter_async_context(where)).port,
            "tls": "none",
        }

    async def _store(self) -> dict[str, Json]:
        files = {
            "handbook/late.txt": b"A parcel that comes late: the customer gets the money back, a refund.",
            "handbook/login.txt": b"A lost password: send the link for a new login.",
            "in/a.csv": b"id,region,total\n7,north,1.50\n8,south,2\n",
            "in/b.csv": b"id,region,total\n9,west,3\n",
            "in/broken.csv": b"id,region,total\nnine,west,much\n",
        }
        stored = {
            key: bucket.Stored(each, {"Content-Type": "text/csv", "ETag": '"x"'})
            for key, each in files.items()
        }
        server = await self._stack.enter_async_context(serving(bucket.Bucket(objects=stored).handle))
        keys = bucket.KEYS
        return {
            "endpoint": server.url,
            "region": keys.region,
            "access_key": keys.access_key,
            "secret_key": keys.secret_key,
            "bucket": "box",
            "path_style": True,
        }

    async def _serve(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        path = urlsplit(asked.target).path
        pages = {
            "/price": answer('{"price": 4.5}', Content_Type="application/json"),
            "/orders": answer('{"order": "O-1"}', status="201 Created", Content_Type="application/json"),
            "/events": answer("{}", Content_Type="application/json"),
            "/feed.xml": answer(FEED, Content_Type="text/plain"),
            "/openapi.json": answer(THREE, Content_Type="application/json"),
            "/": answer("<h1>Welcome</h1>", Content_Type="text/html"),
        }
        writer.write(pages.get(path, answer("broken", status="500 Internal Server Error")))

    def asked(self, path: str) -> list[Asked]:
        """What the square's server has been asked for at a path."""
        assert self.square is not None
        return [each for each in self.square.asked if urlsplit(each.target).path == path]

    def effects(self, kind: str) -> list[Any]:
        """What a vendor's server has done."""
        return self.services[kind].effects

    def count(self, database: str, table: str) -> int:
        """How many rows a table has."""
        with psycopg.connect(self.databases[database]) as eye:
            return int(eye.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # type: ignore[index]  # one row


def _connections(definition: dict[str, Any], made: Office) -> dict[str, str]:
    """Return the names of the connections that a definition needs, and the kinds they are of."""
    found: dict[str, str] = {}
    for each in _steps(definition):
        type_ = made.bench.registry.get(each["type"])
        properties = type_.config_schema().get("properties", {})
        if each["type"].startswith("ai_"):
            found["openai"] = "openai"
        elif each["type"].startswith("sql_"):
            found[each["config"]["connection"]] = "postgresql"
        elif each["type"] == "hmac":
            found[each["config"]["connection"]] = "signing_key"
        elif isinstance(name := properties.get("connection", {}).get("default"), str):
            found[name] = "smtp" if name == "email" else name
    return found


def _steps(definition: dict[str, Any]) -> list[dict[str, Any]]:
    found = [
        {"type": each["action"], "config": each.get("params", {})} for each in definition.get("steps", [])
    ]
    for each in definition.get("nodes", []):
        found += _steps(each["body"]) if each["type"] == "scope" else [each]
    return found


CHECKS: dict[str, Callable[[Town], list[Any]]] = {
    "answer_question": lambda _: [],
    "api_review": lambda at: [len(at.effects("github")) == 1],
    "beacon_playbook": lambda at: [
        at.effects("opnsense") == ["203.0.113.9"],
        at.effects("defender") == ["m1"],
    ],
    "book_meeting": lambda at: [len(at.effects("google")) == 1, len(at.box.messages) == 1],
    "contact_form": lambda at: [len(at.box.messages) + len(at.effects("discord")) == 1],
    "daily_report": lambda at: [
        len(at.effects("slack")) == 1,
        "| south | 1 | 32.50 |" in str(at.box.messages[0]),
    ],
    "database_sync": lambda at: [at.count("warehouse", "customers") == 2],
    "email_summary": lambda at: [[each["To"] for each in at.box.messages] == ["ada@example.com"]],
    "expense_approval": lambda at: [at.count("books", "expenses") == 1, len(at.box.messages) == 1],
    "export_to_drive": lambda at: [len(at.effects("google")) == 1],
    "failed_payment": lambda at: [len(at.effects("stripe")) == 1, len(at.effects("slack")) == 1],
    "feed_digest": lambda at: [len(at.effects("telegram")) == 1],
    "index_folder": lambda _: [],
    "invoice_extraction": lambda at: [at.count("books", "invoices") == 1],
    "issue_labeller": lambda at: [len(at.effects("github")) == 1],
    "log_triage": lambda at: [
        at.effects("opnsense") == ["203.0.113.9"],
        len(at.effects("jira")) == 1,
        len(at.effects("alertmanager")) == 1,
    ],
    "mail_intake": lambda at: [len(at.effects("jira")) == 1, at.effects("google") == []],
    "order_intake": lambda at: [at.effects("google") == [[["A-7", 16.25]]], len(at.effects("discord")) == 1],
    "phishing_playbook": lambda at: [
        at.effects("pihole") == ["evil.example"],
        at.effects("entra") == ["eve"],
    ],
    "price_watch": lambda at: [len(at.effects("telegram")) == 1, len(at.asked("/price")) == 1],
    "reply_draft": lambda at: [[each["To"] for each in at.box.messages] == ["grace@example.com"]],
    "s3_import": lambda at: [at.count("shop", "orders") == 6],
    "shopping_agent": lambda at: [len(at.asked("/orders")) == 1],
    "signed_forwarding": lambda at: [at.asked("/events")[0].headers["x-signature"].startswith("sha256=")],
    "site_monitor": lambda at: [len(at.effects("alertmanager")) == 1],
}
"""What the world has seen of each of them afterwards."""

FIRST = {"answer_question": "index_folder", "reply_draft": "index_folder"}
"""What has to have run before."""


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as made:
        yield made


async def play(name: str, town: Town, model: str) -> Json:
    """Run an example with its input, and return its outcome, which fits what is expected of it."""
    definition = whole(name)
    if name in FIRST:
        await town.furnish(
            {"nodes": [*definition["definition"]["nodes"], *whole(FIRST[name])["definition"]["nodes"]]}, model
        )
        done = await town.office.finish(whole(FIRST[name]), {})
        assert town.office.bench.status(done) == "succeeded", town.office.bench.error(done)
    else:
        await town.furnish(definition["definition"], model)
    assert town.square is not None
    given = (FOLDER / "inputs" / f"{name}.json").read_text(encoding="utf-8").replace(HERE, town.square.url)
    payload = json.loads(given)
    if name == "invoice_extraction":
        payload["file"]["base64"] = base64.b64encode(pdf_of(["Invoice R-17", "Total 119.00 EUR"])).decode()
    execution = await town.office.finish(definition, payload)
    assert town.office.bench.status(execution) == "succeeded", town.office.bench.error(execution)
    outcome = town.office.bench.output(execution)
    expected = json.loads((FOLDER / "expected" / f"{name}.json").read_text(encoding="utf-8"))
    errors = [each.message for each in jsonschema_rs.Draft202012Validator(expected).iter_errors(outcome)]
    assert errors == [], outcome
    return outcome


def test_there_are_at_least_twenty_and_each_is_looked_at() -> None:
    assert len(NAMES) >= 20
    assert set(CHECKS) == set(NAMES)
    for folder in ("inputs", "expected"):
        assert sorted(each.stem for each in (FOLDER / folder).glob("*.json")) == NAMES


@pytest.mark.parametrize("name", NAMES)
async def test_an_office_example_comes_to_what_is_expected_of_it(
    name: str, stack: AsyncExitStack, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    town = Town(await stack.enter_async_context(office(tmp_path)), stack, request)
    text = (FOLDER / f"{name}.json").read_bytes()
    assert problems.check_text(text, town.office.bench.registry) == (whole(name), [])
    assert whole(name)["$schema"] == SCHEMA_ID
    await play(name, town, "openai/something")
    assert all(CHECKS[name](town)), town.services


@pytest.mark.timeout(360)
@pytest.mark.parametrize("name", ["email_summary", "issue_labeller", "contact_form", "feed_digest"])
async def test_an_office_example_runs_with_the_real_model_of_this_machine(
    name: str, stack: AsyncExitStack, tmp_path: Path, models_folder: Path, request: pytest.FixtureRequest
) -> None:
    models = LocalModels(models_folder)
    stack.push_async_callback(models.end)
    town = Town(await stack.enter_async_context(office(tmp_path, models)), stack, request)
    await play(name, town, "local")
    assert all(CHECKS[name](town)), town.services


async def test_triage_without_a_model_follows_a_rule_and_stops_where_people_say_no(
    stack: AsyncExitStack, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    town = Town(await stack.enter_async_context(office(tmp_path)), stack, request)
    await town.furnish(whole("log_triage")["definition"], "openai/nobody")
    given = json.loads((FOLDER / "inputs" / "log_triage.json").read_text(encoding="utf-8"))
    execution = await town.office.finish(whole("log_triage"), {**given, "ai": False}, "rejected")
    assert town.office.bench.output(execution) == {"left": {"verdict": "left alone", "ip": "203.0.113.9"}}
    assert town.effects("opnsense") == []
    execution = await town.office.finish(whole("log_triage"), {**given, "threshold": 50})
    assert town.office.bench.output(execution) == {"quiet": {"verdict": "quiet", "addresses": 2}}
