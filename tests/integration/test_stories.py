"""Workflows over real servers, by the engine's own way out: an import from an object store into two databases, told by mail."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from celeriac import Json
from engine.outside import connection_rows
from tests import bucket, servers
from tests.builders import document, node
from tests.forwarding import forwarding
from tests.loopback import serving
from tests.mailbox import Mailbox, mailbox
from tests.office import Office
from tests.office import office as made

UPSERT = (
    "INSERT INTO orders (id, customer, total) VALUES (:id, :customer, :total) "
    "ON CONFLICT (id) DO UPDATE SET customer = excluded.customer, total = excluded.total"
)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as made:
        yield made


@pytest.fixture
async def office(stack: AsyncExitStack, tmp_path: Path) -> Office:
    return await stack.enter_async_context(made(tmp_path))


async def reachable(url: str, stack: AsyncExitStack) -> int:
    """The port of a database that listens on a Unix socket."""
    told = conninfo_to_dict(url)
    host, port = str(told["host"]), int(str(told.get("port", 5432)))
    way = forwarding(f"{host}/.s.PGSQL.{port}" if host.startswith("/") else host, port)
    return (await stack.enter_async_context(way)).port


async def post_office(office: Office, stack: AsyncExitStack) -> Mailbox:
    box = await stack.enter_async_context(mailbox())
    values: dict[str, Json] = {
        "host": "127.0.0.1",
        "port": box.port,
        "security": "none",
        "sender": "bot@example.com",
    }
    office.keep("email", "smtp", values)
    return box


async def test_an_import_into_two_databases_is_told_by_mail(
    office: Office,
    stack: AsyncExitStack,
    postgres: servers.Postgres,
    valkey: servers.Valkey,
    tmp_path: Path,
) -> None:
    csv = b"id,customer,total\n1,Ada,9.50\n2,Grace,12\n"
    store = bucket.Bucket(
        objects={"in/a.csv": bucket.Stored(csv, {"Content-Type": "text/csv", "ETag": '"x"'})}
    )
    s3 = await stack.enter_async_context(serving(store.handle))
    keys = bucket.KEYS
    office.keep(
        "s3",
        "s3",
        {
            "endpoint": s3.url,
            "region": keys.region,
            "access_key": keys.access_key,
            "secret_key": keys.secret_key,
            "bucket": "box",
            "path_style": True,
        },
    )
    url = stack.enter_context(postgres.database())
    told = conninfo_to_dict(url)
    pg: dict[str, Json] = {"host": "127.0.0.1", "port": await reachable(url, stack), "tls": "none"}
    office.keep("pg", "postgresql", {**pg, "database": str(told["dbname"]), "username": str(told["user"])})
    office.keep("file", "sqlite", {"path": "orders.db", "create": True})
    valkey.flush()
    where: dict[str, Any] = valkey.client.connection_pool.connection_kwargs
    way = forwarding(str(where.get("path") or where.get("host")), int(where.get("port", 6379)))
    redis = await stack.enter_async_context(way)
    office.keep("redis", "redis", {"host": "127.0.0.1", "port": redis.port, "tls": "none"})
    box = await post_office(office, stack)

    create = "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, customer TEXT, total NUMERIC(10, 2))"
    nodes = [
        node("make", "sql_execute", {"connection": "pg", "sql": create, "idempotent": True}),
        node("make_file", "sql_execute", {"connection": "file", "sql": create, "idempotent": True}),
        node("fetch", "s3_get", {"key": "{{ file }}"}),
        node("rows", "csv_parse", {"text": "{{ nodes.fetch.output.content }}"}),
        node(
            "keep",
            "sql_execute",
            {
                "connection": "pg",
                "sql": UPSERT.replace(":id", "CAST(:id AS INTEGER)").replace(":total", "CAST(:total AS NUMERIC)"),
                "parameters": "{{ nodes.rows.output.rows }}",
                "remember": "celeriac_effects",
            },
        ),
        node(
            "copy",
            "sql_execute",
            {"connection": "file", "sql": UPSERT, "parameters": "{{ nodes.rows.output.rows }}", "idempotent": True},
        ),
        node("count", "redis_command", {"command": "INCRBY", "arguments": ["imports", "{{ nodes.keep.output.count }}"]}),
        node("sum", "sql_query", {"connection": "pg", "sql": "SELECT count(*) AS orders, sum(total) AS total FROM orders"}),
        node("report", "set", {"values": "{{ nodes['sum'].output.rows[0] }}"}),
        node("tell", "send_email", {"to": "ada@example.com", "subject": "Imported"}),
    ]  # fmt: skip
    ways = "make->make_file->fetch->rows->keep->copy->count->sum->report->tell"
    await office.run(nodes, ways, {"file": "in/a.csv"})
    with psycopg.connect(url) as eye:
        assert eye.execute("SELECT id, customer, total::text FROM orders ORDER BY id").fetchall() == [
            (1, "Ada", "9.50"),
            (2, "Grace", "12.00"),
        ]
        assert eye.execute("SELECT count(*) FROM celeriac_effects").fetchone() == (1,)
    file = sqlite3.connect(tmp_path / "files" / "orders.db")
    assert file.execute("SELECT count(*) FROM orders").fetchone() == (2,)
    file.close()
    assert valkey.client.get("imports") == b"2"
    (message,) = box.messages
    assert '"orders": 2' in message.get_content()
    assert '"total": "21.50"' in message.get_content()
    used = {each.name: each.last_used_at for each in connection_rows.listing(office.bench.connection)}
    assert set(used) == {"s3", "pg", "file", "redis", "email"}
    assert None not in used.values()


async def test_the_seeds_summary_by_mail_is_the_output_of_the_node_before(
    office: Office, stack: AsyncExitStack
) -> None:
    box = await post_office(office, stack)
    nodes = [
        node("node_1", "transform", {"expression": "'Summary: ' ~ (email.body | truncate(20))"}),
        node("node_2", "send_email", {"to": "{{email.from}}", "subject": "Summary"}),
    ]
    email: dict[str, Json] = {
        "from": "ada@example.com",
        "body": "A long letter about very little, in many words.",
    }
    found = await office.run(nodes, "node_1->node_2", {"email": email})
    (message,) = box.messages
    assert message["To"] == "ada@example.com"
    assert message.get_content().startswith("Summary: A long letter")
    assert found["node_2"]["accepted"] == ["ada@example.com"]


async def test_a_node_does_not_leave_the_hosts_and_files_of_its_connection(
    office: Office, tmp_path: Path
) -> None:
    (tmp_path / "celeriac.db").exists()
    office.keep("file", "sqlite", {"path": "../celeriac.db"})
    office.keep("pg", "postgresql", {"host": "10.0.0.1", "database": "d", "username": "u", "tls": "none"})
    for connection, code in (("file", "file.outside"), ("pg", "egress.refused")):
        nodes = [node("a", "sql_query", {"connection": connection, "sql": "SELECT 1 AS a"})]
        execution = office.bench.start(office.bench.push(document(nodes, name=connection)))
        await office.bench.carry(office.bench.executor(around=office.outside))
        assert office.bench.error(execution)["code"] == code
