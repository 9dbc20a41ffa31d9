import ast
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, field_validator

from celeriac import Context, Effect, Expr, Json, node
from engine.checking import problems
from engine.checking.problems import Problem
from engine.registry import Registry
from engine.settings import Limits
from nodes.flow.noop import noop as no_operation

ROOT = Path(__file__).parents[4]
BUILT_IN = Registry.load(["nodes"])

NAMES_A_REQUEST = {"definition.invalid", "definition.none"}
FOUND_IN_TEXT_ONLY = {
    "definition.bad_number",
    "definition.bad_text",
    "definition.duplicate_key",
    "definition.not_json",
    "definition.not_utf8",
    "definition.too_large",
}
FOUND_BY_LIMITS = {
    "definition.scopes_too_deep",
    "definition.too_deep",
    "definition.too_many_edges",
    "definition.too_many_mistakes",
    "definition.too_many_nodes",
    "definition.too_many_scopes",
}
"""Their tests stand below and in test_source.py."""


def workflow(*nodes: Any, edges: Any = (), **body: Any) -> dict[str, Json]:
    return {"name": "sample", "definition": {"nodes": list(nodes), "edges": list(edges), **body}}


def reading(expression: str, **body: Any) -> Json:
    return workflow(
        {"id": "a", "type": "set", "config": {"values": {"x": f"{{{{ {expression} }}}}"}}}, **body
    )


def noop(name: str, **rest: Json) -> dict[str, Json]:
    return {"id": name, "type": "noop", **rest}


def log(name: str, *expressions: str, **rest: Json) -> dict[str, Json]:
    message = " ".join(f"{{{{ {each} }}}}" for each in expressions)
    return {"id": name, "type": "log", "config": {"message": message}, **rest}


def body(*nodes: Any, edges: Any = (), **rest: Any) -> dict[str, Any]:
    return {"nodes": list(nodes), "edges": list(edges), **rest}


def scope(name: str, *nodes: Any, edges: Any = (), **rest: Any) -> dict[str, Any]:
    return {"id": name, "type": "scope", "body": body(*nodes, edges=edges), **rest}


def codes(document: Json, registry: Registry = BUILT_IN, **limits: int) -> list[tuple[str, str]]:
    return [
        (each.code, each.pointer) for each in problems.check(document, registry, replace(Limits(), **limits))
    ]


def refused(document: Json, registry: Registry = BUILT_IN) -> list[tuple[str, str]]:
    """What keeps a definition from being used; warnings do not."""
    return [
        (each.code, each.pointer) for each in problems.check(document, registry) if each.severity == "error"
    ]


def only(document: Json, registry: Registry = BUILT_IN) -> Problem:
    found = problems.check(document, registry)
    assert len(found) == 1, found
    return found[0]


# The table of codes.


def codes_in(file: Path, area: str) -> set[str]:
    parts = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    texts = {each.value for each in parts if isinstance(each, ast.Constant) and isinstance(each.value, str)}
    return {each for each in texts if re.fullmatch(rf"{area}\.[a-z0-9_]+", each)}


def codes_in_the_source(area: str) -> set[str]:
    rooms = ("celeriac", "engine", "nodes", "api", "worker")
    return {code for room in rooms for file in (ROOT / room).rglob("*.py") for code in codes_in(file, area)}


@pytest.mark.parametrize("area", ["definition", "expression", "flow", "type"])
def test_the_table_of_codes_holds_every_code_there_is_and_no_other(area: str) -> None:
    table = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert sorted(codes_in_the_source(area)) == sorted(
        re.findall(rf"^\| `({area}\.[a-z0-9_]+)`", table, re.MULTILINE)
    )


def test_every_code_of_definitions_has_a_mistake_that_shows_it() -> None:
    shown = codes_in(ROOT / "tests" / "mistakes.py", "definition")
    assert codes_in_the_source("definition") - NAMES_A_REQUEST - FOUND_IN_TEXT_ONLY - FOUND_BY_LIMITS == shown


@pytest.mark.parametrize("area", ["flow", "type"])
def test_every_code_of_what_is_foreseen_has_a_mistake_that_shows_it(area: str) -> None:
    assert codes_in(ROOT / "tests" / "mistakes.py", area) == codes_in_the_source(area)


# What is accepted.


SHORT_FORM = (ROOT / "tests" / "story" / "email_summarizer.json").read_text(encoding="utf-8")


class AiCall(BaseModel, extra="forbid"):
    model: str
    prompt: str


class SendEmail(BaseModel, extra="forbid"):
    to: str
    subject: str


@node("ai_call", effect=Effect.READ)
def ai_call(config: AiCall, _ctx: Context) -> Json:
    """Stand in for a model."""
    return config.prompt


@node("send_email", effect=Effect.ONCE)
def send_email(config: SendEmail, _ctx: Context) -> Json:
    """Stand in for a mail server."""
    return config.to


def test_the_short_form_is_accepted_once_its_node_types_exist() -> None:
    assert problems.check_text(SHORT_FORM, Registry([ai_call, send_email])) == (json.loads(SHORT_FORM), [])
    assert codes(json.loads(SHORT_FORM)) == []
    _, found = problems.check_text(SHORT_FORM, Registry([no_operation]))
    assert [(each.code, each.pointer) for each in found] == [
        ("definition.unknown_node_type", "/definition/nodes/0/type"),
        ("definition.unknown_node_type", "/definition/nodes/1/type"),
    ]


@pytest.mark.parametrize(
    "trigger",
    [
        {"type": "manual"},
        {"type": "call", "config": {}},
        {"type": "webhook"},
        {"type": "webhook", "config": {"path": "/webhooks/email", "method": "PUT"}},
        {"id": "morning", "type": "schedule", "config": {"cron": "0 9 * * *"}},
        {"type": "schedule", "config": {"cron": "*/5 8-18 * * MON-FRI", "timezone": "America/New_York"}},
        {"type": "schedule", "config": {"every": "1h30m"}},
        {"type": "schedule", "config": {"every": 1}},
        {"type": "event", "config": {"type": "order.created", "source": "shop"}},
    ],
)
def test_every_way_in_is_accepted(trigger: dict[str, Json]) -> None:
    assert codes(workflow(noop("a"), trigger=trigger)) == []
    assert (
        codes(workflow(noop("a"), triggers=[{**trigger, "id": "one"}, {"id": "two", "type": "manual"}])) == []
    )


