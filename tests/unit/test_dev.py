"""The decisions of dev.py: which verb needs what, and when an environment is made, kept or renewed."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from pathlib import Path

import pytest

import dev

SHARED = ["-n", "3", "--dist", "worksteal"]

WANT = dev.Fingerprint(root="/here", python="3.11.7 /usr/bin/python3.11", run="r1", dev="d1", project="p1")
RUN_ONLY = WANT._replace(dev=None)

MAKE_RUN = [dev.Step("make"), dev.Step("install", dev.RUN), dev.Step("editable")]
MAKE_DEV = [dev.Step("make"), dev.Step("install", dev.DEV), dev.Step("editable")]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty checkout with locks, where dev.py believes to be."""
    for name in (*dev.LOCKS.values(), "pyproject.toml"):
        (tmp_path / name).write_text(f"{name}\n", encoding="utf-8")
    venv = tmp_path / ".venv"
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    monkeypatch.setattr(dev, "VENV", venv)
    monkeypatch.setattr(dev, "PYTHON", venv / "bin" / "python")
    monkeypatch.setattr(dev, "STAMP", venv / dev.STAMP.name)
    return tmp_path


def make_venv(stamp: dev.Fingerprint | None) -> None:
    """An environment as dev.py leaves it; without a stamp, as an interruption leaves it."""
    dev.PYTHON.parent.mkdir(parents=True)
    dev.PYTHON.symlink_to(dev.base_python())
    dev.STAMP.write_text(json.dumps(stamp._asdict() if stamp else {}), encoding="utf-8")


@pytest.mark.parametrize(
    ("stage", "have", "expected"),
    [
        (dev.RUN, None, MAKE_RUN),
        (dev.DEV, None, MAKE_DEV),
        (dev.RUN, WANT, []),
        (dev.DEV, WANT, []),
        (dev.RUN, RUN_ONLY, []),
        (dev.DEV, RUN_ONLY, [dev.Step("install", dev.DEV)]),
        (dev.RUN, WANT._replace(run="r0"), MAKE_RUN),
        (dev.DEV, WANT._replace(run="r0"), MAKE_DEV),
        (dev.DEV, WANT._replace(dev="d0"), MAKE_DEV),
        (dev.RUN, WANT._replace(dev="d0"), []),
        (dev.RUN, WANT._replace(root="/there"), MAKE_RUN),
        (dev.RUN, WANT._replace(python="3.11.2 /usr/bin/python3.11"), MAKE_RUN),
        (dev.RUN, WANT._replace(project="p0"), [dev.Step("editable")]),
        (dev.DEV, RUN_ONLY._replace(project="p0"), [dev.Step("install", dev.DEV), dev.Step("editable")]),
    ],
)
def test_only_what_changed_is_done_again(
    stage: str, have: dev.Fingerprint | None, expected: list[dev.Step]
) -> None:
    assert dev.steps(stage, WANT, have) == expected


def test_running_needs_only_the_small_lock() -> None:
    stages = {verb: dev.stage_of(verb) for verb in dev.VERBS}
    assert {verb for verb, stage in stages.items() if stage == dev.RUN} == {"demo", "up"}


def test_without_arguments_every_verb_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert dev.main([]) == 0
    said = capsys.readouterr().out
    assert [verb for verb, does in dev.VERBS.items() if f"  {does}" not in said] == []


def test_an_unknown_verb_is_refused_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert dev.main(["tset"]) == 2
    assert capsys.readouterr().err == "dev.py: there is no verb 'tset'; did you mean 'test'?\n"


@pytest.mark.parametrize(
    ("verb", "arguments", "expected"),
    [
        ("test", [], ["tests", "--ignore=tests/soak", *SHARED]),
        ("test", ["-x", "-k", "unit"], ["tests", "--ignore=tests/soak", *SHARED, "-x", "-k", "unit"]),
        ("test", ["unit"], ["tests/unit"]),
        ("test", ["unit", "property", "-n", "2"], ["tests/unit", "tests/property", "-n", "2"]),
        ("test", ["tests/unit/test_dev.py::test_x"], ["tests/unit/test_dev.py::test_x"]),
        ("test", ["soak"], ["tests/soak"]),
        ("test-all", [], ["tests"]),
        ("test-all", ["-x"], ["tests", "-x"]),
    ],
)
def test_names_before_the_first_option_are_suites_or_paths(
    verb: str, arguments: list[str], expected: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tests/unit").mkdir(parents=True)
    (tmp_path / "tests/unit/test_dev.py").touch()
    (tmp_path / "soak.txt").touch()
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert dev.test_arguments(verb, arguments) == expected


@pytest.mark.parametrize(("processors", "processes"), [(None, "2"), (1, "2"), (4, "5"), (64, "5")])
def test_a_large_machine_gets_no_more_processes_than_it_can_start_servers_for(
    processors: int | None, processes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: processors)
    arguments = dev.test_arguments("test", [])
    assert arguments[arguments.index("-n") + 1] == processes


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        ("demo", ["-m", "celeriac", "demo", "--flag"]),
        ("up", ["-m", "celeriac", "up", "--flag"]),
        ("chaos", ["-m", "tests.chaos", "--flag"]),
        ("bench", ["-m", "bench", "--flag"]),
        ("test-all", ["-m", "pytest", "tests", "--flag"]),
    ],
)
def test_each_verb_hands_its_arguments_on(verb: str, expected: list[str]) -> None:
    assert dev.command(verb, ["--flag"]) == expected


