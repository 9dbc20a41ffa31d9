"""Connections of nodes to real databases: a fresh one of each kind, reached by TCP."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from celeriac.testing import OpenLink
from nodes.connections.mariadb import Mariadb as MariadbFields
from nodes.connections.postgresql import Postgresql
from nodes.connections.sqlite import Sqlite
from tests import servers
from tests.forwarding import Forwarding, forwarding
from tests.mariadb import USER, Mariadb

KINDS = ("sqlite", "postgresql", "mariadb")


@dataclass(frozen=True, slots=True)
class Database:
    """A link to a fresh database, and the port on the way there, if there is one."""

    kind: str
    link: OpenLink
    way: Forwarding | None


async def sqlite_at(folder: Path, **fields: Any) -> Database:
    given = {"path": str(folder / "orders.db"), "create": True, **fields}
    return Database("sqlite", OpenLink("sqlite", Sqlite(**given)), None)


async def postgresql_at(url: str, stack: AsyncExitStack, **fields: Any) -> Database:
    told = conninfo_to_dict(url)
    host = str(told["host"])
    port = int(str(told.get("port", 5432)))
    if host.startswith("/"):
        host = f"{host}/.s.PGSQL.{port}"
    way = await stack.enter_async_context(forwarding(host, port))
    given = {
        "host": "127.0.0.1",
        "port": way.port,
        "database": told["dbname"],
        "username": told["user"],
        "password": told.get("password"),
        "tls": "none",
        **fields,
    }
    return Database("postgresql", OpenLink("postgresql", Postgresql(**given)), way)


async def mariadb_at(server: Mariadb, stack: AsyncExitStack, **fields: Any) -> Database:
    name = stack.enter_context(server.database())
    way = await stack.enter_async_context(forwarding("127.0.0.1", server.port))
    given = {
        "host": "127.0.0.1",
        "port": way.port,
        "database": name,
        "username": USER,
        "password": server.password,
        "tls": "none",
        **fields,
    }
    return Database("mariadb", OpenLink("mariadb", MariadbFields(**given)), way)


async def database_of(kind: str, request: pytest.FixtureRequest, stack: AsyncExitStack) -> Database:
    """A fresh database of a kind, for a test."""
    if kind == "sqlite":
        return await sqlite_at(request.getfixturevalue("tmp_path"))
    if kind == "mariadb":
        return await mariadb_at(request.getfixturevalue("mariadb"), stack)
    server: servers.Postgres = request.getfixturevalue("postgres")
    url = stack.enter_context(server.database())
    return await postgresql_at(url, stack)