def test_every_word_of_the_language_is_accepted() -> None:
    document = workflow(
        noop("a", retry={"max_attempts": 3, "on": ["http.*"], "except": ["http.client"], "delay": "250ms"}),
        noop(
            "b",
            timeout={"attempt": 5, "total": "1m"},
            on_error={"default": None},
            effect="read",
            on_uncertain="retry",
        ),
        noop("c", timeout="5s", on_error="branch", queue="cpu"),
        noop("d", join={"mode": "n", "count": 2}),
        noop("e", join="any", on_error="continue"),
        edges=[
            {"from": "trigger", "to": "a"},
            {"from": "a", "to": "b", "when": "order.total > vars.limit"},
            {"from": "a", "to": "c", "when": "{{ nodes.a.output is none }}", "on": "any"},
            {"from": "b", "to": "d", "port": "out"},
            {"from": "c", "to": "d", "on": "error"},
            {"from": "c", "to": "e", "on": "timeout"},
            {"from": "d", "to": "e"},
        ],
        inputs={
            "type": "object",
            "properties": {"order": {"type": "object"}},
            "$defs": {"x": {"$ref": "#/$defs/x"}},
        },
        outputs=["{{ nodes.d.output }}", {"error": "{{ nodes.c.error }}"}],
        variables={"limit": 3, "who": "{{ trigger.payload.order.who }}"},
        retry={
            "max_attempts": 2,
            "backoff": "linear",
            "factor": 1.5,
            "max_delay": "1h",
            "jitter": 0,
            "max_duration": 9,
        },
        timeout="2d",
        on_error="continue",
        queue="default",
    )
    assert (
        refused({"$schema": "https://celeriac.dev/schemas/workflow/v1.json", "enabled": False, **document})
        == []
    )


def test_every_word_of_scopes_maps_and_loops_is_accepted() -> None:
    undo: Any = {
        "type": "log",
        "config": {"message": "{{ nodes.charge.output }} {{ line }} {{ nodes.before.output }}"},
    }
    policies: dict[str, Any] = {
        "retry": {"max_attempts": 3},
        "timeout": {"attempt": 5},
        "queue": "cpu",
        "effect": "keyed",
        "on_uncertain": "ask",
    }
    caught = log("caught", "nodes.booked.error.code", "nodes.charge.output", "nodes.first.output", "line")
    booked = scope(
        "booked",
        noop("charge", compensate={**undo, **policies}),
        log(
            "ship",
            "nodes.charge.output",
            "nodes.first.output",
            "nodes.before.output",
            "line",
            "item",
            "index",
        ),
        edges=[
            {"from": "charge", "to": "ship", "when": "nodes.charge.output and nodes.first.output and line"}
        ],
        catch=[
            {"on": ["http.*"], "except": ["http.client"], "body": body(caught)},
            {"body": body(noop("all"))},
        ],
        **{
            "finally": body(
                log(
                    "closed",
                    "nodes.charge.output",
                    "nodes.ship.error",
                    "nodes.first.output",
                    "nodes.booked.error | default(none)",
                )
            )
        },
        join="any",
        on_error="branch",
    )
    asked = noop(
        "asked",
        loop={
            "while": "index < 3 and item != nodes.booked.output and line",
            "max_iterations": 10_000,
            "initial": {"at": "{{ nodes.booked.output }}", "of": "{{ item }}"},
            "collect": True,
        },
    )
    told = log("told", "nodes.booked.error", "item", "pair", for_each={"items": "[line]", "as": "pair"})
    lines = {
        "id": "lines",
        "type": "scope",
        "for_each": {
            "items": "[nodes.before.output]",
            "as": "line",
            "concurrency": 1,
            "batch": 1,
            "on_item_error": "null",
            "tolerate": {"count": 0},
            "until": "done + failed == count and results[0] == nodes.before.output",
        },
        "body": body(
            noop("first"),
            booked,
            asked,
            told,
            edges=[
                {"from": "first", "to": "booked"},
                {"from": "booked", "to": "asked"},
                {"from": "booked", "to": "told", "on": "error"},
            ],
            output=["{{ nodes.asked.output }}", {"line": "{{ line }}"}],
        ),
    }
    last = scope(
        "last", log("deep", "item", "nodes.lines.output"), loop={"until": "item == nodes.lines.output"}
    )
    edges = [
        {"from": "trigger", "to": "before"},
        {"from": "before", "to": "lines"},
        {"from": "lines", "to": "last"},
    ]
    document = workflow(
        noop("before"),
        lines,
        last,
        edges=edges,
        outputs="{{ nodes.lines.output }}",
        inputs={"properties": {}},
    )
    assert refused(document) == []


def test_without_edges_from_the_trigger_every_node_nothing_leads_to_is_a_start() -> None:
    assert codes(workflow(noop("a"), noop("b"), noop("c"), edges=[{"from": "a", "to": "b"}])) == []


@pytest.mark.parametrize(
    "expression",
    [
        "anything.of.the.payload",
        "items[0] ~ notes ~ codes ~ cars ~ event ~ indices ~ models",
        "node_count",
        "trigger.payload.items",
        "execution.id ~ execution.workflow_id ~ execution.version ~ execution.started_at",
        "trigger.type ~ trigger.id ~ trigger ~ execution ~ vars",
        "nodes | length",
        "missing | default(1)",
        "node | default(1)",
    ],
)
def test_a_name_that_may_have_a_value_is_left_to_run_time(expression: str) -> None:
    assert codes(reading(expression)) == []


def test_a_guarded_key_need_not_be_declared() -> None:
    assert codes(reading("gift | default('none')", inputs={"properties": {"order": {}}})) == []


def test_inputs_without_properties_declare_no_names() -> None:
    assert codes(reading("order.id", inputs={"type": "object"})) == []


def test_a_node_that_may_have_failed_or_been_skipped_may_be_read() -> None:
    document = workflow(
        {"id": "a", "type": "if", "config": {"condition": True}},
        noop("b"),
        {"id": "c", "type": "log", "config": {"message": "{{ nodes.b.output }} {{ nodes.a.error.code }}"}},
        edges=[
            {"from": "a", "to": "b", "port": "true"},
            {"from": "b", "to": "c"},
            {"from": "a", "to": "c", "port": "false"},
            {"from": "a", "to": "c", "port": "error"},
        ],
    )
    assert refused(document) == []


# What is refused.