@pytest.mark.usefixtures("checkout")
def test_an_environment_made_from_these_locks_is_used_as_it_is() -> None:
    make_venv(dev.wanted())
    assert dev.pending(dev.DEV) == []


@pytest.mark.usefixtures("checkout")
def test_an_interrupted_environment_is_made_anew() -> None:
    make_venv(None)
    assert dev.pending(dev.RUN) == MAKE_RUN


@pytest.mark.usefixtures("checkout")
def test_an_environment_whose_python_is_gone_is_made_anew() -> None:
    make_venv(dev.wanted())
    dev.PYTHON.unlink()
    dev.PYTHON.symlink_to("/nonexistent/python3")
    assert dev.pending(dev.RUN) == MAKE_RUN


@pytest.mark.usefixtures("checkout")
def test_an_environment_of_another_good_python_is_kept() -> None:
    make_venv(None)
    other = dev.ROOT / "python3.99"
    other.touch()
    dev.PYTHON.unlink()
    dev.PYTHON.symlink_to(other)
    dev.STAMP.write_text(
        json.dumps(dev.wanted()._replace(python=f"3.99.0 {other}")._asdict()), encoding="utf-8"
    )
    assert dev.pending(dev.DEV) == []


@pytest.mark.usefixtures("checkout")
def test_an_environment_of_an_earlier_release_of_this_python_is_made_anew() -> None:
    make_venv(dev.wanted()._replace(python=f"3.11.0 {dev.base_python()}"))
    expected = [] if sys.version_info[:3] == (3, 11, 0) else MAKE_DEV
    assert dev.pending(dev.DEV) == expected


@pytest.mark.usefixtures("checkout")
def test_a_changed_lock_makes_a_new_environment() -> None:
    make_venv(dev.wanted())
    (dev.ROOT / "requirements.lock").write_text("another\n", encoding="utf-8")
    assert dev.pending(dev.RUN) == MAKE_RUN


@pytest.mark.usefixtures("checkout")
def test_a_folder_that_somebody_else_made_is_not_thrown_away() -> None:
    dev.VENV.mkdir()
    (dev.VENV / "mine").touch()
    with pytest.raises(dev.Stop, match="not made by dev.py"):
        dev.refuse_foreign()


@pytest.mark.usefixtures("checkout")
def test_emptying_keeps_only_a_sign_that_it_began() -> None:
    make_venv(dev.wanted())
    (dev.VENV / "lib").symlink_to(dev.VENV / "bin")
    dev.empty()
    assert [each.name for each in dev.VENV.iterdir()] == [dev.STAMP.name]
    assert dev.existing() is None
    dev.refuse_foreign()


@pytest.mark.usefixtures("checkout")
def test_a_checkout_that_cannot_be_written_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(dev.Stop, match="not writable for you"):
        dev.set_up(dev.RUN)


@pytest.mark.parametrize(
    ("on_path", "modules", "expected"),
    [
        ({"uv"}, {"ensurepip", "pip"}, "uv"),
        (set(), {"ensurepip", "pip"}, "pip"),
        (set(), {"pip"}, "the pip outside of it"),
    ],
)
def test_the_installer_is_the_first_that_is_there(
    on_path: set[str], modules: set[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, on_path, modules)
    assert dev.choose_installer().name == expected


def test_without_any_installer_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, set(), set())
    with pytest.raises(dev.Stop, match="apt install python3-venv"):
        dev.choose_installer()


def pretend(monkeypatch: pytest.MonkeyPatch, on_path: set[str], modules: set[str]) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}" if name in on_path else None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name in modules else None)


def test_uv_keeps_no_cache_where_it_cannot_write_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "not" / "there"))
    assert dev.cache_is_writable()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert not dev.cache_is_writable()


def test_a_python_that_is_too_old_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev, "OLDEST", (99, 0))
    monkeypatch.setattr(dev, "newer_python", lambda: None)
    with pytest.raises(dev.Stop, match="apt install python3.11"):
        dev.require_python()


def test_a_stand_in_on_the_path_is_not_taken_for_a_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("python3.11", "exit 127"), ("python3.12", "exit 0")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert dev.newer_python() == str(tmp_path / "python3.12")


ROOT = Path(__file__).parents[2]


def test_the_locks_name_no_host_and_no_folder_of_a_machine() -> None:
    for name in dev.LOCKS.values():
        text = (ROOT / name).read_text(encoding="utf-8")
        assert [line for line in text.splitlines() if "://" in line or "--find-links" in line] == []


def test_the_development_lock_holds_the_run_time_lock() -> None:
    run, both = (pins(ROOT / dev.LOCKS[stage]) for stage in (dev.RUN, dev.DEV))
    assert run <= both


def pins(lock: Path) -> set[str]:
    lines = lock.read_text(encoding="utf-8").splitlines()
    return {line.split(" ")[0] for line in lines if line[:1].isalnum()}


def test_the_package_asks_for_what_the_run_time_lock_is_made_from() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = project["project"]["dependencies"] + project["build-system"]["requires"]
    lines = (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines()
    assert sorted(wanted) == sorted(line for line in lines if line and not line.startswith("#"))
