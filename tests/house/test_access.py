"""Whatever the API reads or writes, it says of which project: a default would be the hole through which others look in."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = [
    "engine.queries",
    "engine.catalog",
    "engine.approval_rows",
    "engine.callees",
    "engine.bases",
    "engine.outside.connection_rows",
]


def of_a_project() -> dict[str, int]:
    """The functions that take a project, and the place it has among what is given by position."""
    found = {}
    for room in ROOMS:
        module = importlib.import_module(room)
        for name, made in vars(module).items():
            functions = [(f"{room.rpartition('.')[2]}.{name}", made)] if inspect.isfunction(made) else []
            if inspect.isclass(made) and made.__module__ == room:
                functions = [
                    (f"versions.{each}", part)
                    for each, part in vars(made).items()
                    if inspect.isfunction(part)
                ]
            for called, function in functions:
                parameters = [each for each in inspect.signature(function).parameters if each != "self"]
                if "project" in parameters and not name.startswith("_"):
                    found[called] = parameters.index("project")
    return found


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    for path in sorted((ROOT / "api").rglob("*.py")):
        for part in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(part, ast.Call):
                yield str(path.relative_to(ROOT)), ".".join(ast.unparse(part.func).split(".")[-2:]), part
                # asyncio.to_thread(function, ...) calls what it is given
                if ast.unparse(part.func) == "asyncio.to_thread":
                    inner = ast.Call(part.args[0], part.args[1:], part.keywords)
                    name = ".".join(ast.unparse(part.args[0]).split(".")[-2:])
                    yield str(path.relative_to(ROOT)), name, ast.copy_location(inner, part)


def test_the_api_always_says_of_which_project() -> None:
    taking = of_a_project()
    assert len(taking) > 15
    seen, forgotten = 0, []
    for path, name, call in calls():
        if name in taking:
            seen += 1
            given = len(call.args) > taking[name] or any(each.arg == "project" for each in call.keywords)
            if not given:
                forgotten.append(f"{path}:{call.lineno} {name}")
    assert seen > 15
    assert forgotten == []