def test_every_mistake_is_in_one_answer() -> None:
    text = """{
  "name": "",
  "name": "x",
  "defintion": {},
  "definition": {
    "trigger": {"type": "schedule", "config": {"cron": "9 o'clock"}},
    "timeout": -1,
    "nodes": [
      {"id": "a", "type": "set", "config": {"values": {"x": "{{ nodes.b.output }}", "y": 1e999}}},
      {"id": "b", "type": "if", "config": {"condition": "nodes.a.output.x >"}, "retries": 3},
      {"id": "a", "type": "lgo", "config": {"message": "{{ vars.limit }}"}},
      "c",
      {"id": "d", "type": "log", "config": {"message": "{{ trigger.body }}", "level": "warn"}},
      {"id": "e", "type": "merge", "join": {"mode": "n", "count": 3}}
    ],
    "edges": [
      {"from": "trigger", "to": "a"},
      {"from": "a", "to": "b"},
      {"from": "b", "to": "e", "port": "yes"},
      {"from": "e", "to": "e"},
      {"from": "f", "to": "g", "when": ""}
    ]
  }
}"""
    value, found = problems.check_text(text, BUILT_IN)
    assert value is None
    expected = [
        ("definition.duplicate_key", "/name", '"name": "x"'),
        ("definition.unknown_key", "/defintion", '"defintion"'),
        ("definition.bad_config", "/definition/trigger/config/cron", '"9 o\'clock"'),
        ("definition.bad_value", "/definition/timeout", "-1"),
        ("expression.not_before", "/definition/nodes/0/config/values/x", "nodes.b.output }}"),
        ("definition.bad_number", "/definition/nodes/0/config/values/y", "1e999"),
        ("expression.syntax", "/definition/nodes/1/config/condition", '"}'),
        ("definition.unknown_key", "/definition/nodes/1/retries", '"retries"'),
        ("definition.duplicate_id", "/definition/nodes/2/id", '"a", "type": "lgo"'),
        ("definition.unknown_node_type", "/definition/nodes/2/type", '"lgo"'),
        ("expression.unknown_variable", "/definition/nodes/2/config/message", "vars.limit }}"),
        ("definition.wrong_type", "/definition/nodes/3", '"c"'),
        ("definition.unreachable_node", "/definition/nodes/4", '{"id": "d"'),
        ("expression.unknown_key", "/definition/nodes/4/config/message", "trigger.body }}"),
        ("definition.bad_config", "/definition/nodes/4/config/level", '"warn"'),
        ("definition.bad_join", "/definition/nodes/5/join/count", "3}}"),
        ("definition.unknown_port", "/definition/edges/2/port", '"yes"'),
        ("definition.self_loop", "/definition/edges/3", '{"from": "e", "to": "e"}'),
        ("definition.unknown_edge_end", "/definition/edges/4/from", '"f"'),
        ("definition.unknown_edge_end", "/definition/edges/4/to", '"g"'),
        ("definition.bad_value", "/definition/edges/4/when", '""}'),
    ]
    assert [(each.code, each.pointer) for each in found] == [(code, pointer) for code, pointer, _ in expected]
    lines = text.split("\n")
    for each, (_, _, shown) in zip(found, expected, strict=True):
        assert lines[(each.line or 0) - 1][(each.column or 0) - 1 :].startswith(shown)
    assert all(each.message and each.severity == "error" for each in found)


def test_a_value_and_its_text_have_the_same_problems_in_the_same_order() -> None:
    document: Any = workflow(
        {
            "id": "b",
            "type": "log",
            "config": {"message": "{{ x | nope }} {{ vars.y }}", "level": 3},
            "x": 1,
            "y": 2,
        },
        {"type": "nop"},
        edges=[{"to": "b", "from": "a"}, {"from": "b", "to": "b", "on": "sometimes"}],
        queue="?",
    )
    value, found = problems.check_text(json.dumps(document, indent=2).encode(), BUILT_IN)
    assert value == document
    assert [replace(each, line=None, column=None) for each in found] == problems.check(document, BUILT_IN)


@pytest.mark.parametrize(
    "document", [None, 5, "x", [], {}, {"definition": []}, {"definition": {"nodes": {}, "edges": 5}}]
)
def test_whatever_json_is_given_there_is_an_answer(document: Json) -> None:
    assert codes(document) != []


@pytest.mark.parametrize("text", ["", "{", b"\xff", '{"name": "a' + "\ud800"])
def test_a_text_that_is_no_json_has_one_problem(text: str | bytes) -> None:
    value, found = problems.check_text(text, BUILT_IN)
    assert (value, len(found)) == (None, 1)
    assert (found[0].line, found[0].severity) == (1, "error")


def test_the_limits_are_counted_to_the_last_node_edge_byte_and_level() -> None:
    nodes = [noop("a"), noop("b"), noop("c")]
    edges: list[Json] = [{"from": "a", "to": "b"}, {"from": "b", "to": "c"}]
    document = workflow(*nodes, edges=edges)
    assert codes(document, nodes=3, edges=2) == []
    assert codes(document, nodes=2, edges=1) == [
        ("definition.too_many_nodes", "/definition/nodes"),
        ("definition.too_many_edges", "/definition/edges"),
    ]
    bodies = workflow(scope("x", *nodes, edges=edges), noop("y"), edges=[{"from": "x", "to": "y"}])
    assert codes(bodies, nodes=5, edges=3, scopes=1) == []
    assert codes(bodies, nodes=4, edges=2, scopes=0) == [
        ("definition.too_many_nodes", "/definition/nodes"),
        ("definition.too_many_scopes", "/definition/nodes"),
        ("definition.too_many_edges", "/definition/edges"),
    ]
    nested = scope("inner", noop("z"), **{"finally": body(noop("end"))})
    assert codes(workflow(scope("outer", nested)), scopes=3, scope_depth=2) == []
    assert codes(workflow(scope("outer", nested)), scopes=3, scope_depth=1) == [
        ("definition.scopes_too_deep", "/definition/nodes/0/body/nodes/0/body"),
        ("definition.scopes_too_deep", "/definition/nodes/0/body/nodes/0/finally"),
    ]
    text = json.dumps(document)
    limits = replace(Limits(), definition_bytes=len(text))
    assert problems.check_text(text, BUILT_IN, limits) == (document, [])
    assert [each.code for each in problems.check_text(text + " ", BUILT_IN, limits)[1]] == [
        "definition.too_large"
    ]
    deep: Json = 1
    for _ in range(62):
        deep = [deep]
    assert codes(workflow(noop("a"), outputs=deep)) == []
    assert codes(workflow(noop("a"), outputs=[deep])) == [("definition.too_deep", "")]


def test_an_answer_holds_at_most_ten_thousand_mistakes() -> None:
    def document(count: int) -> dict[str, Json]:
        return {**workflow(noop("a")), **{f"key_{number}": 1 for number in range(count)}}

    assert {code for code, _ in codes(document(problems.MOST))} == {"definition.unknown_key"}
    found = codes(document(problems.MOST + 1))
    assert len(found) == problems.MOST + 1
    assert [each for each in found if each[0] != "definition.unknown_key"] == [
        ("definition.too_many_mistakes", "")
    ]
    text = json.dumps(document(0)).replace('"a"', '"a", ' + ", ".join(['"id": "a"'] * (problems.MOST + 5)))
    assert len(problems.check_text(text, BUILT_IN)[1]) == problems.MOST


def test_a_warning_is_told_from_an_error() -> None:
    document = workflow(
        noop("a", on_error="continue"), noop("b"), edges=[{"from": "a", "to": "b", "on": "error"}]
    )
    found = only(document)
    assert (found.code, found.severity) == ("definition.on_error_unused", "warning")


def test_a_problem_as_json_leaves_out_what_it_does_not_know() -> None:
    found = Problem("/a", "definition.cycle", "m", None, None, None, "error")
    assert found.to_json() == {
        "pointer": "/a",
        "code": "definition.cycle",
        "message": "m",
        "severity": "error",
    }
    placed = replace(found, line=2, column=3, hint="h")
    assert placed.to_json() == {**found.to_json(), "hint": "h", "line": 2, "column": 3}


