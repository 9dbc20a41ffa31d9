"""Whatever leaves the process is a crossing with a name, so that it can be broken on purpose."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.chaos import sweep
from tests.house.test_imports import modules

LEAVES = {
    "sqlite3.connect",
    "psycopg.connect",
    "socket.socket",
    "asyncio.open_connection",
    "asyncio.create_subprocess_exec",
    "subprocess.Popen",
    "time.time",
    "time.time_ns",
    "time.monotonic_ns",
    "os.urandom",
    "httpx2.AsyncClient",
    "httpx2.Client",
    "urllib.request.urlopen",
}
"""Calls that reach for database, network, processes or clock."""

PLAIN = {
    ("engine/clock.py", "SystemClock.__init__"): "the first look, before there is anything to lose",
    ("engine/clock.py", "SystemClock._counted"): "inside of clock.now",
    ("engine/clock.py", "SystemClock.mint"): "a new id's random bytes, which cannot fail",
    ("engine/store/database.py", "SqliteConnection.__init__"): "inside of database.connect",
    (
        "engine/store/memory.py",
        "MemoryConnection.__init__",
    ): "what `celeriac test` uses instead of a database",
    (
        "engine/valkey.py",
        "Valkey.start",
    ): "`celeriac up` starts a broker of its own with it; it may die at any time",
    (
        "engine/outside/warden.py",
        "main",
    ): "takes up its end of a socket, in a process that is none of the engine's",
    ("engine/store/schema.py", "_prepare_sqlite"): "makes the file; nobody runs yet",
}
"""Places that need no crossing of their own, and why."""

FACES = {
    "engine/store/database.py": {
        name: {"run", "batch", "insert", "begin", "commit", "rollback"}
        for name in ("SqliteConnection", "PostgresConnection")
    }
    | {name: {"connect"} for name in ("SqliteDatabase", "PostgresDatabase")},
    "engine/broker.py": {"Broker": {"publish", "tell", "hear", "say", "overhear", "lengths", "emptied"}},
    "engine/clock.py": {"SystemClock": {"now", "monotonic", "entropy"}},
}
"""Who speaks with the outside, and the questions that are put to it."""


def functions(tree: ast.AST, around: str = "") -> Iterator[tuple[str, ast.AST]]:
    for each in ast.iter_child_nodes(tree):
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            name = f"{around}.{each.name}".lstrip(".")
            if not isinstance(each, ast.ClassDef):
                yield name, each
            yield from functions(each, name)


def is_crossing(function: ast.AST) -> bool:
    found = getattr(function, "decorator_list", [])
    return any("crossing(" in ast.unparse(each) for each in found)


def test_what_reaches_outside_is_a_named_crossing() -> None:
    found = set()
    for path, tree in modules("engine"):
        for name, function in functions(tree):
            calls = {ast.unparse(each.func) for each in ast.walk(function) if isinstance(each, ast.Call)}
            if calls & LEAVES and not is_crossing(function):
                found.add((str(path), name))
    assert found == set(PLAIN)


@pytest.mark.parametrize("path", FACES)
def test_who_speaks_with_the_outside_names_every_question(path: str) -> None:
    tree = next(tree for name, tree in modules("engine") if str(name) == path)
    found = dict(functions(tree))
    missing = {
        f"{owner}.{name}"
        for owner, names in FACES[path].items()
        for name in names
        if not is_crossing(found[f"{owner}.{name}"])
    }
    assert missing == set()
    public = {
        name
        for name, function in found.items()
        if name.partition(".")[0] == "Broker" and not name.partition(".")[2].startswith("_")
    }
    assert public <= {f"Broker.{name}" for name in FACES["engine/broker.py"]["Broker"]} | {"Broker.close"}


def test_the_crossings_are_known_by_name() -> None:
    rooms = {place.partition(".")[0] for place in sweep.places() if place.endswith(".before")}
    assert {"database", "broker", "clock", "network", "child"} <= rooms
