"""Whatever the API reads or writes, it says of which project: a default would be the hole through which others look in."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]

FOR_ALL = {("api/hub.py", "feed.read")}
"""The hub reads once for everybody, and tells each follower what its topic, which has a project, wants."""


def modules() -> Iterator[ModuleType]:
    for path in sorted((ROOT / "engine").rglob("*.py")):
        if "migrations" not in path.parts and path.stem != "__init__":
            yield importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


def of_a_project() -> dict[str, int]:
    """The functions for which a project is understood, and the place it has among what is given by position."""
    found = {}
    for module in modules():
        for name, made in vars(module).items():
            if getattr(made, "__module__", "") != module.__name__:
                continue
            functions = [(f"{module.__name__.rpartition('.')[2]}.{name}", made)]
            if inspect.isclass(made):
                functions = [(f"{name.lower()}.{each}", part) for each, part in vars(made).items()]
            for called, function in functions:
                if inspect.isfunction(function) and "project" in inspect.signature(function).parameters:
                    given = {
                        each: one
                        for each, one in inspect.signature(function).parameters.items()
                        if each != "self"
                    }
                    if given["project"].default is not inspect.Parameter.empty:
                        found[called] = [*given].index("project")
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
    assert len(taking) > 20
    seen, forgotten = 0, []
    for path, name, call in calls():
        if name in taking and (path, name) not in FOR_ALL:
            seen += 1
            given = len(call.args) > taking[name] or any(each.arg == "project" for each in call.keywords)
            if not given:
                forgotten.append(f"{path}:{call.lineno} {name}")
    assert seen > 15
    assert forgotten == []