@pytest.mark.parametrize(
    ("document", "message", "hint"),
    [
        (workflow({"id": "a", "type": "lgo", "config": {}}), "no node type", "Did you mean log?"),
        (
            workflow({"id": "a", "type": "log@7", "config": {"message": 1}}),
            "has no version 7",
            "Installed: 1.",
        ),
        (workflow({"id": "a", "type": "quux"}), "no node type", "Installed: "),
        (
            workflow({"id": "a", "type": "scpoe", "body": body(noop("b"))}),
            "no node type",
            "Did you mean scope?",
        ),
        (
            workflow({"id": "a", "type": "scope@2", "body": body(noop("b"))}),
            "no node type",
            "Did you mean scope?",
        ),
        (
            workflow({"id": "a", "type": "log", "message": "x", "config": {"message": 1}}),
            "no key",
            "into `config`",
        ),
        ({**workflow(noop("a")), "edges": []}, "`edges`", "into `definition`"),
        (workflow(noop("a"), description="x"), "no key", "out of `definition`"),
        (
            workflow(noop("a", retry={"max_attempts": "3"})),
            "a whole number, not text",
            "Write 3 without quotes.",
        ),
        (
            workflow(noop("a", retry={"retry_after": "true"})),
            "true or false, not text",
            "Write true without quotes.",
        ),
        (
            workflow(noop("a", retry=3)),
            "`retry` of the node a has to be an object, not the number 3",
            "attempt",
        ),
        (workflow(noop("a", timeout=[])), "a number, text or an object, not a list", "duration"),
        (workflow(noop("a", timeout={})), "is empty", ""),
        (workflow(noop("a", on_error="explode")), "none of fail, continue or branch", '{"default": value}'),
        (workflow(noop("a", join="n")), "none of all, any or each", '{"mode": "n"'),
        (workflow(noop("a", effect=None)), '"none", "read", "keyed" or "once", not null', ""),
        (workflow(), "`nodes` is empty", ""),
        (workflow(noop("a"), edges=[{"from": "a"}]), "Edge 1 needs the key `to`", "id of a node"),
        (
            workflow(noop("a"), edges=[{"from": "a", "to": 5}]),
            "`to` of edge 1 has to be text",
            "id of a node",
        ),
        (
            workflow(noop("a"), edges=[{"from": "trigger", "to": "a", "when": ""}]),
            "of the edge trigger -> a",
            "",
        ),
        (workflow({"id": "a", "type": "set"}), "needs the key `config`", "It has to hold values."),
        (
            workflow({"id": "a", "type": "wait", "config": {"for": 1, "until": 2}}),
            "only one of `for` and `until`",
            "",
        ),
        (workflow({"id": "a", "type": "wait", "config": {}}), "needs one of `for` and `until`", ""),
        (
            workflow({"id": "a", "type": "wait", "config": {"for": "800d"}}),
            "a wait is at most a year long",
            "90s",
        ),
        (
            workflow({"id": "a", "type": "wait", "config": {"until": "later"}}),
            "cannot be this text",
            "time zone",
        ),
        (workflow(noop("a"), triggers=[]), "`triggers` is empty", ""),
        (
            workflow(noop("a"), trigger={"type": "manual"}, triggers=[{"type": "manual"}]),
            "`triggers` cannot stand beside `trigger`",
            "Keep one",
        ),
        (
            workflow(noop("a"), inputs={"properties": {"a": {"type": "txt"}}}),
            '`inputs.properties.a.type` cannot be "txt"',
            "",
        ),
        (workflow(noop("a"), inputs={"$ref": "#/nowhere"}), "`inputs` cannot be used", "stay inside"),
        (workflow(noop("a"), trigger={"type": "webhook", "config": {"method": "get"}}), "none of", '"GET"'),
        (workflow(noop("a"), trigger={"type": "schedule"}), "needs the key `config`", ""),
        (workflow(noop("a"), variables={"a b": 1}), "`a b` cannot be a key of `variables`", "letters"),
        (
            workflow(noop("a"), noop("b"), edges=[{"from": "a", "to": "b"}, {"from": "b", "to": "a"}]),
            "a -> b -> a",
            "Give an edge of it a `when`",
        ),
        (workflow(noop("a"), edges=[{"from": "aa", "to": "a"}]), "no such node", "Did you mean a?"),
        (
            workflow(noop("fetch"), edges=[{"from": "x", "to": "fetch"}]),
            "no such node",
            "starts from fetch or trigger",
        ),
        (
            workflow(noop("a"), edges=[{"from": "trigger", "to": "a", "port": "done"}]),
            "no port done",
            "out or error",
        ),
        (reading("vars.x"), "no variable x", "Declare it"),
        (reading("vars.limti", variables={"limit": 1}), "no variable limti", "limit?"),
        (reading("trigger.body"), "no `body`", "trigger.payload.body"),
        (reading("nodes.b.output"), "no node b", "There are a."),
        (reading("nodes.a.output"), "its own output", "before"),
        (reading("node.x"), "`nodes`", "trigger.payload.node"),
        (reading("ordr.id", inputs={"properties": {"order": {}}}), "no `ordr`", "order?"),
        (reading("item.id"), "only inside a map", "trigger.payload.item"),
        (reading("env.HOME"), "reserved", "connection"),
        (workflow({"id": "a", "type": "scope"}), "The node a needs the key `body`", "stands in its `body`"),
        (workflow(scope("a", noop("b"), config={})), "`config` of the node a cannot stand here", "no config"),
        (
            workflow(noop("a", body=body(noop("b")))),
            "`body` of the node a cannot stand here",
            "the type scope",
        ),
        (workflow(scope("a", noop("b"), nodes=[])), "no key `nodes`", "Move it into `body`."),
        (workflow(noop("a", for_each={"item": "x"})), "no key `item`", "`items`"),
        (
            workflow(noop("a", for_each={"items": "x"}, loop={"until": "x"})),
            "`loop` of the node a cannot stand beside `for_each`",
            "Nest them",
        ),
        (
            workflow(noop("a", loop={})),
            "`loop` of the node a needs one of `while` and `until`",
            "exactly one",
        ),
        (
            workflow(noop("a", loop="x < 3")),
            "`loop` of the node a has to be an object, not text",
            "one time after",
        ),
        (
            workflow(noop("a", for_each={"items": "x", "as": "item"})),
            '"item" is a name that expressions use; nothing else can have it',
            "Call it item_1",
        ),
        (
            workflow(scope("a", noop("b"), catch=[{}])),
            "`catch[0]` of the node a needs the key `body`",
            "It has to hold",
        ),
        (workflow(scope("a", noop("b", retry=3))), "`retry` of the node b has to be an object", "attempt"),
        (workflow(scope("a", noop("b"), edges=[{"from": "b"}])), "Edge 1 needs the key `to`", "id of a node"),
        (
            workflow(
                scope("a", noop("b", compensate={"type": "log", "config": {"message": "x", "level": 1}}))
            ),
            "`compensate.config.level` of the node b has to be",
            "How much",
        ),
        (
            workflow(scope("a", noop("b", compensate={"type": "wait", "config": {"for": "800d"}}))),
            "`config.for` of the compensation of b does not fit",
            "",
        ),
        (
            workflow(scope("a", noop("b", compensate={"type": "scope"}))),
            "cannot undo a node",
            "Installed: ",
        ),
        (workflow(noop("a", compensate={"type": "noop"})), "stands in no scope", "the body of a scope"),
        (
            workflow(scope("a", noop("b")), scope("c", noop("b"))),
            "The id b is taken: node 1 of the body of a has it already.",
            "another id",
        ),
        (
            workflow(scope("a", noop("b")), noop("c"), edges=[{"from": "b", "to": "c"}]),
            "An edge in the definition cannot start from b, which stands in the body of a.",
            "Let it start from a",
        ),
        (
            workflow(scope("a", noop("b")), noop("c"), edges=[{"from": "c", "to": "b"}]),
            "cannot lead to b",
            "Let it lead to a",
        ),
        (
            workflow(scope("a", noop("b"), edges=[{"from": "b", "to": "c"}]), noop("c")),
            "An edge in the body of a cannot lead to c, which stands in the definition.",
            "connect a, which holds it",
        ),
        (
            workflow(scope("a", noop("b"), edges=[{"from": "b", "to": "d"}]), scope("c", noop("d"))),
            "stands in the body of c",
            "Connect the nodes that hold",
        ),
        (
            workflow(scope("a", noop("b"), noop("c")), edges=[{"from": "b", "to": "c"}]),
            "stands in the definition, and its nodes in the body of a",
            "Move it",
        ),
        (
            workflow(scope("a", noop("b"), edges=[{"from": "trigger", "to": "b"}])),
            "No edge leads from trigger into the body of a.",
            "start at once",
        ),
        (
            workflow(scope("a", noop("b"), edges=[{"from": "bb", "to": "b"}])),
            "no such node",
            "Did you mean b?",
        ),
        (
            workflow(
                {
                    "id": "a",
                    "type": "if",
                    "config": {"condition": "item > 1"},
                    "for_each": {"items": "order"},
                },
                noop("b"),
                edges=[{"from": "a", "to": "b", "port": "true"}],
            ),
            "a is repeated as a whole, and has no port true.",
            "into a scope",
        ),
        (
            workflow(scope("a", noop("b")), noop("c"), edges=[{"from": "a", "to": "c", "port": "done"}]),
            "a has no port done",
            "Its ports are out or error.",
        ),
        (
            workflow(scope("a", noop("b")), log("c", "nodes.b.output"), edges=[{"from": "a", "to": "c"}]),
            "b stands in the body of a, and c is outside of it.",
            "Read nodes.a.output",
        ),
        (
            workflow(scope("a", noop("b"), for_each={"items": "nodes.b.output"})),
            "`for_each.items` of a is outside of it",
            "Read a node before a.",
        ),
        (
            workflow(scope("a", noop("b"), for_each={"items": "x", "until": "nodes.b.output"})),
            "`for_each.until` of a is outside of it",
            "is in count, done, failed or results.",
        ),
        (
            workflow(scope("a", noop("b"), loop={"until": "nodes.b.output"})),
            "`loop.until` of a is outside of it",
            "is in index or item.",
        ),
        (
            workflow(scope("a", log("b", "nodes.c.output"), catch=[{"body": body(noop("c"))}])),
            "c stands in a catch of a",
            "is read there only",
        ),
        (
            workflow(scope("a", log("b", "nodes.a.output"))),
            "b is inside a, which has no output before",
            "Read the nodes in the body of a.",
        ),
        (
            workflow(scope("a", noop("b"), **{"finally": body(log("c", "nodes.a.output"))})),
            "c is inside a",
            "Its error is nodes.a.error.",
        ),
        (
            workflow(scope("a", noop("b"), catch=[{"body": body(log("c", "nodes.a.output"))}])),
            "c is inside a",
            "Its error is nodes.a.error.",
        ),
        (
            workflow(scope("a", log("b", "nodes.c.output")), noop("c")),
            "b reads from c, and no edges lead from c to a.",
            "Let a follow c",
        ),
        (
            workflow(
                scope("a", noop("b"), for_each={"items": "order.lines", "as": "line"}),
                log("c", "line.price"),
                inputs={"properties": {"order": {}}},
            ),
            "`line` has a value only inside the map a",
            "trigger.payload.line",
        ),
        (
            workflow(
                scope("a", log("b", "lien"), for_each={"items": "order", "as": "line"}),
                inputs={"properties": {"order": {}}},
            ),
            "no `lien`",
            "Did you mean line?",
        ),
    ],
)
def test_the_words_are_for_the_author(document: Json, message: str, hint: str) -> None:
    found = only(document)
    assert message in found.message
    assert hint in (found.hint or "")
    assert "schema" not in found.message


