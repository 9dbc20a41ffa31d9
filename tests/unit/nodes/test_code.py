"""Code of definitions in its sandbox, in the child processes of a worker."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from celeriac import Fail, Json
from celeriac.testing import World, conform, run_node
from engine.checking import problems
from engine.context import NodeContext
from engine.performance import ChildDied
from engine.registry import Registry
from engine.settings import Settings
from nodes.code.code import code
from tests.builders import document, node
from tests.workbench import NOW
from worker.children import Children

WITH, WITHOUT = Registry.load(["nodes", "nodes.code"]), Registry.load(["nodes"])


async def run(text: str, **more: Any) -> Any:
    return await run_node(code, {"code": text, **more})


@pytest.mark.parametrize(
    ("text", "inputs", "value"),
    [
        ("x * 2 + len(rows)", {"x": 3, "rows": [1, 2]}, 8),
        (
            "def by(row):\n    return row['n']\nsorted(rows, key=by)[0]",
            {"rows": [{"n": 2}, {"n": 1}]},
            {"n": 1},
        ),
        ("import re\nre.findall('[0-9]+', t)", {"t": "a1b22"}, ["1", "22"]),
        ("(1, 2.5, None, True, 'x')", {}, [1, 2.5, None, True, "x"]),
        ("a = 1", {}, None),
        ("'{{ nodes.a.output }}'", {}, "{{ nodes.a.output }}"),
    ],
)
async def test_what_the_last_line_comes_to_is_the_output(
    text: str, inputs: dict[str, Json], value: Json
) -> None:
    outcome = await run(text, inputs=inputs)
    assert (outcome.error, outcome.value) == (None, value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("open('/etc/passwd').read()", "code.failed"),
        ("import socket", "code.failed"),
        ("import subprocess\nsubprocess.run(['id'])", "code.failed"),
        ("__import__('os').system('id')", "code.failed"),
        ("().__class__.__bases__[0].__subclasses__()", "code.failed"),
        ("import os\nos.environ['PATH']", "code.failed"),
        ("1 / 0", "code.failed"),
        ("nothing", "code.failed"),
        ("x = (", "code.syntax"),
        ("while True:\n    pass", "code.limit"),
        ("'a' * 10**9", "code.limit"),
        ("[0] * 10**9", "code.limit"),
        ("def f():\n    return f()\nf()", "code.limit"),
        ("b'bytes'", "code.output"),
        ("float('nan')", "code.output"),
        ("{1: 2}", "code.output"),
        ("{1, 2}", "code.output"),
    ],
)
async def test_it_reaches_nothing_and_passes_no_limit(text: str, said: str) -> None:
    outcome = await run(text, seconds=0.5, memory=20)
    assert (outcome.kind, outcome.code) == ("failed", said), outcome


async def test_what_it_prints_is_in_the_history() -> None:
    outcome = await run("print('hello')\n1")
    assert outcome.value == 1
    assert "hello" in str(outcome)


async def test_it_keeps_the_promises_of_a_node_type() -> None:
    assert await conform(code, World({"code": "1 + 1"})) == []


def test_it_is_off_until_somebody_turns_it_on() -> None:
    definition = document([node("a", "code", {"code": "1"})])
    assert [each.code for each in problems.check(definition, WITHOUT)] == ["definition.unknown_node_type"]
    assert problems.check(definition, WITH) == []


@pytest.fixture
async def children(tmp_path: Path) -> AsyncIterator[Children]:
    settings = Settings("sqlite://", "memory://", tmp_path, node_modules=("nodes", "nodes.code"), children=1)
    made = Children(settings)
    yield made
    await made.end()


def _call(children: Children, text: str, timeout: float = 30, **more: Json) -> Any:
    step = SimpleNamespace(node=SimpleNamespace(type="code"))
    context = NodeContext("exec_1", "a", "", 1, NOW, "proj", None, None, 10)
    return children.call(cast("Any", step), {"code": text, **more}, context, timeout, lambda: None)


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _below(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_it_runs_in_a_child_of_a_child_and_goes_with_it(children: Children) -> None:
    assert await _call(children, "6 * 7") == 42
    (child,) = children._all
    task = asyncio.ensure_future(_call(children, "while True:\n    pass", seconds=20))
    while not (sandbox := _below(child.process.pid)):
        await asyncio.sleep(0.01)
    os.kill(child.process.pid, 9)
    with pytest.raises(ChildDied):
        await task
    for _ in range(500):
        if not any(map(_lives, sandbox)):
            break
        await asyncio.sleep(0.01)
    assert [pid for pid in sandbox if _lives(pid)] == []


async def test_without_the_sandbox_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    with pytest.raises(Fail, match="pip install pydantic-monty"):
        code.run(code.config.model_validate({"code": "1"}), cast("Any", None))
