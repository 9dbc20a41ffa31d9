from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner, Result

from celeriac.cli import app
from tests.builders import document, edge, edges, node
from tests.workbench import Workbench

runner = CliRunner()

ASK = document(
    [node("ask", "if", {"condition": "yes"}), node("a"), node("b")],
    [edge("ask", "a", port="true"), edge("ask", "b", port="false")],
)
YES = {"name": "yes goes to a", "input": {"yes": True}, "expect": {"path": ["ask", "a"]}}
NO = {"name": "no goes to b", "input": {"yes": False}, "expect": {"path": ["ask", "b"]}}
WRONG = {"name": "no goes to a", "input": {"yes": False}, "expect": {"path": ["ask", "a"]}}


def written(
    folder: Path, inside: list[Any] | None = None, beside: Any = None, body: dict[str, Any] = ASK
) -> str:
    path = folder / "w.json"
    path.write_text(json.dumps(body if inside is None else {**body, "tests": inside}), encoding="utf-8")
    if beside is not None:
        (folder / "w.tests.json").write_text(json.dumps({"tests": beside}), encoding="utf-8")
    return str(path)


def run_tests(*arguments: str) -> Result:
    return runner.invoke(app, ["test", *arguments], catch_exceptions=False)


def test_tests_of_the_document_and_of_the_file_beside_it_are_run(tmp_path: Path) -> None:
    path = written(tmp_path, [YES], [NO])
    ran = run_tests(path, "--coverage-min", "100")
    assert ran.exit_code == 0
    first, second, third, fourth, last = ran.stdout.splitlines()
    assert first == path
    assert second.startswith("  ok      yes goes to a  ")
    assert third.startswith("  ok      no goes to b  ")
    assert fourth == "  reached 100 %: 3 of 3 nodes, 2 of 2 edges"
    assert last.startswith("2 passed in ")


def test_a_test_that_fails_says_why_and_so_does_the_exit_code(tmp_path: Path) -> None:
    ran = run_tests(written(tmp_path, [YES, WRONG]))
    assert ran.exit_code == 1
    lines = ran.stdout.splitlines()
    assert lines[2].startswith("  failed  no goes to a")
    assert lines[3:5] == [
        "          These nodes did not run, and were expected to: a. (test.path)",
        "          These nodes ran, and are not in the path: b. (test.path)",
    ]
    assert lines[-1].startswith("1 passed, 1 failed in ")


def test_a_missing_mock_is_told_with_its_remedy(tmp_path: Path) -> None:
    body = document([node("get", "http_request", {"url": "http://127.0.0.1:9"})])
    ran = run_tests(written(tmp_path, [{"name": "x"}], body=body))
    assert ran.exit_code == 1
    assert ran.stdout.splitlines()[2:4] == [
        "          The node get has the effect read, and the test has no mock for it. (test.unmocked)",
        '            Add it to `mocks`: "get": {"output": ...}',
    ]


def test_programs_get_the_same_as_json(tmp_path: Path) -> None:
    path = written(tmp_path, [YES])
    ran = run_tests(path, "--json", "--coverage-min", "90")
    assert ran.exit_code == 1
    printed = json.loads(ran.stdout)
    assert (printed["passed"], printed["failed"], printed["uncovered"]) == (1, 0, [path])
    (file,) = printed["files"]
    assert file["coverage"] == {
        "percent": 60.0,
        "nodes": {"reached": 2, "all": 3, "missed": ["b"]},
        "edges": {"reached": 1, "all": 2, "missed": ["ask -false-> b"]},
    }
    assert file["tests"][0]["passed"] is True


def test_what_is_not_reached_is_listed_and_too_little_of_it_is_a_failure(tmp_path: Path) -> None:
    ran = run_tests(written(tmp_path, [YES]), "--coverage-min", "61")
    assert ran.exit_code == 1
    assert ran.stdout.splitlines()[2:5] == [
        "  reached 60 %: 2 of 3 nodes, 1 of 2 edges; at least 61 % are wanted",
        "    nodes that no test reached: b",
        "    edges that no test reached: ask -false-> b",
    ]
    assert run_tests(written(tmp_path, [YES]), "--coverage-min", "60").exit_code == 0


def test_a_long_list_of_what_is_not_reached_is_cut(tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(30)]
    body = document(
        [node("stop", "fail", {"message": "No."}), *map(node, names)], edges("->".join(["stop", *names]))
    )
    test = {"name": "x", "expect": {"status": "failed"}}
    lines = run_tests(written(tmp_path, [test], body=body)).stdout.splitlines()
    assert lines[3].endswith("n18, n19 and 10 more")


def test_some_tests_are_chosen_by_their_names(tmp_path: Path) -> None:
    path = written(tmp_path, [YES, WRONG])
    assert run_tests(path, "--name", "yes").exit_code == 0
    ran = run_tests(path, "--name", "perhaps", "--json")
    assert (ran.exit_code, json.loads(ran.stdout)["error"]["code"]) == (2, "test.none")