def test_a_long_cycle_is_shown_by_its_ends() -> None:
    ring = [f"n{number}" for number in range(40)]
    edges: list[Json] = [{"from": a, "to": b} for a, b in zip(ring, [*ring[1:], ring[0]], strict=True)]
    found = only(workflow(*map(noop, ring), edges=edges))
    assert "n0 -> n1 -> " in found.message
    assert found.message.endswith("-> ... -> n39 -> n0.")
    assert found.pointer == "/definition/edges/39"


def test_an_edge_from_nowhere_may_read_what_it_likes() -> None:
    document = workflow(noop("a"), edges=[{"from": "zz", "to": "a", "when": "nodes.a.output == 1"}])
    assert codes(document) == [("definition.unknown_edge_end", "/definition/edges/0/from")]


@pytest.mark.parametrize("edge", [{"from": "a", "to": "bb"}, {"from": "aa", "to": "b"}])
def test_a_misspelt_end_is_not_reported_again_by_what_it_cuts_off(edge: Json) -> None:
    reader = {"id": "b", "type": "log", "config": {"message": "{{ nodes.a.output }}"}}
    document = workflow(noop("a"), reader, edges=[{"from": "trigger", "to": "a"}, edge])
    assert [code for code, _ in codes(document)] == ["definition.unknown_edge_end"]


def test_a_cycle_is_not_reported_again_by_what_follows_it() -> None:
    reader = {"id": "c", "type": "log", "config": {"message": "{{ nodes.a.output }} {{ nodes.b.output }}"}}
    edges: list[Json] = [{"from": "a", "to": "b"}, {"from": "b", "to": "a"}, {"from": "b", "to": "c"}]
    assert codes(workflow(noop("a"), noop("b"), reader, edges=edges)) == [
        ("definition.cycle", "/definition/edges/1")
    ]


