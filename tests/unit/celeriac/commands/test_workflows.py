"""The commands about workflows and the one that says why, on an installation that nothing runs of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from celeriac.cli import app
from tests.builders import document, node
from tests.workbench import Workbench

runner = CliRunner()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workbench]:
    monkeypatch.setenv("CELERIAC_DATA", str(tmp_path))
    monkeypatch.setenv("BROKER_URL", "memory://")
    for name in ("DATABASE_URL", "CELERIAC_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    made = Workbench(tmp_path)
    yield made
    made.close()


def run(*words: str, code: int = 0) -> str:
    done = runner.invoke(app, [*words])
    assert done.exit_code == code, done.output
    return done.stdout


def asked(*words: str) -> Any:
    return json.loads(run(*words, "--json"))


def test_versions_are_listed_named_published_and_rolled_back_to(bench: Workbench) -> None:
    for each in "ab":
        bench.push(document([node(each)], name="w"))
    assert "stable is version 1" in run("workflows", "alias", "w", "stable", "1")
    listed = run("workflows", "versions", "w").splitlines()
    assert [line.split()[:2] for line in listed[1:]] == [["2", "active"], ["1", "stable"]]
    assert "w is at version 1, and was at 2" in run("workflows", "rollback", "w")
    assert "w is at version 2" in run("workflows", "publish", "w", "2")
    assert asked("workflows", "rollback", "w", "--to", "stable")["version"]["number"] == 1
    assert "stable is no more" in run("workflows", "alias", "w", "stable")


def test_a_workflow_is_deleted_and_restored(bench: Workbench) -> None:
    name = bench.push(document([node("a")], name="w")).workflow
    assert asked("workflows", "delete", "w") == {"id": name, "deleted": True}
    assert asked("workflows", "list") == []
    assert [each["id"] for each in asked("workflows", "list", "--deleted")] == [name]
    assert "w is back, disabled" in run("workflows", "restore", name)
    assert [each["name"] for each in asked("workflows", "list", "--filter", "enabled:false")] == ["w"]
    assert asked("workflows", "list", "--sort", "updated_at:desc")[0]["name"] == "w"


def test_why_an_execution_does_not_go_on_is_told_with_what_helps(bench: Workbench) -> None:
    started = bench.start(bench.push(document([node("a")], name="w", queue="cpu")), {})
    text = run("why", started)
    assert "worker: trigger waits for a worker of the queue cpu" in text
    assert asked("why", started)["waits"][0]["kind"] == "worker"
    run("why", "exec_x", code=1)