def test_a_file_of_tests_means_the_definition_beside_it_once(tmp_path: Path) -> None:
    path = written(tmp_path, None, [YES])
    ran = run_tests(str(tmp_path / "w.tests.json"), path, "--json")
    assert (ran.exit_code, len(json.loads(ran.stdout)["files"])) == (0, 1)


@pytest.mark.parametrize("where", ["inside", "beside"])
def test_a_mistake_in_a_test_is_told_at_its_place_and_nothing_runs(tmp_path: Path, where: str) -> None:
    bad = [{**YES, "mocks": {"aks": {"output": 1}}}]
    path = written(tmp_path, bad) if where == "inside" else written(tmp_path, None, bad)
    ran = run_tests(path)
    assert (ran.exit_code, ran.stdout) == (2, "")
    named = path if where == "inside" else str(tmp_path / "w.tests.json")
    assert f"{named}:1:" in ran.stderr
    assert "There is no node aks. (test.unknown_node)" in ran.stderr
    assert "Did you mean ask?" in ran.stderr


def test_two_tests_of_one_name_in_two_files_are_refused(tmp_path: Path) -> None:
    ran = run_tests(written(tmp_path, [YES], [NO, YES]), "--json")
    assert (ran.exit_code, json.loads(ran.stdout)["error"]["code"]) == (2, "test.duplicate_name")


def test_a_bad_definition_is_not_tested(tmp_path: Path) -> None:
    ran = run_tests(written(tmp_path, [YES], body={"name": "x", "definition": {"nodes": []}}))
    assert (ran.exit_code, ran.stdout) == (2, "")


class Outside:
    """Surroundings whose server is busy at first."""

    def __init__(self) -> None:
        self.asked = 0

    def client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.MockTransport(self.answer))

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        if self.asked == 1:
            return httpx2.Response(503)
        return httpx2.Response(200, json={"rate": 150})


RATES = document(
    [
        node(
            "get",
            "http_request",
            {"url": "http://bank/{{ id }}"},
            retry={"max_attempts": 2, "on": ["http.*"]},
        ),
        node("sum", "transform", {"expression": "nodes.get.output.body.rate * 2"}),
    ],
    edges("get->sum"),
)


@pytest.fixture
def execution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """One that has ended, in an installation where nothing runs."""
    monkeypatch.setenv("CELERIAC_DATA", str(tmp_path))
    for name in ("DATABASE_URL", "BROKER_URL"):
        monkeypatch.delenv(name, raising=False)
    bench = Workbench(tmp_path)
    executor = bench.executor(around=Outside())
    started = bench.start(bench.push(RATES), {"id": 7})
    asyncio.run(bench.carry(executor))
    bench.clock.move(60)
    bench.poller().tick()
    asyncio.run(bench.carry(executor))
    assert bench.output(started) == {"sum": 300}
    bench.close()
    return started


def test_an_execution_becomes_a_test_that_passes(tmp_path: Path, execution: str) -> None:
    path = written(tmp_path, None, [{"name": "another", "mocks": {"get": {"output": 1}}}], body=RATES)
    ran = run_tests(path, "--record", execution, "--name", "as in May")
    assert (ran.exit_code, ran.stdout) == (0, f"{tmp_path / 'w.tests.json'}: as in May\n")
    another, made = json.loads((tmp_path / "w.tests.json").read_text(encoding="utf-8"))["tests"]
    assert (another["name"], made["name"], made["input"]) == ("another", "as in May", {"id": 7})
    failed, done = made["mocks"]["get"]
    assert failed["error"]["code"] == "http.unavailable"
    assert done["output"]["body"] == {"rate": 150}
    assert made["expect"] == {"output": {"sum": 300}}
    assert run_tests(path, "--name", "May").exit_code == 0


def test_recording_again_under_the_same_name_replaces_the_test(tmp_path: Path, execution: str) -> None:
    path = written(tmp_path, body=RATES)
    for _ in range(2):
        ran = run_tests(path, "--record", execution, "--json")
        assert (ran.exit_code, json.loads(ran.stdout)["test"]["name"]) == (0, f"as in {execution}")
    assert len(json.loads((tmp_path / "w.tests.json").read_text(encoding="utf-8"))["tests"]) == 1


def test_what_cannot_be_recorded_is_refused(tmp_path: Path, execution: str) -> None:
    path = written(tmp_path)
    other = written(tmp_path, body={**RATES, "name": "other"})
    for arguments, code, exit_code in (
        ((other, "--record", execution), "test.other_workflow", 2),
        ((path, "--record", "exec_none"), "request.not_found", 1),
        ((path, str(tmp_path / "x.json"), "--record", execution), "usage.option", 2),
    ):
        ran = run_tests(*arguments, "--json")
        assert (ran.exit_code, json.loads(ran.stdout)["error"]["code"]) == (exit_code, code)
    assert not (tmp_path / "w.tests.json").exists()


def test_one_that_has_not_ended_is_not_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERIAC_DATA", str(tmp_path))
    bench = Workbench(tmp_path)
    started = bench.start(bench.push(ASK), {"yes": True})
    bench.close()
    ran = run_tests(written(tmp_path), "--record", started, "--json")
    assert (ran.exit_code, json.loads(ran.stdout)["error"]["code"]) == (2, "test.not_recordable")