def test_what_stands_in_a_body_is_asked_although_its_scope_has_no_id() -> None:
    inner = scope("in", log("b", "nodes.a.output", "line", "item"), edges=[{"from": "b", "to": "zz"}])
    nameless = {
        "type": "scope",
        "for_each": {"items": "x", "as": "line"},
        "body": body(inner, noop("c", retry=3)),
    }
    assert codes(workflow(noop("a"), nameless, log("d", "nodes.c.output"))) == [
        ("definition.missing_key", "/definition/nodes/1"),
        ("definition.unknown_edge_end", "/definition/nodes/1/body/nodes/0/body/edges/0/to"),
        ("definition.wrong_type", "/definition/nodes/1/body/nodes/1/retry"),
        ("expression.inside_scope", "/definition/nodes/2/config/message"),
    ]
    bodies = [{"type": "scope", "body": body(noop("e"))}, {"type": "scope", "body": body(noop("e"))}]
    found = problems.check(workflow(*bodies), BUILT_IN)
    assert [each.message for each in found if each.code == "definition.duplicate_id"] == [
        "The id e is taken: node 1 of the body of a node without an id has it already."
    ]


def test_an_id_that_stands_twice_is_not_reported_again_by_who_reads_it() -> None:
    edges: Json = [{"from": "a", "to": "b"}]
    inner = scope("s", noop("a"), log("b", "nodes.a.output"), edges=edges)
    assert codes(workflow(noop("a"), inner)) == [
        ("definition.duplicate_id", "/definition/nodes/1/body/nodes/0/id")
    ]


def test_names_are_only_guessed_while_somebody_can_wait_for_it() -> None:
    nodes = [noop(f"node_{number}") for number in range(300)]
    edges: list[Json] = [{"from": f"nod_{number}", "to": f"node_{number}"} for number in range(300)]
    found = problems.check(workflow(*nodes, edges=edges), BUILT_IN)
    assert len(found) == 300
    guessed = [each.hint for each in found if (each.hint or "").startswith("Did you mean")]
    assert 0 < len(guessed) < 300


# Where expressions stand.


def placed(text: str) -> list[tuple[int | None, int | None, str]]:
    return [(each.line, each.column, each.code) for each in problems.check_text(text, BUILT_IN)[1]]


def test_a_mistake_in_an_expression_is_placed_to_the_column_in_the_file() -> None:
    text = r"""{"name": "x", "definition": {"nodes": [
 {"id": "a", "type": "log", "config": {"message": "\u00e4 \"{{ x }}\"\n\t{{ vars.one }} {{ vars.two }}"}},
 {"id": "b", "type": "if", "config": {"condition": "x == 1 and vars.three"}},
 {"id": "c", "type": "if", "config": {"condition": "{{ vars.four }}"}}],
 "edges": [{"from": "a", "to": "b", "when": "not vars.five"}]}}"""
    assert placed(text) == [
        (2, text.split("\n")[1].index("vars.one") + 1, "expression.unknown_variable"),
        (2, text.split("\n")[1].index("vars.two") + 1, "expression.unknown_variable"),
        (3, text.split("\n")[2].index("vars.three") + 1, "expression.unknown_variable"),
        (4, text.split("\n")[3].index("vars.four") + 1, "expression.unknown_variable"),
        (5, text.split("\n")[4].index("vars.five") + 1, "expression.unknown_variable"),
    ]


# Node types of others.


class Ruled(BaseModel, extra="forbid"):
    word: str = Field("abc", min_length=3, max_length=5)
    low: int = Field(3, ge=3, lt=6, multiple_of=3)
    high: float = Field(5.5, gt=5, le=6)
    pair: list[int] = Field([1, 2], min_length=2, max_length=3)
    some: dict[str, int] = Field({"a": 1, "b": 2}, min_length=2, max_length=3)
    few: dict[str, int] = Field({"a": 1}, min_length=1)
    each: set[int] = set()
    fixed: Literal["x"] = "x"
    spot: tuple[int, str] = (1, "x")
    nothing: Any = Field(None, json_schema_extra={"contains": {"const": 1}})
    never: Any = Field(
        None, json_schema_extra={"anyOf": [{"type": "boolean"}, {"anyOf": [{"type": "integer", "const": 5}]}]}
    )
    gone: Any = Field(None, json_schema_extra={"allOf": [False]})


@node("ruled")
def ruled(_config: Ruled, _ctx: Context) -> Json:
    """Have a field for each keyword."""
    return None


@pytest.mark.parametrize(
    ("config", "pointer", "words"),
    [
        ({"word": "ab"}, "word", "has 2 characters, and needs 3 at least"),
        ({"word": "abcdef"}, "word", "has 6 characters, and can have 5 at most"),
        ({"low": 0}, "low", "is 0, and has to be 3 at least"),
        ({"low": 6}, "low", "is 6, and has to be less than 6"),
        ({"low": 4}, "low", "is 4, and has to be a multiple of 3"),
        ({"high": 5}, "high", "is 5, and has to be more than 5"),
        ({"high": 6.5}, "high", "is 6.5, and can be 6"),
        ({"pair": [1]}, "pair", "has 1 entries, and needs 2 at least"),
        ({"pair": [1] * 4}, "pair", "has 4 entries, and can have 3 at most"),
        ({"pair": [1, "x"]}, "pair/1", "`config.pair[1]` of the node a has to be a whole number, not text"),
        ({"some": {"a": 1}}, "some", "has 1 entries, and needs 2 at least"),
        ({"few": {}}, "few", "is empty, and needs something in it"),
        ({"each": [1, 1]}, "each", "has the same entry twice"),
        ({"fixed": "y"}, "fixed", 'has to be "x"'),
        ({"fixed": 1}, "fixed", "has to be text, not the number 1"),
        ({"spot": ["x", "{{ x }}"]}, "spot/0", "has to be a whole number, not text"),
        ({"nothing": [2]}, "nothing", "breaks the rule `contains` of its schema"),
        ({"never": "x"}, "never", "has to be true or false or a whole number, not text"),
        ({"gone": 1}, "gone", "cannot stand here"),
    ],
)
def test_every_keyword_of_a_config_has_its_words(config: Json, pointer: str, words: str) -> None:
    found = only(workflow({"id": "a", "type": "ruled", "config": config}), Registry([ruled]))
    assert (found.code, found.pointer) == ("definition.bad_config", f"/definition/nodes/0/config/{pointer}")
    assert words in found.message


def test_of_a_part_that_is_too_large_for_words_the_beginning_is_explained() -> None:
    registry = Registry([ruled])
    wrong: Any = {"id": "a", "type": "ruled", "config": {"each": [*range(30_000), "x"]}}
    found = codes(workflow(wrong), registry)
    assert found == [
        ("definition.bad_value", ""),
        ("definition.bad_config", "/definition/nodes/0/config/each/30000"),
    ]
    found = codes(workflow(wrong, noop("b", type="other")), registry)
    assert ("definition.unknown_node_type", "/definition/nodes/1/type") in found
    keys: Any = {"id": "a", "type": "ruled", **{f"k{each}": 1 for each in range(30_000)}}
    assert ("definition.too_many_mistakes", "") in codes(workflow(keys), registry)
    crowded: Any = {
        "id": "a",
        "type": "ruled",
        "config": {"some": {f"k{each}": "x" for each in range(30_000)}},
    }
    found = codes(workflow(crowded), registry)
    assert 15_000 > len(found) > 1_000
    assert ("definition.too_many_mistakes", "") in found


