"""docs/testing.md: its files are saved, its commands run, and what they print is what it shows. And the examples' own tests."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SIDECARS = sorted((ROOT / "examples").glob("*.tests.json"))


def timeless(text: str) -> str:
    return re.sub(r"\d+ ms|\d+\.\d s\b", "... ms", text)


def environment(folder: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "CELERIAC_DATA": str(folder / "data")}


def test_the_page_shows_what_its_commands_print(tmp_path: Path) -> None:
    names = re.findall(r"as `(refund[\w.]*\.json)`:", PAGE)
    files = [text for kind, text in BLOCKS if kind == "json"]
    assert len(names) == len(files) == 2
    for name, text in zip(names, files, strict=True):
        (tmp_path / name).write_text(text, encoding="utf-8")
    shown = [(kind, text) for kind, text in BLOCKS if kind != "json"]
    for index, (kind, text) in enumerate(shown):
        if kind != "sh":
            continue
        done = subprocess.run(
            ["sh", "-ec", text],
            cwd=tmp_path,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        after = shown[index + 1] if index + 1 < len(shown) else ("", "")
        if after[0] == "text" and not after[1].startswith("celeriac"):
            assert timeless(done.stdout) == timeless(after[1])
    assert not (tmp_path / "data").exists()


def test_every_key_of_a_test_is_on_the_page() -> None:
    skeleton = json.loads((ROOT / "engine/schemas/workflow.skeleton.json").read_text(encoding="utf-8"))
    keys = {key for name in ("test", "mock", "expectation") for key in skeleton["$defs"][name]["properties"]}
    assert {key for key in keys if f"`{key}`" not in PAGE and f'"{key}"' not in PAGE} == set()


@pytest.mark.parametrize("path", SIDECARS, ids=lambda path: path.name)
def test_the_tests_of_an_example_pass_and_reach_all_of_it(path: Path) -> None:
    line = [sys.executable, "-m", "celeriac", "test", str(path), "--coverage-min", "100", "--json"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_several_examples_have_tests() -> None:
    assert len(SIDECARS) >= 4
