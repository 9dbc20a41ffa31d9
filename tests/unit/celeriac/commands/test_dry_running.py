from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from celeriac.cli import app
from tests.builders import document, edge, edges, node

runner = CliRunner()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A definition, where no installation is and none may come to be."""
    monkeypatch.setenv("CELERIAC_DATA", str(tmp_path / "data"))
    nodes = [
        node("get", "http_request", {"url": "http://bank/{{ id }}"}),
        node(
            "tell",
            "http_request",
            {"method": "POST", "url": "http://shop", "body": "{{ nodes.get.output.body }}"},
        ),
        node("ask", "if", {"condition": "nodes.tell.output.status == 200"}),
        node("yes"),
    ]
    file = tmp_path / "w.json"
    file.write_text(json.dumps(document(nodes, [*edges("get->tell->ask"), edge("ask", "yes", port="true")])))
    return str(file)


def dry(path: str, *arguments: str) -> Result:
    return runner.invoke(
        app, ["run", path, "--dry", "--input", '{"id": 7}', *arguments], catch_exceptions=False
    )


def test_calls_are_shown_and_where_it_stops(path: str, tmp_path: Path) -> None:
    ran = dry(path)
    assert ran.exit_code == 1
    assert ran.stdout.splitlines() == [
        "  1  get  GET http://bank/7  read",
        "     {",
        '       "url": "http://bank/7"',
        "     }",
        "  2  tell  POST http://shop  once",
        "     {",
        '       "method": "POST",',
        '       "url": "http://shop",',
        '       "body": "{{ nodes.get.output.body }}"',
        "     }",
        "     not known: the output of get",
        "stopped at ask: Which way ask goes depends on the output of tell, which is not known. (dry.unknown)",
        """  Say what it comes to: --mocks '{"tell": {"output": ...}}'""",
    ]
    assert not (tmp_path / "data").exists()


def test_with_mocks_it_comes_to_its_end(path: str) -> None:
    ran = dry(path, "--mocks", '{"tell": {"output": {"status": 200}}}')
    assert ran.exit_code == 0
    assert ran.stdout.splitlines()[4] == "  2  tell  POST http://shop  once, mocked"
    assert ran.stdout.endswith('would be succeeded, with the result\n{\n  "yes": null\n}\n')


def test_programs_get_the_same_as_json(path: str) -> None:
    ran = dry(path, "--json", "--mocks", '{"tell": {"error": {"code": "shop.closed"}}}')
    assert ran.exit_code == 1
    printed = json.loads(ran.stdout)
    assert (printed["status"], printed["error"]["code"]) == ("failed", "shop.closed")
    assert [each["mocked"] for each in printed["calls"]] == [False, True]


def test_a_failure_is_told(path: str) -> None:
    ran = dry(path, "--mocks", '{"tell": {"error": {"code": "shop.closed", "message": "Closed."}}}')
    assert ran.stdout.splitlines()[-2:] == ["would be failed", "error: Closed. (shop.closed)"]


def test_what_waits_for_a_person_is_told(path: str) -> None:
    ran = dry(path, "--mocks", '{"tell": {"error": {"code": "a.b", "kind": "uncertain"}}}')
    assert "would be waiting" in ran.stdout.splitlines()


def test_a_definition_without_effects_calls_nothing(tmp_path: Path) -> None:
    file = tmp_path / "w.json"
    file.write_text(json.dumps(document([node("a", "transform", {"expression": "id"})])))
    assert dry(str(file)).stdout.splitlines()[0] == "nothing with an effect would be called"


def test_mistakes_in_mocks_are_told(path: str) -> None:
    ran = dry(path, "--mocks", '{"tel": {"output": 1}}')
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.splitlines() == [
        "error: --mocks cannot be used. (test.bad_mocks)",
        "error: There is no node tel. (test.unknown_node)",
        "  at /tel",
        "  Did you mean tell?",
    ]
    assert dry(path, "--mocks", "{").exit_code == 2


def test_mocks_without_a_dry_run_are_refused(path: str) -> None:
    ran = runner.invoke(app, ["run", path, "--mocks", "{}", "--json"], catch_exceptions=False)
    assert (ran.exit_code, json.loads(ran.stdout)["error"]["code"]) == (2, "usage.option")


def test_items_and_later_attempts_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "w.json"
    each = node("each", "http_request", {"url": "http://a/{{ item }}"}, for_each={"items": "[1, 2]"})
    file.write_text(json.dumps(document([each])))
    ran = dry(str(file), "--mocks", '{"each": [{"error": {"code": "a.b"}}, {"output": 1}]}')
    assert [line for line in ran.stdout.splitlines() if "GET" in line] == [
        "  1  each[0]  GET http://a/1  read, mocked",
        "  2  each[1]  GET http://a/2  read, mocked",
        "  3  each[0]  GET http://a/1  read, mocked, attempt 2",
        "  4  each[1]  GET http://a/2  read, mocked, attempt 2",
    ]