class Picky(BaseModel, extra="forbid"):
    words: list[str] = []
    when: Expr = True

    @field_validator("words")
    @classmethod
    def _distinct(cls, words: list[str]) -> list[str]:
        if len(set(words)) != len(words):
            message = "the words have to be distinct"
            raise ValueError(message)
        return words


def _ports(config: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(each.lower() for each in config.get("words", ()))


@node("picky", ports=_ports)
def picky(config: Picky, _ctx: Context) -> Json:
    """Have a port for each word."""
    return len(config.words)


PICKY = Registry([picky])


def test_a_model_is_asked_about_what_its_schema_cannot_say() -> None:
    assert codes(workflow({"id": "a", "type": "picky", "config": {"words": ["x", "x"]}}), PICKY) == [
        ("definition.duplicate_port", "/definition/nodes/0/config"),
        ("definition.bad_config", "/definition/nodes/0/config/words"),
    ]


def test_a_config_with_an_expression_in_it_is_left_to_the_run() -> None:
    config: Json = {"words": ["{{ x }}", "{{ x }} "], "when": "1 > 0"}
    assert codes(workflow({"id": "a", "type": "picky", "config": config}), PICKY) == []


def test_a_node_whose_config_does_not_fit_is_not_asked_for_its_ports() -> None:
    document = workflow(
        {"id": "a", "type": "picky", "config": {"words": [1]}},
        {"id": "b", "type": "picky"},
        edges=[{"from": "a", "to": "b", "port": "whatever"}],
    )
    assert codes(document, PICKY) == [("definition.bad_config", "/definition/nodes/0/config/words/0")]


def test_a_mistake_at_a_key_that_is_not_there_is_placed_at_what_is() -> None:
    registry = Registry([replace(picky, ports=("x", "x"))])
    text = json.dumps(workflow({"id": "a", "type": "picky"}))
    found = problems.check_text(text, registry)[1]
    assert [(each.code, each.pointer, each.column) for each in found] == [
        ("definition.duplicate_port", "/definition/nodes/0/config", text.index('{"id"') + 1)
    ]
    assert [replace(each, line=None, column=None) for each in found] == problems.check(
        json.loads(text), registry
    )


def test_a_port_function_that_fails_on_a_good_config_is_not_hushed_up() -> None:
    def broken(_config: object) -> tuple[str, ...]:
        raise ZeroDivisionError

    registry = Registry([replace(picky, ports=broken)])
    with pytest.raises(ZeroDivisionError):
        problems.check(workflow({"id": "a", "type": "picky"}), registry)


# Addresses that are given away.

PAUSE = {"id": "pause", "type": "wait", "config": {"callback": True}}


def telling(expression: str) -> dict[str, Any]:
    return {"id": "tell", "type": "log", "config": {"message": f"{{{{ {expression} }}}}"}}


def addressing(expression: str, *nodes: Any, **rest: Any) -> dict[str, Any]:
    return workflow(telling(expression), *(nodes or (PAUSE,)), **rest)


@pytest.mark.parametrize(
    "expression", ["callback_url('pause')", "callback_url('pause', 'x')", "callback_url(trigger.id)"]
)
def test_the_address_of_a_wait_may_be_given_away_before_it_and_beside_it(expression: str) -> None:
    assert codes(addressing(expression)) == []


def test_the_address_of_a_wait_outside_may_be_given_away_inside() -> None:
    assert codes(workflow(scope("box", telling("callback_url('pause')")), PAUSE)) == []


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (addressing("callback_url('pauze')"), "expression.unknown_node"),
        (addressing("callback_url('tell')"), "expression.value"),
        (addressing("callback_url('pause')", scope("box", PAUSE)), "expression.unavailable_name"),
        (
            addressing("callback_url('pause')", {**PAUSE, "for_each": {"items": "[1]"}}),
            "expression.unavailable_name",
        ),
        (workflow(PAUSE, variables={"a": "{{ callback_url('pause') }}"}), "expression.unavailable_name"),
        (addressing("callback_url()"), "expression.arguments"),
    ],
)
def test_an_address_that_names_no_wait_is_a_mistake(document: Any, code: str) -> None:
    assert only(document).code == code


# Circles and joins `each`.


def circle(*nodes: Any, edges: str = "a->b", back: str = "b->a", when: str = "x", **more: Any) -> Any:
    """A workflow with an edge that leads back on a condition."""
    source, target = back.split("->")
    ways = [{"from": a, "to": b} for each in edges.split() for a, b in [each.split("->")]]
    return workflow(*nodes, edges=[*ways, {"from": source, "to": target, "when": when}], **more)


def test_a_node_in_a_circle_may_read_itself_and_what_comes_later() -> None:
    reader: Any = {
        "id": "a",
        "type": "log",
        "config": {"message": "{{ nodes.a.output }} {{ nodes.b.output }}"},
    }
    assert refused(circle(reader, noop("b"))) == []


def test_what_comes_later_in_a_circle_may_be_missing_in_the_first_round() -> None:
    reader: Any = {"id": "a", "type": "log", "config": {"message": "{{ nodes.b.output.x }}"}}
    later: Any = {"id": "b", "type": "set", "config": {"values": {"x": 1}}}
    assert codes(circle(reader, later)) == [("flow.maybe_absent", "/definition/nodes/0/config/message")]


def test_a_condition_that_held_before_need_not_hold_in_another_round() -> None:
    counts: Any = {
        "id": "a",
        "type": "transform",
        "config": {"expression": "nodes.a.output | default(0) + 1"},
    }
    first = circle(counts, noop("b"), noop("c"), edges="b->c", back="b->a", when="nodes.a.output < 3")
    first["definition"]["edges"].append({"from": "a", "to": "b", "when": "nodes.a.output < 9"})
    first["definition"]["edges"][0]["when"] = "nodes.a.output > 9"
    assert [code for code, _ in codes(first)] == []


def test_edges_that_different_rounds_take_come_together() -> None:
    ways: list[Any] = [
        {"from": "a", "to": "b", "port": "true"},
        {"from": "a", "to": "c", "port": "false"},
        {"from": "b", "to": "z"},
        {"from": "c", "to": "z"},
        {"from": "b", "to": "a", "when": "x"},
    ]
    nodes: list[Any] = [{"id": "a", "type": "if", "config": {"condition": "y"}}, noop("b"), noop("c")]
    last = noop("z", join={"mode": "n", "count": 2})
    assert codes(workflow(*nodes, last, edges=ways)) == []
    assert [code for code, _ in codes(workflow(*nodes, last, edges=ways[:4]))] == ["flow.never_runs"]


