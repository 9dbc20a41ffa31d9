"""Every place where something may break has a name, and whatever reaches out of a process passes such a place."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from engine.failpoints import PLACES
from tests.house.test_imports import modules

DOORS = {
    "sqlite3.connect",
    "psycopg.connect",
    "pymysql.connect",
    "aiosmtplib.SMTP",
    "asyncio.open_connection",
    "asyncio.open_unix_connection",
    "httpx2.AsyncClient",
    "httpx2.Client",
    "httpcore2.AsyncConnectionPool",
    "loop.sock_connect",
    "self._app.connection_for_write",
    "socket.create_connection",
    "socket.socketpair",
    "kombu.Connection",
    "redis.Redis",
}
"""The calls by which a process of ours gets into conversation with anything outside of it."""

NAMED_ELSEWHERE = {
    "engine/store/database.py": "BreakingDatabase goes around it: database.connect, database.begin, database.statement",
    "engine/store/schema.py": "a copy for a migration, before anything runs",
    "engine/store/memory.py": "a database that lives and dies with its process",
    "engine/outside/egress.py": "it asks Dialling for addresses first: network.dial",
    "nodes/connections/redis.py": "its socket is dialled by Dialling: network.dial",
    "nodes/databases/mariadb.py": "its socket is dialled by Dialling: network.dial",
    "nodes/databases/sqlite.py": "a file of the workflows",
    "worker/children.py": "children die by kill and not by a place: see test_processes",
    "worker/local_models.py": "a child like the others",
    "engine/valkey.py": "it asks whether the server that it has started answers yet",
}


def calls(tree: ast.Module) -> Iterator[str]:
    for found in ast.walk(tree):
        if isinstance(found, ast.Call):
            yield ast.unparse(found.func)


def marks() -> Iterator[tuple[str, str]]:
    """Each place that is marked, with the file that marks it."""
    for path, tree in modules("engine", "worker", "api", "nodes"):
        for found in ast.walk(tree):
            if isinstance(found, ast.Call) and ast.unparse(found.func) == "failpoint":
                (name,) = found.args
                assert isinstance(name, ast.Constant), f"{path}: a failpoint is named by a word"
                yield str(name.value), str(path)


def test_every_place_is_marked_and_every_mark_is_known() -> None:
    marked = {name for name, _ in marks()}
    assert marked == set(PLACES)


def test_a_place_is_marked_in_one_file() -> None:
    files = Counter(name for name, _ in set(marks()))
    assert [name for name, count in files.items() if count > 1] == []


def test_whatever_reaches_out_of_a_process_passes_a_place() -> None:
    marking = {path for _, path in marks()}
    reaching = {
        str(path)
        for path, tree in modules("engine", "worker", "api", "nodes")
        if any(each in DOORS for each in calls(tree))
    }
    assert reaching - marking - set(NAMED_ELSEWHERE) == set()
    assert set(NAMED_ELSEWHERE) - reaching == set(), "these reach out no more"
