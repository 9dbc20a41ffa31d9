"""The wheel, built here and unpacked where nothing else of this checkout can be seen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("engine", "nodes", "api", "worker")

VALIDATE = """
import contextlib, sys
from celeriac.__main__ import main
sys.argv = ["celeriac", "validate", sys.argv[1]]
with contextlib.suppress(SystemExit):
    main()
import celeriac, celeryconfig, engine, nodes
print(*(each.__file__ for each in (celeriac, celeryconfig, engine, nodes)), sep="\\n")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    line = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(line, cwd=ROOT, check=True, capture_output=True)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def python(installed: Path, *arguments: str, cwd: Path) -> str:
    """Run Python with the wheel and what it depends on, and without the links to this checkout (-S)."""
    path = os.pathsep.join([str(installed), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "PYTHONPATH": path}
    line = [sys.executable, "-S", *arguments]
    done = subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_claims_one_name_and_carries_every_room(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"celeriac"}
    carried = {name for name in names if name.startswith("celeriac/_app/")}
    rooms = {
        f"celeriac/_app/{path.relative_to(ROOT).as_posix()}"
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {*rooms, "celeriac/_app/celeryconfig.py"} - carried == set()
    assert {name for name in carried if "/examples/" in name} == {
        "celeriac/_app/examples/office/log_triage.json"
    }
    assert [name for name in names if "tests/" in name or name.endswith(".pyc")] == []


def test_the_command_line_of_the_wheel_helps(installed: Path, tmp_path: Path) -> None:
    assert "Usage: celeriac" in python(installed, "-m", "celeriac", "--help", cwd=tmp_path)


def test_the_wheel_brings_its_own_rooms(installed: Path, tmp_path: Path) -> None:
    example = str(ROOT / "examples" / "chain.json")
    *_, own, config, engine, nodes = python(installed, "-c", VALIDATE, example, cwd=tmp_path).splitlines()
    rooms = installed / "celeriac" / "_app"
    assert Path(own).parent == installed / "celeriac"
    assert Path(config).parent == rooms
    assert {Path(engine).parent, Path(nodes).parent} == {rooms / "engine", rooms / "nodes"}


def test_the_wheel_shows_its_demo(installed: Path, tmp_path: Path) -> None:
    ended = json.loads(python(installed, "-m", "celeriac", "demo", "--json", cwd=tmp_path))
    assert (ended["status"], ended["output"]["done"]["tries"]) == ("succeeded", 40)


def test_the_wheel_runs_a_workflow(installed: Path, tmp_path: Path) -> None:
    example, payload = ROOT / "examples" / "skip.json", ROOT / "examples" / "inputs" / "skip.json"
    line = ["-m", "celeriac", "run", str(example), "--input", f"@{payload}", "--json"]
    printed = json.loads(python(installed, *line, cwd=tmp_path))
    expected = json.loads((ROOT / "examples" / "expected" / "skip.json").read_text(encoding="utf-8"))
    assert {key: printed[key] for key in expected} == expected
