"""The example of docs/extending.md: built, installed beside this checkout, found, run, and put through the suite."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from celeriac.testing import World, conform, run_node

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
NODE, KEEP, TEST, KIND = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
(PROJECT,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

RUN = """
import asyncio, json, sys
import httpx2
from engine.registry import Registry
from celeriac.testing import run_node
registry = Registry.load(["nodes"])
shout = registry.get("shout")
outcome = asyncio.run(run_node(shout, {"text": "hello"}))
print(json.dumps([outcome.value, sorted(registry.connections)]))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the package is installed, without the index and without a build environment of its own."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    (source / "shout.py").write_text(NODE + "\n\n" + KIND, encoding="utf-8")
    (source / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    line = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--quiet",
    ]
    done = subprocess.run(
        [*line, "--disable-pip-version-check", "--target", str(target), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


def python(installed: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), str(ROOT)])}
    line = [sys.executable, *arguments]
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_the_example_is_as_short_as_it_is_said_to_be() -> None:
    assert len([line for line in NODE.splitlines() if line.strip()]) <= 15


def test_an_installed_package_is_found_and_its_node_type_runs(installed: Path) -> None:
    value, kinds = json.loads(python(installed, "-c", RUN))
    assert (value, "parrot" in kinds, "bearer" in kinds) == ("HELLO!", True, True)


async def test_what_the_example_keeps_is_taken_by_the_next_execution() -> None:
    asked: list[str] = []

    def say(request: httpx2.Request) -> httpx2.Response:
        asked.append(str(request.url))
        return httpx2.Response(200, json={"means": "a root"})

    module: dict[str, Any] = {}
    exec(KEEP, module)  # noqa: S102  the page's own
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(say)) as client:
        first = await run_node(module["look_up"], {"word": "celeriac"}, http=client)
        again = await run_node(module["look_up"], {"word": "celeriac"}, http=client, kept=first.kept)
        world = World({"word": "celeriac"}, http=client)
        assert await conform(module["look_up"], world) == []
    assert first.value == again.value == {"means": "a root"}
    assert (asked[0], again.kept) == ("https://words.example/celeriac", {})


def test_a_definition_may_use_it(installed: Path, tmp_path: Path) -> None:
    document = {
        "name": "loud",
        "definition": {"nodes": [{"id": "a", "type": "shout", "config": {"text": "{{ trigger.payload }}"}}]},
    }
    (tmp_path / "loud.json").write_text(json.dumps(document), encoding="utf-8")
    line = ["-m", "celeriac", "validate", str(tmp_path / "loud.json"), "--json"]
    assert json.loads(python(installed, *line))["valid"] is True
    assert '"shout"' in python(installed, "-m", "celeriac", "schema")


def test_it_passes_the_suite_of_the_page(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "test_shout.py").write_text(TEST, encoding="utf-8")
    line = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "-c",
        str(ROOT / "pyproject.toml"),
    ]
    assert "1 passed" in python(installed, *line, str(tmp_path / "test_shout.py"))
