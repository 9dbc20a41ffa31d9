"""`python3 dev.py secrets`: plants secrets of every kind in a running installation, lets workflows use them with success and with
failure against servers that give back whatever they are sent, and searches for them in everything that is kept or said.

Looked through are every row of the database and the files themselves, all that the broker was told, the log, the answers of the
API, the streams of events, and an exported backup. Left out are the answers that hand a secret out (once, at its making), and the
two files that are there to keep one: `secret.key` and `api.token`.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import socket
import sqlite3
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from psycopg.conninfo import conninfo_to_dict

from celeriac import Json
from engine.outside.scrub import forms_of
from tests import servers
from tests.acceptance.conftest import Installation, around
from tests.builders import document, node, wait_until
from tests.forwarding import forwarding
from tests.loopback import Asked, answer, serving
from tests.mailbox import mailbox
from tests.vendors import google_key
from tests.workbench import built_in

MANY = 50
KEPT = ("secret.key", "api.token")
"""Files whose purpose is to hold a secret."""

_TOKENS = "access token", "session id"


@dataclass(slots=True)
class Planted:
    """The secrets, by what they are."""

    secrets: dict[str, str] = field(default_factory=dict)

    def plant(self, what: str, made: str | None = None) -> str:
        """Make a secret, or take one that the installation has made."""
        assert what not in self.secrets
        self.secrets[what] = made or f"pl4nt-{secrets.token_urlsafe(24)}"
        return self.secrets[what]


@dataclass(frozen=True, slots=True)
class Find:
    """A secret that was found, and where."""

    what: str
    place: str


def search(planted: Planted, haystack: Mapping[str, bytes]) -> list[Find]:
    """Return which secrets are in what, in whichever way they are written down."""
    found = []
    for what, secret in planted.secrets.items():
        forms = [each.encode("utf-8", "surrogatepass") for each in forms_of([secret])]
        found += [
            Find(what, place) for place, text in haystack.items() if any(each in text for each in forms)
        ]
    return found


@dataclass(slots=True)
class Mirror:
    """A server that gives back what it is sent, also as the reason for refusing it, and hands out planted tokens."""

    url: str
    planted: Planted
    heard: list[str] = field(default_factory=list)

    async def reflect(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        self.heard.append(f"{asked.target} {asked.headers} {asked.body!r}")
        said = json.dumps(
            {"headers": asked.headers, "target": asked.target, "body": asked.body.decode("utf-8", "replace")}
        )
        if "token" in asked.target.split("?")[0].rsplit("/", 1)[-1] or asked.target == "/api/auth":
            told: dict[str, Any] = {
                "access_token": self.planted.secrets["access token"],
                "expires_in": 3600,
                "token_type": "Bearer",
                "session": {"sid": self.planted.secrets["session id"], "validity": 1800},
            }
            writer.write(answer(json.dumps(told), Content_Type="application/json"))
            return
        refuses = "refuse" in said
        told = {"ok": not refuses, "status": "failed", "id": "1", "said": said}
        told |= dict.fromkeys(
            ("message", "error", "description", "status_msg", "channel", "ts", "name", "key"), said
        )
        told |= {"result": {"message_id": 1, "chat": {"id": 1}, "username": said}, "errorMessages": [said]}
        status = "400 No" if refuses else "200 OK"
        writer.write(
            answer(
                json.dumps(told),
                status=status,
                Content_Type="application/json",
                X_Said=said[:3000].replace("\n", " "),
            )
        )


@asynccontextmanager
async def _mirror(planted: Planted) -> AsyncIterator[Mirror]:
    async with AsyncExitStack() as stack:
        made = Mirror("", planted)
        server = await stack.enter_async_context(serving(made.reflect))
        made.url = server.url
        yield made


@contextmanager
def _running(opened: Any) -> Iterator[Any]:
    """Keep something of asyncio open in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="mirror", daemon=True)
    thread.start()

    def do(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    try:
        value = do(opened.__aenter__())
        try:
            yield value
        finally:
            do(opened.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


class Ear:
    """Everything that is said to a Valkey, from its making to `close`."""

    def __init__(self, valkey: servers.Valkey) -> None:
        self.heard = bytearray()
        told: dict[str, Any] = valkey.client.connection_pool.connection_kwargs
        if path := told.get("path"):
            self._line = socket.socket(socket.AF_UNIX)
            self._line.connect(path)
        else:
            self._line = socket.create_connection((told["host"], told["port"]))
        self._line.sendall(b"MONITOR\r\n")
        self._thread = threading.Thread(target=self._listen, name="ear", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while data := self._line.recv(1 << 16):
            self.heard += data

    def close(self) -> None:
        """Stop listening."""
        self._line.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._line.close()


class Hunt:
    """One installation with its secrets."""

    def __init__(
        self,
        at: Installation,
        planted: Planted,
        mirror: Mirror,
        postgres: tuple[str, str],
        ports: Mapping[str, int],
    ) -> None:
        self.at = at
        self.planted = planted
        self.mirror = mirror
        self._postgres = postgres
        self._ports = ports
        self.answers: dict[str, bytes] = {}
        self.names: dict[str, str] = {}
        self.executions: list[str] = []

    def plant(self) -> None:
        """Plant them: connections of every kind, keys, users, webhooks, subscriptions, tokens."""
        for what in _TOKENS:
            self.planted.plant(what)
        for name, (kind, values, hosts) in self._connections().items():
            body = {"name": name, "kind": kind, "values": values, "hosts": hosts}
            self._keep("connection " + name, self.at.http.post("/api/v1/connections", json=body))
        self._workflows()
        self._people()
        for number in range(MANY - len(self.planted.secrets)):
            made = self._made("/api/v1/keys", {"name": f"key{number}", "scopes": ["execution:start"]})
            self.planted.plant(f"API key {number}", made["key"])
            self.names["key"] = made["id"]

    def _made(self, path: str, body: Mapping[str, Any]) -> Any:
        """Make something whose answer hands a secret out, which is not kept."""
        made = self.at.http.post(path, json=dict(body))
        assert made.status_code in (200, 201), made.text
        return made.json()

    def _connections(self) -> dict[str, tuple[str, dict[str, Json], list[str]]]:
        """Return a connection of every kind, with a planted secret in each field that is one."""
        url, host = self.mirror.url, self.mirror.url.removeprefix("http://")
        name = host.split(":")[0]
        database, user = self._postgres
        plain: dict[str, dict[str, Json]] = {
            "api_key": {"header": "X-Key"},
            "basic": {"username": "ada"},
            "oauth2": {"token_url": f"{url}/token", "client_id": "c", "grant": "refresh_token"},
            "google": {"client_id": "c", "token_url": f"{url}/token", "base_url": url},
            "smtp": {
                "host": name,
                "port": self._ports["smtp"],
                "security": "none",
                "username": "ada",
                "sender": "a@b.c",
            },
            "postgresql": {
                "host": "127.0.0.1",
                "port": self._ports["postgresql"],
                "tls": "none",
                "database": database,
                "username": user,
            },
            "mariadb": {
                "host": name,
                "port": self._ports["mariadb"],
                "tls": "none",
                "database": "d",
                "username": "u",
            },
            "redis": {"host": name, "port": self._ports["redis"], "tls": "none"},
            "s3": {"endpoint": url, "region": "r", "access_key": "AKIA1", "bucket": "b", "path_style": True},
            "sqlite": {"path": "a.db", "create": True},
            "opnsense": {"key": "k"},
            "alertmanager": {"username": "u"},
            "jira": {"email": "e"},
            **{kind: {"tenant": "t", "client_id": "c", "login_url": url} for kind in ("entra", "defender")},
        }
        found: dict[str, tuple[str, dict[str, Json], list[str]]] = {}
        for kind, type_ in built_in().connections.items():
            properties: dict[str, Any] = type_.schema()["properties"]  # type: ignore[assignment]  # an object
            values = dict(plain.get(kind, {}))
            if "base_url" in properties and "base_url" not in values:
                values["base_url"] = f"{url}/v1" if kind in ("openai", "anthropic") else url
            for each, schema in properties.items():
                is_secret = schema.get("writeOnly") or any(
                    one.get("writeOnly") for one in schema.get("anyOf", ())
                )
                if is_secret and each != "service_account":
                    what = f"{kind} {each}"
                    values[each] = self.planted.secrets.get(what) or self.planted.plant(what)
            hosts = [host] if kind in ("basic", "bearer", "api_key", "oauth2") else []
            found[kind] = (kind, values, hosts)
        key = google_key()
        self.planted.plant("google service_account", key["private_key"].splitlines()[5])
        account: dict[str, Json] = {
            "service_account": json.dumps(key),
            "base_url": url,
            "token_url": f"{url}/token",
        }
        found["robot"] = ("google", account, [])
        return found

    def _workflows(self) -> None:
        url = self.mirror.url
        calls: list[tuple[str, dict[str, Any]]] = []
        for path in ("fine", "refuse"):
            calls += [
                ("http_request", {"url": f"{url}/{path}", "connection": each})
                for each in ("basic", "bearer", "api_key", "oauth2")
            ]
            calls += [
                ("github_request", {"path": f"/{path}"}),
                ("stripe_request", {"path": f"/v1/{path}", "method": "POST", "body": {"a": 1}}),
                ("slack_post", {"channel": "C", "text": path}),
                ("discord_post", {"channel": "1", "text": path}),
                ("telegram_send", {"chat": 1, "text": path}),
                ("ai_call", {"model": "gpt-4o", "prompt": path}),
                ("ai_call", {"model": "claude-opus-5-5", "prompt": path}),
                ("sheets_read", {"spreadsheet": path, "range": "A1"}),
                ("sheets_read", {"spreadsheet": path, "range": "A1", "connection": "robot"}),
                ("s3_get", {"key": path}),
                ("hmac", {"value": path, "connection": "signing_key"}),
                ("alert_admin", {"summary": path}),
                ("open_ticket", {"project": "P", "summary": path}),
                ("disable_user", {"user": path}),
                ("forensic_dump", {"machine": path}),
            ]
        calls += [
            ("quarantine_ip", {"ip": "203.0.113.9"}),
            ("block_domain", {"domain": "refuse.example"}),
            ("enrich_ip", {"ip": "203.0.113.9"}),
            ("enrich_hash", {"hash": "0" * 64}),
            ("send_email", {"to": "a@b.c", "body": "a"}),
            ("redis_command", {"command": "GET", "arguments": ["a"]}),
            ("sql_query", {"connection": "postgresql", "sql": "SELECT 1 AS a"}),
            ("sql_query", {"connection": "postgresql", "sql": "SELECT nothing"}),
            ("sql_query", {"connection": "mariadb", "sql": "SELECT 1"}),
        ]
        once = {"retry": {"max_attempts": 1}, "on_uncertain": "fail"}
        nodes = [node(f"n{number}", type_, config, **once) for number, (type_, config) in enumerate(calls)]
        told = [
            node(f"l{number}", "log", {"message": f"{{{{ nodes.n{number}.output | default('') | tojson }}}}"})
            for number in range(len(nodes))
        ]
        ways = [{"from": f"n{number}", "to": f"l{number}"} for number in range(len(nodes))]
        suffering = [{**each, "on_error": "continue"} for each in nodes]
        asks = node("ask", "approval", {"title": "Go on?"})
        trigger = {"type": "event", "config": {"type": "due"}}
        self.at.push(document([*suffering, *told], ways, name="everything"))
        self.at.push(document([asks], name="asks", trigger=trigger))
        fails = node("fails", "http_request", {"url": f"{url}/refuse", "connection": "bearer"}, **once)
        self.names["ref"] = self.at.push(document([fails], name="fails"))

    def _people(self) -> None:
        password = self.planted.plant("password of a user")
        self._keep(
            "user",
            self.at.http.post(
                "/api/v1/users", json={"name": "ada@example.com", "password": password, "owns": True}
            ),
        )
        session = self._made("/api/v1/auth/login", {"name": "ada@example.com", "password": password})
        self.planted.plant("access token of a session", session["access_token"])
        self.planted.plant("refresh token of a session", session["refresh_token"])
        invited = self._made("/api/v1/users", {"name": "bob@example.com"})
        self.planted.plant("invitation", invited["invitation"]["token"])
        self.planted.plant("token of the keeper", (self.at.data / "api.token").read_text().strip())
        for number in range(3):
            config = {"path": f"/signed{number}", "verify": "standard"}
            made = self._made(
                "/api/v1/webhooks", {"workflow": "fails", "name": f"signed{number}", "config": config}
            )
            self.planted.plant(f"signing secret of webhook {number}", made["secret"])
            self.names["webhook"] = made["id"]
        opened = self._made(
            "/api/v1/webhooks", {"workflow": "asks", "name": "open", "config": {"verify": "none"}}
        )
        self.planted.plant("address of a webhook", opened["url"].rsplit("/", 1)[-1])
        self._secret_address = opened["url"]
        for number in range(2):
            made = self._made("/api/v1/subscriptions", {"url": f"{self.mirror.url}/hooks{number}"})
            self.planted.plant(f"secret of subscription {number}", made["secret"])
            self.names["subscription"] = made["id"]

    def use(self) -> None:
        """Let everything be used, with success and with failure."""
        for name in ("everything", "fails"):
            done = self.at.execute(name, {}, Prefer="wait=60")
            assert done["status"] in ("succeeded", "failed"), done
            self.executions.append(done["id"])
            self._keep(f"execution of {name}", json.dumps(done).encode())
        for what, each in self.planted.secrets.items():
            if what.startswith(("API key", "access token of")):
                shown = {"Authorization": f"Bearer {each}"}
                self._keep(f"asked with {what}", self.at.http.get("/api/v1/auth/me", headers=shown))
                self._keep(f"refused with {what}", self.at.http.get("/api/v1/users", headers=shown))
        for each in self.at.http.get("/api/v1/connections").json()["data"]:
            tested = self.at.http.post(f"/api/v1/connections/{each['name']}/test")
            self._keep(f"test of {each['name']}", tested)
        self._keep(
            "wrong password",
            self.at.http.post("/api/v1/auth/login", json={"name": "ada@example.com", "password": "wrong"}),
        )
        self._keep("delivery", self.at.http.post(httpx2.URL(self._secret_address).path, json={}))
        self._keep("wrong delivery", self.at.http.post("/webhooks/signed0", json={}))
        self._keep(
            "delivery of a test",
            self.at.http.post(f"/api/v1/webhooks/{self.names['webhook']}/test", json={"payload": {}}),
        )
        self._keep("event", self.at.http.post("/api/v1/events", json={"type": "due", "data": {}}))
        wait_until(lambda: bool(self._approvals()), 20, "a question")
        asked = self._approvals()
        self.names["approval"] = asked[0]["id"]
        self.names["execution"] = self.executions[0]

    def leak(self, secret: str) -> None:
        """Give a secret away, as an author would who has it logged."""
        self.at.push(document([node("say", "log", {"message": "{{ said }}"})], name="leaks"))
        done = self.at.execute("leaks", {"said": secret}, Prefer="wait=30")
        self.executions.append(done["id"])

    def used(self) -> set[str]:
        """Return which of the secrets the mirror has been sent."""
        heard = {"heard": "\n".join(self.mirror.heard).encode()}
        return {each.what for each in search(self.planted, heard)}

    def crawl(self) -> list[str]:
        """Ask for everything that can be looked at; return the paths that nothing was there for."""
        known = {
            **self.names,
            "node": "n0",
            "number": "1",
            "name": "bearer",
            "user": "ada@example.com",
            "project": "default",
        }
        left = []
        for path, operations in self.at.http.get("/api/v1/openapi.json").json()["paths"].items():
            if "get" not in operations or path.endswith(("/feed", "/csrf-token")):
                continue
            where = re.sub(r"\{(\w+)\}", lambda found: known.get(found[1], "nothing"), path)
            given = self.at.http.get(
                where,
                headers={"Accept": "application/json"},
                params={"wait": "0"} if "stream" in where else {},
            )
            self._keep(f"GET {path}", given)
            if given.status_code >= 400:
                left.append(path)
        for each in self.executions:
            for kind in ("nodes?output=true", "events", "steps"):
                self._keep(f"{kind} of {each}", self.at.http.get(f"/api/v1/executions/{each}/{kind}"))
        return left

    def haystack(self, ear: Ear, folder: Path) -> dict[str, bytes]:
        """Return everything there is to look through, after the installation has ended."""
        saved = folder / "backup.db"
        done = self.at.command("backup", str(saved), "--json")
        assert done.code == 0, done.err
        self.at.stop()
        ear.close()
        found = {f"API: {place}": text for place, text in self.answers.items()}
        found |= {f"row of {table}": text for table, text in _rows(self.at.data / "celeriac.db")}
        found |= {f"file {path.name}": path.read_bytes() for path in _files(self.at.data)}
        found |= {
            "backup": saved.read_bytes(),
            "log": self.at.log.read_bytes(),
            "broker": bytes(ear.heard),
        }
        return found

    def _approvals(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.at.http.get("/api/v1/approvals").json()["data"]
        return found

    def _keep(self, place: str, given: httpx2.Response | bytes) -> None:
        if isinstance(given, bytes):
            self.answers[place] = given
        else:
            self.answers[place] = repr(sorted(given.headers.items())).encode() + given.content


def _rows(path: Path) -> Iterator[tuple[str, bytes]]:
    raw = sqlite3.connect(path)
    try:
        tables = [name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            rows = raw.execute(f'SELECT * FROM "{table}"').fetchall()
            yield (
                table,
                b"\n".join(
                    each if isinstance(each, bytes) else str(each).encode() for row in rows for each in row
                ),
            )
    finally:
        raw.close()


def _files(folder: Path) -> list[Path]:
    return [each for each in folder.rglob("*") if each.is_file() and each.name not in KEPT]


@dataclass(frozen=True, slots=True)
class Search:
    """What was searched for, what was found, and where nothing was to be looked at."""

    planted: Planted
    places: int
    size: int
    found: list[Find]
    leaked: list[Find]
    """Where the one secret was found that is given away on purpose: the search sees what there is to be seen."""
    used: set[str]
    unseen: list[str]


def run() -> Search:
    """Plant, use, and search."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clrh-", dir="/tmp")))
        valkey, postgres = servers.start_valkey(), servers.start_postgres()
        stack.callback(valkey.stop)
        stack.callback(postgres.stop)
        told = conninfo_to_dict(stack.enter_context(postgres.database()))
        host, port = str(told["host"]), int(str(told.get("port", 5432)))
        redis: dict[str, Any] = valkey.client.connection_pool.connection_kwargs
        ways = {
            "postgresql": forwarding(f"{host}/.s.PGSQL.{port}" if host.startswith("/") else host, port),
            "redis": forwarding(str(redis.get("path") or redis.get("host")), int(redis.get("port", 6379))),
        }
        ports = {name: stack.enter_context(_running(way)).port for name, way in ways.items()}
        ports["mariadb"] = 1  # where nobody is
        planted = Planted()
        ports["smtp"] = stack.enter_context(_running(mailbox(password=planted.plant("smtp password")))).port
        mirror = stack.enter_context(_running(_mirror(planted)))
        settings = {"BROKER_URL": valkey.url, "CELERIAC_FILES": str(folder), "CELERIAC_LOG_LEVEL": "debug"}
        at = Installation(around(folder / "data", **settings), folder / "up.log").start()
        stack.callback(at.stop)
        ear = Ear(valkey)
        hunt = Hunt(at, planted, mirror, (str(told["dbname"]), str(told["user"])), ports)
        hunt.plant()
        hunt.use()
        decoy = Planted()
        hunt.leak(decoy.plant("leak"))
        left = hunt.crawl()
        haystack = hunt.haystack(ear, folder)
        size = sum(map(len, haystack.values()))
        found, leaked = search(planted, haystack), search(decoy, haystack)
        return Search(planted, len(haystack), size, found, leaked, hunt.used(), left)


def main() -> int:
    """Search, and print what was found; return the exit code."""
    done = run()
    print(
        f"searched {done.places} places, {done.size / 1e6:.1f} MB; servers gave back {len(done.used)} of the secrets"
    )
    for each in done.found:
        print(f"  {each.what}: in {each.place}")
    print(f"given away on purpose, one was found in {len(done.leaked)} places")
    print(f"{len({each.what for each in done.found})} of {len(done.planted.secrets)} planted secrets found")
    return 1 if done.found or not done.leaked else 0


if __name__ == "__main__":
    sys.exit(main())
