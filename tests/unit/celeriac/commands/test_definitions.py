from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from celeriac.cli import app
from celeriac.commands import definitions
from engine import canvas, picture
from engine.cutting import build
from engine.definition import Workflow
from engine.plan import Plan
from engine.registry import Registry
from tests.builders import document, edge, edges, node

runner = CliRunner()


def written(folder: Path, *ways: str, names: str = "abc") -> str:
    path = folder / "w.json"
    path.write_text(json.dumps(document([node(each) for each in names], edges(*ways))))
    return str(path)


def test_several_files_are_checked_and_each_has_its_verdict(tmp_path: Path) -> None:
    good = written(tmp_path, "a->b->c")
    bad = tmp_path / "bad.json"
    bad.write_text('{"name": "x",\n "definition": {"nodes": [{"id": "a", "type": "nop"}]}}')
    ran = runner.invoke(app, ["validate", good, str(bad)])
    assert ran.exit_code == 2
    assert ran.stdout.splitlines() == [f"{good}: ok", f"{bad}: one mistake"]
    assert f"{bad}:2:47: error: " in ran.stderr


def test_a_warning_is_told_and_counts_only_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    path.write_text(json.dumps({"name": "x", "definition": {"nodes": [node("a")], "variables": {"v": 1}}}))
    ran = runner.invoke(app, ["validate", str(path)])
    assert (ran.exit_code, ran.stdout) == (0, f"{path}: ok\n")
    assert "warning: The variable v is never read. (flow.unused_variable)" in ran.stderr
    ran = runner.invoke(app, ["validate", str(path), "--strict"])
    assert (ran.exit_code, ran.stdout) == (2, f"{path}: one mistake\n")
    assert "error: The variable v is never read." in ran.stderr
    told = json.loads(runner.invoke(app, ["validate", str(path), "--strict", "--json"]).stdout)
    assert (told["valid"], told["files"][0]["problems"][0]["severity"]) == (False, "error")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    ran = runner.invoke(app, ["validate", str(tmp_path / "none.json"), "--json"])
    assert (ran.exit_code, json.loads(ran.stdout)["error"]["code"]) == (2, "file.unreadable")


def test_a_segment_that_stands_elsewhere_is_named_by_its_number(tmp_path: Path) -> None:
    ran = runner.invoke(app, ["compile", written(tmp_path, "a->b->d", "a->c->d", "b->c", names="abcd")])
    assert ran.exit_code == 0
    assert "-> segment" in ran.stdout


def test_exits_are_labelled_by_what_takes_them(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    nodes = [node("ask", "if", {"condition": "true"}), node("yes"), node("no"), node("oops")]
    ways = [
        edge("ask", "yes", port="true"),
        edge("ask", "no", port="false", when="1 > 0"),
        edge("ask", "oops", on="error"),
    ]
    path.write_text(json.dumps(document(nodes, ways)))
    lines = runner.invoke(app, ["compile", str(path), "--format", "mermaid"]).stdout.splitlines()
    assert [line for line in lines if line.startswith("  s0 -->|")] == [
        "  s0 -->|true| s1",
        "  s0 -->|false when| s2",
        "  s0 -->|error| s3",
    ]


@pytest.mark.parametrize("form", ["tree", "json", "mermaid"])
def test_a_bad_definition_is_not_compiled(tmp_path: Path, form: str) -> None:
    path = tmp_path / "w.json"
    path.write_text('{"name": "x", "definition": {"nodes": []}}')
    ran = runner.invoke(app, ["compile", str(path), "--format", form])
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "celeriac validate" in ran.stderr


def a_map() -> Plan:
    body = {"nodes": [node("b", "wait", {"for": 1}), node("c")], "edges": edges("b->c")}
    scope = {"id": "m", "type": "scope", "for_each": {"items": "xs"}, "body": body}
    last = {"nodes": [node("f")], "edges": []}
    other = {"id": "s", "type": "scope", "body": {"nodes": [node("d")], "edges": []}, "finally": last}
    return build(Workflow.parse(document([scope, other], edges("m->s"))), Registry.load(["nodes"]))


def test_what_a_container_performs_is_a_part_of_the_tree() -> None:
    assert list(definitions._tree(canvas.compile(a_map()) or {}, "")) == [
        "chain",
        "  segment 0 [default]: trigger, m",
        "  inside m:",
        "    chain",
        "      segment 3 [default]: m@begin, b",
        "      segment 4 [default]: c, m@end",
        "  segment 1 [default]: s",
        "  inside s:",
        "    segment 5 [default]: s@begin, d, s@end",
        "  inside s@finally:",
        "    segment 6 [default]: s@finally@begin, f, s@finally@end",
        "  segment 2 [default]: @output",
    ]


def test_a_region_is_a_frame_in_a_flow_chart() -> None:
    assert picture.mermaid(a_map()).splitlines() == [
        "flowchart TD",
        '  s0["trigger<br/>m"]',
        '  s1["s"]',
        '  s2["@output"]',
        '  subgraph r1["m"]',
        '    s3["m@begin<br/>b"]',
        '    s4["c<br/>m@end"]',
        "  end",
        '  subgraph r2["s"]',
        '    s5["s@begin<br/>d<br/>s@end"]',
        "  end",
        '  subgraph r3["s@finally"]',
        '    s6["s@finally@begin<br/>f<br/>s@finally@end"]',
        "  end",
        "  s0 -.-> s3",
        "  s1 -.-> s5",
        "  s1 -.->|finally| s6",
        "  s0 --> s1",
        "  s1 -->|any| s2",
        "  s3 --> s4",
    ]


def test_a_file_of_tests_is_checked_against_the_definition_beside_it(tmp_path: Path) -> None:
    definition = written(tmp_path, "a->b->c")
    tests = tmp_path / "w.tests.json"
    tests.write_text('{"tests": [{"name": "x", "expect": {"path": ["a", "d"]}}]}')
    ran = runner.invoke(app, ["validate", definition, str(tests)])
    assert ran.exit_code == 2
    assert ran.stdout.splitlines() == [f"{definition}: ok", f"{tests}: one mistake"]
    assert f"{tests}:1:51: error: There is no node d. (test.unknown_node)" in ran.stderr
    tests.write_text('{"tests": [{"name": "x", "expect": {"path": ["a", "b", "c"]}}]}')
    assert runner.invoke(app, ["validate", str(tests)]).exit_code == 0


def test_a_file_of_tests_without_a_definition_is_no_definition(tmp_path: Path) -> None:
    alone = tmp_path / "alone.tests.json"
    alone.write_text('{"tests": []}')
    assert runner.invoke(app, ["validate", str(alone)]).exit_code == 2
