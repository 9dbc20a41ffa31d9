"""Commands that need no running installation: some start one and stop it again, some need none at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.conftest import around, celeriac
from tests.builders import document, edges, node

pytestmark = pytest.mark.timeout(120)


def test_the_demo_finds_a_guesser_and_cuts_them_off_and_leaves_nothing_behind(folder: Path) -> None:
    environment = around(folder / "data")
    ran = celeriac(environment, "demo")
    assert ran.code == 0, ran.err
    assert ran.out.split("\n")[1:-1] == [
        "detected    40 failed sign-ins from 203.0.113.66",
        "judged      attack, by a rule",
        "mitigated   203.0.113.66 is in quarantine; ticket SEC-1; whoever is on duty has been told",
        "afterwards  the site answers 198.51.100.7 200, 198.51.100.23 200, 192.0.2.41 200, 203.0.113.66 403",
    ]
    for told in ("a plain rule judges", "the demo approves", "waiting  ask", "done     cut_off"):
        assert told in ran.err
    assert list((folder / "data" / "demo" / "run").iterdir()) == []
    log = (folder / "data" / "demo" / "site.log").read_text()
    assert (log.count("Failed password"), log.count("Accepted password")) == (41, 6)


@pytest.mark.timeout(360)
def test_the_demo_has_the_model_of_the_machine_judge(folder: Path, models_folder: Path) -> None:
    environment = around(folder / "data", CELERIAC_MODELS=str(models_folder))
    ran = celeriac(environment, "demo", "--json")
    assert ran.code == 0, ran.err
    assert "The model of this machine judges." in ran.err
    assert {"done", "harmless"} & set(ran.json["output"])


def test_run_starts_an_installation_and_stops_it_and_the_next_one_finds_its_work(folder: Path) -> None:
    environment = around(folder / "data")
    path = folder / "w.json"
    path.write_text(json.dumps(document([node("a"), node("b")], edges("a->b"))))
    ran = celeriac(environment, "run", str(path), "--json")
    assert (ran.code, ran.json["output"]) == (0, {"b": None}), ran.err
    assert list((folder / "data" / "run").iterdir()) == []
    again = celeriac(environment, "run", str(path), "--json")
    assert (again.code, again.json["version"]) == (0, 1)


def test_an_execution_is_recorded_as_a_test_that_passes(folder: Path) -> None:
    environment = around(folder / "data")
    path = folder / "w.json"
    path.write_text(json.dumps(document([node("a", "transform", {"expression": "n + 1"})])))
    ran = celeriac(environment, "run", str(path), "--input", '{"n": 1}', "--json")
    recorded = celeriac(environment, "test", str(path), "--record", ran.json["execution"], "--json")
    assert (recorded.code, recorded.json["test"]["expect"]) == (0, {"output": {"a": 2}}), recorded.err
    tested = celeriac(environment, "test", str(path), "--coverage-min", "100", "--json")
    assert (tested.code, tested.json["passed"]) == (0, 1), tested.err


def test_what_does_not_end_in_time_goes_on_later(folder: Path) -> None:
    environment = around(folder / "data")
    path = folder / "w.json"
    path.write_text(json.dumps(document([node("rest", "wait", {"for": 60})])))
    ran = celeriac(environment, "run", str(path), "--wait", "1", "--json")
    assert (ran.code, ran.json["status"]) == (1, "waiting"), ran.err
    assert f"celeriac executions show {ran.json['execution']}" in ran.err


def test_definitions_are_checked_and_compiled_without_any_installation(folder: Path) -> None:
    environment = around(folder / "none")
    path = folder / "w.json"
    path.write_text(json.dumps(document([node(each) for each in "abcd"], edges("a->b->d", "a->c->d"))))
    checked = celeriac(environment, "validate", str(path), "--json")
    assert (checked.code, checked.json["valid"]) == (0, True)
    tree = celeriac(environment, "compile", str(path))
    assert tree.out.splitlines() == [
        "chain",
        "  segment 0 [default]: trigger, a",
        "  join",
        "    | segment 1 [default]: b",
        "    | segment 2 [default]: c",
        "    then",
        "      segment 3 [default]: d, @output",
    ]
    canvas = celeriac(environment, "compile", str(path), "--format", "json").json
    assert canvas["task"] == "celery.chain"
    drawn = celeriac(environment, "compile", str(path), "--format", "mermaid").out
    assert drawn.splitlines()[0] == "flowchart TD"
    schema = celeriac(environment, "schema").json
    assert schema["$id"] == "https://celeriac.dev/schemas/workflow/v1.json"
    assert not (folder / "none").exists()


def test_a_fresh_machine_is_healthy_and_a_bad_setting_is_told(folder: Path) -> None:
    healthy = celeriac(around(folder / "data", CELERIAC_API_PORT="0"), "doctor", "--json")
    assert (healthy.code, healthy.json["ok"]) == (0, True), healthy.out
    away = around(folder / "data", BROKER_URL="redis://127.0.0.1:1/0", CELERIAC_SECRET_KEY="secret")
    found = celeriac(away, "doctor", "--json")
    needs = {each["name"]: each for each in found.json["needs"]}
    assert found.code == 1
    for name in ("broker", "secret key"):
        assert (needs[name]["ok"], bool(needs[name]["remedy"])) == (False, True), needs[name]
    wrong = celeriac(around(folder / "data", DATABASE_URL="mysql://x"), "doctor", "--json")
    assert (wrong.code, wrong.json["error"]["code"]) == (2, "settings.invalid")


def test_help_comes_for_every_command(folder: Path) -> None:
    environment = around(folder / "none")
    listed = celeriac(environment, "--help").out
    for name in (
        "run",
        "validate",
        "compile",
        "push",
        "workflows",
        "executions",
        "attention",
        "connections",
        "up",
    ):
        assert f"  {name} " in listed
    assert "--input" in celeriac(environment, "run", "--help").out


def test_a_failed_execution_is_forked_with_an_output_from_a_person(folder: Path) -> None:
    environment = around(folder / "data")
    nodes = [
        node("a"),
        node("bad", "fail", {"message": "no"}),
        node("c", "set", {"values": {"x": "{{ nodes.bad.output }}"}}),
    ]
    path = folder / "w.json"
    path.write_text(json.dumps(document(nodes, edges("a->bad->c"))))
    base = celeriac(environment, "run", str(path), "--json").json["execution"]
    told = celeriac(environment, "executions", "fork", base, "--set", "bad=5", "--dry")
    assert [line.split()[:2] for line in told.out.splitlines()[1:]] == [
        ["a", "kept"],
        ["bad", "pinned"],
        ["c", "again"],
    ]
    made = celeriac(environment, "executions", "fork", base, "--set", "bad=5", "--json").json["id"]
    shown = celeriac(environment, "executions", "show", made, "--json").json
    assert (shown["base"], [each["node"] for each in shown["nodes"] if each["status"] == "succeeded"]) == (
        base,
        ["a", "bad"],
    )
    refused = celeriac(environment, "executions", "skip", made, "a")
    assert (refused.code, "node.over" in refused.err) == (1, True)
    cancelled = celeriac(environment, "executions", "cancel-node", made, "c", "--json")
    assert cancelled.json["status"] == "cancelled"