@pytest.mark.parametrize("name", ["item", "index"])
def test_what_a_join_each_repeats_reads_its_arrival(name: str) -> None:
    reading_it: Any = {"id": "n", "type": "log", "config": {"message": f"{{{{ {name} }}}}"}}
    ways: list[Any] = [{"from": a, "to": "m"} for a in "ab"]
    inside: Any = workflow(
        noop("a"), noop("b"), noop("m", join="each"), reading_it, edges=[*ways, {"from": "m", "to": "n"}]
    )
    assert codes(inside) == []
    inside["definition"]["edges"][2]["when"] = f"{name} == 1"
    assert codes(inside) == []
    inside["definition"]["nodes"][3]["for_each"] = {"items": f"[{name}]"}
    assert codes(inside) == []
    ways += [{"from": "m", "to": "n"}, {"from": "a", "to": "n"}]
    outside = workflow(noop("a"), noop("b"), noop("m", join="each"), reading_it, edges=ways)
    assert [code for code, _ in codes(outside)] == ["expression.unavailable_name"]


def test_what_follows_a_join_each_has_waited_for_all_its_edges() -> None:
    values: list[Any] = [{"id": each, "type": "set", "config": {"values": {"x": 1}}} for each in "ab"]
    reader: Any = {
        "id": "z",
        "type": "log",
        "config": {"message": "{{ nodes.a.output.x }} {{ nodes.b.output.x }}"},
    }
    ways: list[Any] = [{"from": a, "to": b} for a, b in ("am", "bm", "mz", "bz")]
    assert codes(workflow(*values, noop("m", join="each"), reader, edges=ways)) == []


def test_a_wait_in_a_circle_has_no_one_address_outside() -> None:
    tells: Any = {"id": "t", "type": "log", "config": {"message": "{{ callback_url('w') }}"}}
    waits: Any = {"id": "w", "type": "wait", "config": {"callback": True}}
    found = circle(tells, waits, noop("b"), edges="t->w w->b", back="b->w")
    assert codes(found) == [("expression.unavailable_name", "/definition/nodes/0/config/message")]


def test_circles_are_nested_ten_deep_at_most() -> None:
    def ladder(steps: int) -> Json:
        names = [f"n{number}" for number in range(steps + 1)]
        ways: list[Any] = [{"from": a, "to": b, "when": "x"} for a, b in pairwise(names)]
        ways += [{"from": b, "to": a, "when": "y"} for a, b in pairwise(names)]
        return workflow(*map(noop, names), edges=ways)

    assert codes(ladder(10)) == []
    assert [code for code, _ in codes(ladder(11))] == ["definition.scopes_too_deep"]


def test_a_node_is_not_enabled_with_one_that_is_repeated_apart_from_it() -> None:
    found = circle(noop("a"), noop("b"), noop("c", enabled_while={"not_ended": "b"}))
    assert codes(found) == [("definition.bad_milestone", "/definition/nodes/2/enabled_while/not_ended")]


# Time limits


def test_a_scope_is_neither_taken_up_nor_sends_heartbeats() -> None:
    timeout = {"queue": "1s", "heartbeat": "1s", "total": "1h"}
    assert codes(workflow(scope("s", noop("a"), timeout=timeout))) == [
        ("definition.bad_timeout", "/definition/nodes/0/timeout/queue"),
        ("definition.bad_timeout", "/definition/nodes/0/timeout/heartbeat"),
    ]


@pytest.mark.parametrize(
    ("timeout", "told"),
    [
        ({"heartbeat": "9s", "attempt": "10s"}, []),
        ({"heartbeat": "10s", "attempt": "10s"}, ["definition.heartbeat_unused"]),
        ({"heartbeat": "10s"}, []),
        ({"heartbeat": "2h"}, ["definition.heartbeat_unused"]),
        ({"queue": "1s", "attempt": "1s", "total": "1m"}, []),
    ],
)
def test_a_heartbeat_that_comes_after_the_end_is_a_warning(timeout: Any, told: list[str]) -> None:
    found = problems.check(workflow(noop("a", timeout=timeout)), BUILT_IN)
    assert [each.code for each in found] == told
    assert all(each.severity == "warning" for each in found)


# Forms


def approval(form: Any) -> dict[str, Json]:
    return workflow({"id": "a", "type": "approval", "config": {"title": "Go on?", "form": form}})


def test_a_form_is_held_against_what_a_schema_may_be() -> None:
    assert codes(approval({"type": "object", "properties": {"x": {"type": "string"}}})) == []
    found = only(approval({"type": "object", "properties": {"x": {"type": "text"}}}))
    assert (found.code, found.pointer) == (
        "definition.bad_schema",
        "/definition/nodes/0/config/form/properties/x/type",
    )
    assert found.message == '`form.properties.x.type` cannot be "text".'
    unusable = only(approval({"$ref": "https://example.com/form.json"}))
    assert (unusable.code, unusable.message.startswith("`form` cannot be used: ")) == (
        "definition.bad_schema",
        True,
    )


def test_a_form_that_is_known_only_when_it_runs_is_left_for_then() -> None:
    assert codes(approval({"type": "{{ trigger.payload.kind }}"})) == []


# Handlers of what is repeated


@pytest.mark.parametrize(
    "repeated", [{"for_each": {"items": "xs", "as": "x"}}, {"loop": {"while": "index < 2"}}]
)
def test_the_handlers_of_a_repeated_scope_read_its_item(repeated: Any) -> None:
    caught = body(log("b", "item", "index", "nodes.s.error.code"))
    done = scope("s", noop("a"), catch=[{"body": caught}], **{"finally": body(log("c", "item"))}, **repeated)
    assert codes(workflow(done)) == []


# What meets at a join


def test_what_has_met_is_a_name_where_the_join_collects() -> None:
    ways = [{"from": "a", "to": "m"}, {"from": "b", "to": "m"}]
    join = {"mode": "any", "collect": "map"}
    values = [{"id": each, "type": "set", "config": {"values": {"x": 1}}} for each in "ab"]
    declared: dict[str, Any] = {"inputs": {"type": "object", "properties": {"order": {}}}}
    meets = log("m", "joined")
    assert codes(workflow(*values, {**meets, "join": join}, edges=ways, **declared)) == []
    found = codes(workflow(*values, {**meets, "join": "any"}, edges=ways, **declared))
    assert ("expression.unknown_name", "/definition/nodes/2/config/message") in found
    each = {**noop("m"), "join": join, "for_each": {"items": "joined | list"}}
    assert codes(workflow(*values, each, edges=ways, **declared)) == []


def test_a_join_that_nothing_leads_to_has_nothing_to_collect() -> None:
    found = only(workflow(noop("a", join={"mode": "all", "collect": "list"})))
    assert (found.code, found.pointer) == ("definition.bad_join", "/definition/nodes/0/join/collect")
