"""Planted secrets: after nodes have used them, failed with them and been shown them by servers, nothing stored has one."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from celeriac import Json
from engine.outside import connection_rows
from engine.outside.connections import make_connection
from engine.outside.scrub import forms_of
from engine.outside.sealing import SealingKeys
from engine.outside.surroundings import Outside
from engine.settings import DEFAULT_PROJECT
from tests.builders import document, node
from tests.loopback import Asked, answer, serving
from tests.mailbox import mailbox
from tests.models import chat
from tests.workbench import NOW, Workbench

KEYS = SealingKeys.of(b"k" * 32)
TABLES = (
    "execution",
    "segment",
    "journal",
    "event",
    "blob",
    "connection",
    "workflow_version",
    "cache_entry",
)


def secret(name: str) -> str:
    return f"s3cr3t/{name}+{base64.b64encode(name.encode()).decode()}"


async def echo(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Give back everything that came, and fail every second time."""
    said = json.dumps({"headers": asked.headers, "target": asked.target, "body": asked.body.decode()})
    if asked.target.endswith("/chat/completions"):
        writer.write(chat(said))
        return
    failing = "fail" in asked.target
    writer.write(answer(said, status="400 No" if failing else "200 OK", Content_Type="application/json"))


def stored(bench: Workbench) -> str:
    return "\n".join(str(row) for table in TABLES for row in bench.query(f"SELECT * FROM {table}"))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    made = Workbench(tmp_path)
    yield made
    made.close()


async def test_no_secret_gets_into_anything_that_is_stored(bench: Workbench) -> None:
    def keep(name: str, kind: str, values: dict[str, Json], hosts: list[str]) -> None:
        sealed = make_connection(
            connection_id=f"conn_{name}",
            project_id=DEFAULT_PROJECT,
            name=name,
            kind=kind,
            hosts=hosts,
            values=values,
            kinds=bench.registry.connections,
            keys=KEYS,
            now=NOW,
            random_bytes=lambda count: b"r" * count,
        )
        bench.ask(connection_rows.save(sealed, replace=False))

    settings = dataclasses.replace(bench.settings, egress_allow="127.0.0.1")
    at = cast("Any", bench)
    outside = Outside(settings, at, at, bench.clock, bench.registry.connections, KEYS)
    async with serving(echo) as server, mailbox() as box:
        host = [f"127.0.0.1:{server.port}"]
        keep("bearer", "bearer", {"token": secret("bearer")}, host)
        keep("basic", "basic", {"username": "ada", "password": secret("basic")}, host)
        keep("header", "api_key", {"header": "X-Key", "value": secret("header")}, host)
        keep("query", "api_key", {"query": "key", "value": secret("query")}, host)
        keep("slack", "slack", {"token": secret("slack"), "base_url": server.url}, [])
        keep("github", "github", {"token": secret("github"), "base_url": server.url}, [])
        keep("stripe", "stripe", {"key": secret("stripe"), "base_url": server.url}, [])
        keep("openai", "openai", {"api_key": secret("openai"), "base_url": f"{server.url}/v1"}, [])
        mail: dict[str, Json] = {"host": "127.0.0.1", "port": box.port, "security": "none", "sender": "a@b.c"}
        keep("email", "smtp", mail, [])
        nodes = [
            *(
                node(f"{name}{number}", "http_request", {"url": f"{server.url}/{path}", "connection": name})
                for name in ("bearer", "basic", "header", "query")
                for number, path in enumerate(("fine", "fail"))
            ),
            node("slack", "slack_post", {"channel": "C1", "text": "a"}),
            node("github", "github_request", {"path": "/fine"}),
            node("github_", "github_request", {"path": "/fail"}),
            node("stripe", "stripe_request", {"path": "/v1/fine", "method": "POST", "body": {"a": 1}}),
            node("model", "ai_call", {"model": "gpt-4", "prompt": "a", "cache": {"ttl": "1h"}}),
            node("email", "send_email", {"to": "ada@example.com", "body": "a"}),
        ]
        nodes = [{**each, "on_error": "continue"} for each in nodes]
        active = bench.push(document(nodes))
        execution = bench.start(active)
        await bench.carry(bench.executor(around=outside))
        await outside.end()
        assert bench.status(execution) == "succeeded", bench.error(execution)
        assert len(server.asked) == len(nodes) - 1
    text = stored(bench)
    names = ("bearer", "basic", "header", "query", "slack", "github", "stripe", "openai")
    found = {name: [form for form in forms_of([secret(name)]) if form in text] for name in names}
    assert found == {name: [] for name in names}
    assert "***" in text
    assert "***" in str(bench.query("SELECT body FROM cache_entry"))
    # The search finds one that is there.
    bench.ask(
        lambda connection: connection.run("UPDATE workflow_version SET document = ?", (secret("slack"),))
    )
    assert secret("slack") in stored(bench)
