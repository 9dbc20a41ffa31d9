from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("celeriac", "engine", "nodes", "api", "worker")

HEAVY = ("sqlalchemy", "alembic", "fastapi", "uvicorn", "typer", "rich", "flower", "croniter")
"""What a worker and a poller can do without; each costs time and memory in every process of an installation."""

LONGEST_SECONDS = 5.0
MOST_MEGABYTES = 120
"""Several times what is measured, so that only a package that should not be there trips over them."""

PROBE = """
import importlib, json, resource, sys
importlib.import_module(sys.argv[1])
used = resource.getrusage(resource.RUSAGE_SELF)
if sys.platform == "linux":
    # Not ru_maxrss: that begins with what the process was forked from.
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    peak = int(status["VmHWM"].split()[0]) / 1024
else:
    peak = used.ru_maxrss / (1024 * 1024)
print(json.dumps({"modules": sorted(sys.modules), "seconds": used.ru_utime + used.ru_stime, "megabytes": peak}))
"""


def modules(*rooms: str) -> Iterator[tuple[Path, ast.Module]]:
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))


def imported_at_top(tree: ast.Module) -> Iterator[str]:
    """What is imported when the module is: not inside functions, and not for type checkers only."""
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            yield from (each.name for each in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.level == 0 and statement.module:
            yield statement.module


def test_the_import_contracts_hold() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("room", ["engine.runtime", "worker.process", "nodes"])
def test_a_room_is_light_to_import(room: str) -> None:
    line = [sys.executable, "-c", PROBE, room]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    probe = json.loads(done.stdout)
    loaded = {name.partition(".")[0] for name in probe["modules"]}
    assert loaded & set(HEAVY) == set()
    assert probe["seconds"] < LONGEST_SECONDS
    assert probe["megabytes"] < MOST_MEGABYTES


def test_nodes_import_at_the_top_only_the_contract_and_small_things() -> None:
    allowed = set(sys.stdlib_module_names) | {"celeriac", "nodes", "pydantic", "httpx2"}
    found = {
        (str(path), name)
        for path, tree in modules("nodes")
        for name in imported_at_top(tree)
        if name.partition(".")[0] not in allowed
    }
    assert found == set()


def test_nobody_uses_the_stock_chord() -> None:
    found = []
    for path, tree in modules(*ROOMS):
        for node in ast.walk(tree):
            names = [each.name for each in node.names] if isinstance(node, ast.ImportFrom) else []
            if "chord" in names or (isinstance(node, ast.Attribute) and node.attr == "chord"):
                found.append(str(path))
    assert found == []


def test_pure_files_know_neither_time_nor_chance_nor_threads() -> None:
    pure = (
        "plan",
        "advance",
        "graph",
        "retry",
        "states",
        "definition",
        "problems",
        "timeline",
        "diff",
        "operations",
    )
    forbidden = {"time", "random", "secrets", "uuid", "threading", "asyncio", "os", "socket"}
    found = {
        (str(path), name)
        for path, tree in modules("engine")
        if path.parent.name == "engine" and path.stem in pure
        for name in imported_at_top(tree)
        if name in forbidden
    }
    assert found == set()


JUDGES = [
    *sorted((ROOT / "tests" / "chaos" / "reference").glob("*.py")),
    *(ROOT / "tests" / "chaos" / f"{name}.py" for name in ("checker", "evidence", "drafts")),
]


@pytest.mark.parametrize("path", JUDGES, ids=lambda each: each.name)
def test_who_judges_the_engine_shares_nothing_with_it(path: Path) -> None:
    imported = {
        name.split(".")[0]
        for each in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(each, (ast.Import, ast.ImportFrom))
        for name in (
            [each.module or ""] if isinstance(each, ast.ImportFrom) else [one.name for one in each.names]
        )
    }
    assert not imported & {"engine", "nodes", "api", "worker", "celeriac"}
