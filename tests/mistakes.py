"""Definitions without a mistake, and every mistake a definition can have: shared by the suites of validation.

A mistake is a function that spoils a definition in one place and returns the code and the pointer that have to be
reported, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from celeriac import Json

Definition = dict[str, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]
Mistake = Callable[[Definition, Draw], tuple[str, str]]

MISTAKES: dict[str, Mistake] = {}
"""By name. `test_problems.py` shows that they cover every code of docs/errors.md."""


def mistake(spoil: Mistake) -> Mistake:
    MISTAKES[spoil.__name__.replace("_", " ")] = spoil
    return spoil


CONFIGS: dict[str, Json] = {
    "set": {"values": {"total": "{{ order.total }}", "text": "plain"}},
    "transform": {"expression": "order.lines | length"},
    "if": {"condition": "order.total > vars.limit"},
    "log": {"message": "started at {{ execution.started_at }}", "level": "info"},
    "noop": {},
}


REPEATED = {"values": {"seen": "{{ item }} of {{ index }}", "text": "plain"}}
FOR_EACH: list[Definition] = [
    {"items": "order.lines"},
    {"items": "{{ order.lines }}", "as": "line", "concurrency": 2, "batch": 5, "until": "done > 2 or failed"},
    {"items": "[1, 2]", "on_item_error": "partition", "tolerate": {"percent": 12.5}},
    {"items": "[[1], vars.limit]", "on_item_error": "drop", "tolerate": {"count": 3}, "until": "results"},
]
LOOP: list[Definition] = [
    {"while": "index < 3", "initial": {"seen": "{{ vars.limit }}"}},
    {"until": "{{ item.seen }}", "max_iterations": 10, "collect": True},
]


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    """A definition without mistakes: random graphs, one in the other, written in an order that their edges follow."""
    nodes, edges = _graph(draw, "step", 7)
    read = {"limit": "{{ vars.limit }}", "all": _all_of(nodes)}
    return {
        "name": "sample",
        "definition": {
            "trigger": {"type": "webhook", "config": {"path": "/orders"}},
            "inputs": {"type": "object", "properties": {"order": {"type": "object"}}},
            "variables": {"limit": 100},
            "nodes": nodes,
            "edges": [*({"from": "trigger", "to": each} for each in _starts(nodes, edges)), *edges],
            "outputs": {"last": f"{{{{ nodes.{nodes[-1]['id']}.output }}}}", **read},
        },
    }


def _all_of(nodes: list[Definition]) -> list[Json]:
    """Expressions that read every node, so that none is computed for nothing."""
    return [f"{{{{ nodes.{each['id']}.output | default(none) }}}}" for each in nodes]


def _graph(
    draw: st.DrawFn, prefix: str, most: int, seen: str | None = None, *, depth: int = 0
) -> tuple[list[Definition], list[Definition]]:
    """Draw nodes and edges. `seen` is a node around them, for those that nothing leads to."""
    nodes: list[Definition] = []
    edges: list[Definition] = []
    for number in range(draw(st.integers(3 if depth == 0 else 1, most))):
        name = f"{prefix}_{number}"
        before = (
            draw(st.lists(st.integers(0, number - 1), min_size=1, max_size=2, unique=True)) if number else []
        )
        edges += [{"from": f"{prefix}_{each}", "to": name} for each in before]
        reads = f"{prefix}_{before[0]}" if before else seen
        nodes.append(_drawn(draw, name, reads, depth, before=bool(before)))
    return nodes, edges


def _drawn(draw: st.DrawFn, name: str, reads: str | None, depth: int, *, before: bool) -> Definition:
    """Draw a node, which may have bodies. What it reads runs `before` it, or may not have run."""
    if depth < 2 and draw(st.integers(0, 3)) == 0:
        return _scope(draw, name, reads, depth)
    kind = draw(st.sampled_from(sorted(CONFIGS)))
    node: Definition = {"id": name, "type": kind, "config": CONFIGS[kind]}
    if reads is not None and kind == "set":
        seen = f"nodes.{reads}.output" if before else f"nodes.{reads}.output | default(none)"
        node["config"] = {"values": {"seen": f"{{{{ {seen} }}}}", "text": "plain"}}
    if draw(st.integers(0, 5)) == 0:
        node |= _repetition(draw)
        node["config"] = REPEATED if kind == "set" else node["config"]
    if depth > 0 and draw(st.integers(0, 3)) == 0:
        message = f"undo {{{{ nodes.{name}.output }}}} {{{{ nodes.{reads or name}.output | default('') }}}}"
        node["compensate"] = {"type": "log", "config": {"message": message}, "retry": {"max_attempts": 3}}
    return node


def _scope(draw: st.DrawFn, name: str, reads: str | None, depth: int) -> Definition:
    def body(role: str, seen: str | None) -> Definition:
        nodes, edges = _graph(draw, f"{name}_{role}", 3, seen, depth=depth + 1)
        last = f"{{{{ nodes.{nodes[-1]['id']}.output }}}}"
        output = {"output": {"last": last, "all": _all_of(nodes)}}
        return {"nodes": nodes, "edges": edges, **(output if len(nodes) > 1 or draw(st.booleans()) else {})}

    node: Definition = {"id": name, "type": "scope", "body": body("body", reads)}
    if draw(st.booleans()):
        node |= _repetition(draw)
    if draw(st.booleans()):
        first = node["body"]["nodes"][0]["id"]
        told = {
            "id": f"{name}_told",
            "type": "log",
            "config": {"message": f"{{{{ nodes.{name}.error.code }}}}"},
        }
        node["catch"] = [
            {"on": ["http.*"], "except": ["http.client"], "body": {"nodes": [told]}},
            {"body": body("caught", first)},
        ]
        node["finally"] = body("finally", first)
    return node


def _repetition(draw: st.DrawFn) -> Definition:
    return draw(
        st.sampled_from([*({"for_each": each} for each in FOR_EACH), *({"loop": each} for each in LOOP)])
    )


def _starts(nodes: list[Definition], edges: list[Definition]) -> list[str]:
    followers = {each["to"] for each in edges}
    return [each["id"] for each in nodes if each["id"] not in followers]


def _places(nodes: list[Definition], where: str) -> list[tuple[Definition, str]]:
    """Every node with its pointer, those in bodies included."""
    found: list[tuple[Definition, str]] = []
    for index, each in enumerate(nodes):
        here = f"{where}/nodes/{index}"
        found.append((each, here))
        bodies = [(f"{here}/{key}", each[key]) for key in ("body", "finally") if key in each]
        bodies += [
            (f"{here}/catch/{number}/body", handler["body"])
            for number, handler in enumerate(each.get("catch", ()))
        ]
        for inner, body in bodies:
            found += _places(body["nodes"], inner)
    return found


def _node(document: Definition, draw: Draw) -> tuple[Definition, str]:
    """Return a node, in whatever body, and its pointer."""
    return draw(st.sampled_from(_places(document["definition"]["nodes"], "/definition")))  # type: ignore[no-any-return]


def _outer(document: Definition, draw: Draw) -> str:
    """Return the id of a node that stands in no body."""
    found: str = draw(st.sampled_from([each["id"] for each in document["definition"]["nodes"]]))
    return found


def _more(document: Definition, node: Definition, *, edge: bool = True) -> str:
    """Add a node that runs first."""
    body = document["definition"]
    body["nodes"].append(node)
    if edge:
        body["edges"].append({"from": "trigger", "to": node["id"]})
    return f"/definition/nodes/{len(body['nodes']) - 1}"


def _edge(document: Definition, edge: Definition) -> str:
    document["definition"]["edges"].append(edge)
    return f"/definition/edges/{len(document['definition']['edges']) - 1}"


def _box(document: Definition, *nodes: Definition, edges: Any = (), **rest: Any) -> str:
    """Add a scope; return its pointer."""
    body = {"nodes": list(nodes), "edges": list(edges)}
    return _more(document, {"id": "box", "type": "scope", "body": body, **rest})


def _noop(name: str, **rest: Any) -> Definition:
    return {"id": name, "type": "noop", **rest}


def _log(name: str, expression: str, **rest: Any) -> Definition:
    return {"id": name, "type": "log", "config": {"message": f"{{{{ {expression} }}}}"}, **rest}


def _reading(document: Definition, expression: str) -> str:
    where = _more(
        document, {"id": "reader", "type": "set", "config": {"values": {"a": f"{{{{ {expression} }}}}"}}}
    )
    return f"{where}/config/values/a"


# Shape.


@mistake
def a_name_that_is_no_text(document: Definition, draw: Draw) -> tuple[str, str]:
    document["name"] = draw(st.sampled_from([5, None, [], {}, True]))
    return "definition.wrong_type", "/name"


@mistake
def a_document_without_a_name(document: Definition, _draw: Draw) -> tuple[str, str]:
    del document["name"]
    return "definition.missing_key", ""


@mistake
def a_misspelt_name(document: Definition, _draw: Draw) -> tuple[str, str]:
    document["nmae"] = document.pop("name")
    return "definition.unknown_key", "/nmae"


@mistake
def nodes_beside_the_definition(document: Definition, _draw: Draw) -> tuple[str, str]:
    document["nodes"] = []
    return "definition.unknown_key", "/nodes"


@mistake
def an_unknown_key_of_a_node(document: Definition, draw: Draw) -> tuple[str, str]:
    node, where = _node(document, draw)
    node["a/key"] = 1
    return "definition.unknown_key", f"{where}/a~1key"


@mistake
def a_node_that_is_a_number(document: Definition, _draw: Draw) -> tuple[str, str]:
    document["definition"]["nodes"].append(5)
    return "definition.wrong_type", f"/definition/nodes/{len(document['definition']['nodes']) - 1}"


@mistake
def an_edge_without_an_end(document: Definition, _draw: Draw) -> tuple[str, str]:
    return "definition.missing_key", _edge(document, {"from": "step_0"})


@mistake
def a_retry_out_of_bounds(document: Definition, draw: Draw) -> tuple[str, str]:
    node, where = _node(document, draw)
    node["retry"] = {"max_attempts": draw(st.sampled_from([0, -1, 1001]))}
    return "definition.bad_value", f"{where}/retry/max_attempts"


@mistake
def a_duration_nobody_understands(document: Definition, draw: Draw) -> tuple[str, str]:
    node, where = _node(document, draw)
    place = draw(st.sampled_from(["attempt", "total", None]))
    node["timeout"] = {place: "soon"} if place else "soon"
    return "definition.bad_value", f"{where}/timeout" + (f"/{place}" if place else "")


@mistake
def a_trigger_beside_triggers(document: Definition, _draw: Draw) -> tuple[str, str]:
    document["definition"]["triggers"] = [{"id": "other", "type": "manual"}]
    return "definition.bad_value", "/definition/triggers"


@mistake
def an_unknown_trigger_type(document: Definition, _draw: Draw) -> tuple[str, str]:
    document["definition"]["trigger"] = {"type": "shedule", "config": {}}
    return "definition.unknown_trigger_type", "/definition/trigger/type"


@mistake
def an_unknown_node_type(document: Definition, draw: Draw) -> tuple[str, str]:
    node, where = _node(document, draw)
    node["type"] = draw(st.sampled_from(["sett", "set@9", "set@x", "frobnicate"]))
    return "definition.unknown_node_type", f"{where}/type"


@mistake
def a_config_value_that_does_not_fit(document: Definition, _draw: Draw) -> tuple[str, str]:
    where = _more(document, {"id": "more", "type": "log", "config": {"message": "x", "level": "loud"}})
    return "definition.bad_config", f"{where}/config/level"


@mistake
def a_misspelt_key_of_a_config(document: Definition, _draw: Draw) -> tuple[str, str]:
    where = _more(document, {"id": "more", "type": "log", "config": {"mesage": "x"}})
    return "definition.bad_config", f"{where}/config/mesage"


@mistake
def a_mistake_in_a_definition_inside_a_call(document: Definition, draw: Draw) -> tuple[str, str]:
    inside = {"nodes": [{"id": "more", "type": "log", "config": {"message": "{{ nodes.nobody.output }}"}}]}
    call = {"id": "more", "type": "workflow", "config": {"definition": inside}}
    if draw(st.booleans()):
        inside["nodes"][0] = {"id": "more", "type": "nonsense"}
        where = _more(document, call)
        return "definition.unknown_node_type", f"{where}/config/definition/nodes/0/type"
    where = _more(document, call)
    return "expression.unknown_node", f"{where}/config/definition/nodes/0/config/message"


@mistake
def a_definition_inside_a_call_without_nodes(document: Definition, _draw: Draw) -> tuple[str, str]:
    where = _more(document, {"id": "more", "type": "workflow", "config": {"definition": {"edges": []}}})
    return "definition.missing_key", f"{where}/config/definition"


@mistake
def a_call_of_two_things(document: Definition, _draw: Draw) -> tuple[str, str]:
    config = {"workflow": "other", "definition": {"nodes": [{"id": "more", "type": "noop"}]}}
    where = _more(document, {"id": "more", "type": "workflow", "config": config})
    return "definition.bad_config", f"{where}/config"


@mistake
def a_key_of_a_call_that_is_waited_for(document: Definition, _draw: Draw) -> tuple[str, str]:
    where = _more(document, {"id": "more", "type": "workflow", "config": {"workflow": "other", "key": "k"}})
    return "definition.bad_config", f"{where}/config"


@mistake
def a_config_that_only_its_model_refuses(document: Definition, _draw: Draw) -> tuple[str, str]:
    where = _more(document, {"id": "more", "type": "wait", "config": {"until": "2031-02-30T00:00:00Z"}})
    return "definition.bad_config", f"{where}/config/until"


@mistake
def a_webhook_path_without_a_slash(document: Definition, _draw: Draw) -> tuple[str, str]:
    document["definition"]["trigger"]["config"]["path"] = "orders"
    return "definition.bad_config", "/definition/trigger/config/path"


@mistake
def a_schedule_that_never_fires(document: Definition, draw: Draw) -> tuple[str, str]:
    key, value = draw(
        st.sampled_from(
            [("cron", "61 * * * *"), ("cron", "* * *"), ("every", 0.5), ("every", "1ms"), ("every", "x")]
        )
    )
    document["definition"]["trigger"] = {"type": "schedule", "config": {key: value}}
    return "definition.bad_config", f"/definition/trigger/config/{key}"


@mistake
def a_schedule_in_no_time_zone(document: Definition, _draw: Draw) -> tuple[str, str]:
    config = {"cron": "0 9 * * *", "timezone": "Europe/Berln"}
    document["definition"]["trigger"] = {"type": "schedule", "config": config}
    return "definition.bad_config", "/definition/trigger/config/timezone"


@mistake
def a_schedule_with_two_clocks(document: Definition, _draw: Draw) -> tuple[str, str]:
    document["definition"]["trigger"] = {"type": "schedule", "config": {"cron": "0 9 * * *", "every": "1h"}}
    return "definition.bad_config", "/definition/trigger/config"


@mistake
def inputs_that_are_no_schema(document: Definition, draw: Draw) -> tuple[str, str]:
    inputs = draw(st.sampled_from([{"type": "text"}, {"minLength": "3"}]))
    document["definition"]["inputs"] |= inputs
    return "definition.bad_inputs", f"/definition/inputs/{next(iter(inputs))}"


@mistake
def inputs_that_refer_elsewhere(document: Definition, _draw: Draw) -> tuple[str, str]:
    document["definition"]["inputs"]["$ref"] = "https://example.com/schema.json"
    return "definition.bad_inputs", "/definition/inputs"


# Names and edges.


@mistake
def a_bad_id(document: Definition, draw: Draw) -> tuple[str, str]:
    name = draw(st.sampled_from(["1st", "a-b", "", "a b", "ä", "x" * 65]))
    return "definition.bad_id", f"{_more(document, {'id': name, 'type': 'noop'})}/id"


@mistake
def a_bad_name_of_a_variable(document: Definition, _draw: Draw) -> tuple[str, str]:
    document["definition"]["variables"]["a-b"] = 1
    return "definition.bad_id", "/definition/variables/a-b"


@mistake
def a_reserved_id(document: Definition, draw: Draw) -> tuple[str, str]:
    name = draw(st.sampled_from(["nodes", "vars", "item", "index", "execution", "env"]))
    return "definition.reserved_id", f"{_more(document, {'id': name, 'type': 'noop'})}/id"


@mistake
def a_node_called_trigger(document: Definition, _draw: Draw) -> tuple[str, str]:
    return "definition.reserved_id", f"{_more(document, {'id': 'trigger', 'type': 'noop'}, edge=False)}/id"


@mistake
def a_duplicate_id(document: Definition, _draw: Draw) -> tuple[str, str]:
    return "definition.duplicate_id", f"{_more(document, {'id': 'step_0', 'type': 'noop'}, edge=False)}/id"


@mistake
def two_triggers_without_an_id(document: Definition, _draw: Draw) -> tuple[str, str]:
    body = document["definition"]
    body["triggers"] = [body.pop("trigger"), {"type": "manual"}]
    return "definition.duplicate_id", "/definition/triggers/1"


@mistake
def an_edge_to_an_unknown_node(document: Definition, draw: Draw) -> tuple[str, str]:
    name = draw(st.sampled_from(["stepp_1", "elsewhere"]))
    return "definition.unknown_edge_end", f"{_edge(document, {'from': 'step_0', 'to': name})}/to"


@mistake
def an_edge_from_an_unknown_node(document: Definition, draw: Draw) -> tuple[str, str]:
    name = draw(st.sampled_from(["stepp_0", "tirgger", "elsewhere"]))
    return "definition.unknown_edge_end", f"{_edge(document, {'from': name, 'to': 'step_2'})}/from"


@mistake
def an_edge_to_the_trigger(document: Definition, _draw: Draw) -> tuple[str, str]:
    return "definition.edge_to_trigger", f"{_edge(document, {'from': 'step_0', 'to': 'trigger'})}/to"


@mistake
def a_duplicate_edge(document: Definition, draw: Draw) -> tuple[str, str]:
    edge = draw(st.sampled_from(document["definition"]["edges"]))
    return "definition.duplicate_edge", _edge(document, {**edge, "on": "success"})


@mistake
def two_edges_for_the_same_failure(document: Definition, _draw: Draw) -> tuple[str, str]:
    _edge(document, {"from": "step_0", "to": "step_1", "on": "error"})
    return "definition.duplicate_edge", _edge(document, {"from": "step_0", "to": "step_1", "port": "error"})


@mistake
def a_port_nobody_has(document: Definition, _draw: Draw) -> tuple[str, str]:
    _more(document, {"id": "more", "type": "if", "config": {"condition": "order.total > 1"}})
    edge = _edge(document, {"from": "more", "to": "step_0", "port": "ture"})
    return "definition.unknown_port", f"{edge}/port"


@mistake
def a_failure_of_the_trigger(document: Definition, draw: Draw) -> tuple[str, str]:
    key, value = draw(st.sampled_from([("port", "error"), ("on", "error"), ("on", "timeout")]))
    return (
        "definition.unknown_port",
        f"{_edge(document, {'from': 'trigger', 'to': 'step_1', key: value})}/{key}",
    )


@mistake
def a_port_and_a_kind_that_exclude_each_other(document: Definition, draw: Draw) -> tuple[str, str]:
    _more(document, {"id": "more", "type": "if", "config": {"condition": "order.total > 1"}})
    port, on = draw(
        st.sampled_from([("true", "error"), ("error", "success"), ("true", "any"), ("error", "timeout")])
    )
    edge = _edge(document, {"from": "more", "to": "step_0", "port": port, "on": on})
    return "definition.edge_contradiction", f"{edge}/on"


@mistake
def a_port_given_twice(document: Definition, draw: Draw) -> tuple[str, str]:
    name = draw(st.sampled_from(["big", "error"]))
    cases = [{"name": "big", "when": True}, {"name": name, "when": True}]
    where = _more(document, {"id": "more", "type": "switch", "config": {"cases": cases}})
    return "definition.duplicate_port", f"{where}/config"


@mistake
def a_loop_of_one_node(document: Definition, draw: Draw) -> tuple[str, str]:
    name = _outer(document, draw)
    return "definition.self_loop", _edge(document, {"from": name, "to": name})


@mistake
def a_cycle(document: Definition, draw: Draw) -> tuple[str, str]:
    edges = [each for each in document["definition"]["edges"] if each["from"] != "trigger"]
    edge = draw(st.sampled_from(edges))
    return "definition.cycle", _edge(document, {"from": edge["to"], "to": edge["from"]})


@mistake
def a_node_nothing_leads_to(document: Definition, _draw: Draw) -> tuple[str, str]:
    return "definition.unreachable_node", _more(document, {"id": "island", "type": "noop"}, edge=False)


@mistake
def a_join_that_waits_for_too_many(document: Definition, draw: Draw) -> tuple[str, str]:
    node, where = _node(document, draw)
    node["join"] = {"mode": "n", "count": 9}
    return "definition.bad_join", f"{where}/join/count"


@mistake
def a_join_that_waits_for_nobody_knows_how_many(document: Definition, draw: Draw) -> tuple[str, str]:
    node, where = _node(document, draw)
    node["join"] = {"mode": "n"}
    return "definition.bad_join", f"{where}/join"


@mistake
def a_join_of_all_with_a_count(document: Definition, draw: Draw) -> tuple[str, str]:
    node, where = _node(document, draw)
    node["join"] = {"mode": draw(st.sampled_from(["all", "any"])), "count": 1}
    return "definition.bad_join", f"{where}/join/count"


@mistake
def a_scope_that_waits_for_a_worker(document: Definition, draw: Draw) -> tuple[str, str]:
    key = draw(st.sampled_from(["queue", "heartbeat"]))
    where = _box(document, _noop("inner"), timeout={key: "1s"})
    return "definition.bad_timeout", f"{where}/timeout/{key}"


@mistake
def a_heartbeat_after_the_end(document: Definition, draw: Draw) -> tuple[str, str]:
    timeout = {"attempt": "5s", "heartbeat": draw(st.sampled_from(["5s", 6]))}
    where = _more(document, _noop("more", timeout=timeout))
    return "definition.heartbeat_unused", f"{where}/timeout/heartbeat"


@mistake
def a_milestone_that_is_not_there(document: Definition, _draw: Draw) -> tuple[str, str]:
    where = _more(document, _noop("more", enabled_while={"not_ended": "nowhere"}))
    return "definition.bad_milestone", f"{where}/enabled_while/not_ended"


@mistake
def a_milestone_that_has_always_passed(document: Definition, _draw: Draw) -> tuple[str, str]:
    where = _more(document, _noop("more", enabled_while={"not_ended": "more"}))
    return "definition.bad_milestone", f"{where}/enabled_while/not_ended"


@mistake
def a_form_that_is_no_schema(document: Definition, draw: Draw) -> tuple[str, str]:
    form, place = draw(
        st.sampled_from(
            [
                ({"type": "objct"}, "/type"),
                ({"properties": {"x": {"minLength": -1}}}, "/properties/x/minLength"),
            ]
        )
    )
    where = _more(document, {"id": "asks", "type": "approval", "config": {"title": "Go on?", "form": form}})
    return "definition.bad_schema", f"{where}/config/form{place}"


@mistake
def a_branch_for_failures_without_an_edge(document: Definition, draw: Draw) -> tuple[str, str]:
    node, where = _node(document, draw)
    node["on_error"] = "branch"
    return "definition.missing_error_edge", f"{where}/on_error"


@mistake
def an_edge_for_failures_that_are_not_let_through(document: Definition, draw: Draw) -> tuple[str, str]:
    document["definition"]["nodes"][0]["on_error"] = draw(
        st.sampled_from(["fail", "continue", {"default": 1}])
    )
    _edge(
        document,
        {"from": "step_0", "to": "step_1", **draw(st.sampled_from([{"on": "error"}, {"port": "error"}]))},
    )
    return "definition.on_error_unused", "/definition/nodes/0/on_error"


# Scopes, maps and loops.


@mistake
def a_scope_without_a_body(document: Definition, _draw: Draw) -> tuple[str, str]:
    return "definition.missing_key", _more(document, {"id": "box", "type": "scope"})


@mistake
def a_scope_with_a_config(document: Definition, _draw: Draw) -> tuple[str, str]:
    return "definition.bad_config", f"{_box(document, _noop('a'), config={})}/config"


@mistake
def a_body_of_a_node_that_is_no_scope(document: Definition, draw: Draw) -> tuple[str, str]:
    key = draw(st.sampled_from(["body", "finally"]))
    where = _more(document, _noop("more", **{key: {"nodes": [_noop("a")]}}))
    return "definition.bad_value", f"{where}/{key}"


@mistake
def a_body_in_a_misspelt_scope(document: Definition, _draw: Draw) -> tuple[str, str]:
    body = {"nodes": [_noop("a")]}
    return (
        "definition.unknown_node_type",
        f"{_more(document, {'id': 'b', 'type': 'scpoe', 'body': body})}/type",
    )


@mistake
def a_body_with_nothing_in_it(document: Definition, _draw: Draw) -> tuple[str, str]:
    return "definition.bad_value", f"{_box(document)}/body/nodes"


@mistake
def nodes_beside_a_body(document: Definition, _draw: Draw) -> tuple[str, str]:
    return "definition.unknown_key", f"{_box(document, _noop('a'), nodes=[])}/nodes"


@mistake
def a_map_and_a_loop_in_one(document: Definition, draw: Draw) -> tuple[str, str]:
    node = _noop("more", for_each=draw(st.sampled_from(FOR_EACH)), loop=draw(st.sampled_from(LOOP)))
    return "definition.bad_value", f"{_more(document, node)}/loop"


@mistake
def a_map_with_a_value_out_of_bounds(document: Definition, draw: Draw) -> tuple[str, str]:
    key, value = draw(
        st.sampled_from([("concurrency", 0), ("batch", -1), ("on_item_error", "skip"), ("until", "")])
    )
    where = _more(document, _noop("more", for_each={"items": "order.lines", key: value}))
    return "definition.bad_value", f"{where}/for_each/{key}"


@mistake
def a_map_without_items(document: Definition, _draw: Draw) -> tuple[str, str]:
    return "definition.missing_key", f"{_more(document, _noop('more', for_each={'as': 'line'}))}/for_each"


@mistake
def a_map_that_tolerates_in_two_ways(document: Definition, draw: Draw) -> tuple[str, str]:
    tolerate = draw(st.sampled_from([{}, {"count": 1, "percent": 1}]))
    where = _more(document, _noop("more", for_each={"items": "order.lines", "tolerate": tolerate}))
    return "definition.bad_value", f"{where}/for_each/tolerate"


@mistake
def a_loop_with_two_ends_or_none(document: Definition, draw: Draw) -> tuple[str, str]:
    loop = draw(st.sampled_from([{}, {"while": "index < 3", "until": "index > 3"}, {"collect": True}]))
    return "definition.bad_value", f"{_more(document, _noop('more', loop=loop))}/loop"


@mistake
def a_loop_that_is_no_object(document: Definition, draw: Draw) -> tuple[str, str]:
    where = _more(document, _noop("more", loop=draw(st.sampled_from([5, "index < 3", [], None]))))
    return "definition.wrong_type", f"{where}/loop"


@mistake
def a_loop_that_takes_too_long(document: Definition, draw: Draw) -> tuple[str, str]:
    loop = {"until": "index > 3", "max_iterations": draw(st.sampled_from([0, 10_001]))}
    return "definition.bad_value", f"{_more(document, _noop('more', loop=loop))}/loop/max_iterations"


@mistake
def a_reserved_name_of_an_item(document: Definition, draw: Draw) -> tuple[str, str]:
    name = draw(st.sampled_from(["nodes", "vars", "item", "index", "execution", "env", "trigger"]))
    where = _more(document, _noop("more", for_each={"items": "order.lines", "as": name}))
    return "definition.reserved_id", f"{where}/for_each/as"


@mistake
def a_bad_name_of_an_item(document: Definition, _draw: Draw) -> tuple[str, str]:
    where = _more(document, _noop("more", for_each={"items": "order.lines", "as": "a line"}))
    return "definition.bad_id", f"{where}/for_each/as"


@mistake
def an_id_that_stands_in_a_body_already(document: Definition, draw: Draw) -> tuple[str, str]:
    where = _box(document, _noop("a"), _noop(draw(st.sampled_from(["a", "box", "step_0"]))))
    return "definition.duplicate_id", f"{where}/body/nodes/1/id"


@mistake
def an_edge_that_does_not_stand_with_its_nodes(document: Definition, draw: Draw) -> tuple[str, str]:
    where = _box(document, _noop("a"), _noop("b"), edges=[{"from": "a", "to": "b"}])
    inner = document["definition"]["nodes"][-1]["body"]["edges"]
    source, target, key = draw(
        st.sampled_from(
            [
                ("a", "step_1", "/from"),
                ("step_1", "a", "/to"),
                ("a", "b", ""),
                ("in", "step_1", "/to"),
                ("step_1", "in", "/from"),
                ("step_0", "step_1", "in"),
            ]
        )
    )
    if "in" not in (source, target, key):
        return "definition.edge_between_scopes", _edge(document, {"from": source, "to": target}) + key
    inner.append({"from": source.replace("in", "b"), "to": target.replace("in", "b")})
    return "definition.edge_between_scopes", f"{where}/body/edges/1{key.replace('in', '')}"


@mistake
def an_edge_from_the_trigger_into_a_body(document: Definition, _draw: Draw) -> tuple[str, str]:
    where = _box(document, _noop("a"), edges=[{"from": "trigger", "to": "a"}])
    return "definition.unknown_edge_end", f"{where}/body/edges/0/from"


@mistake
def a_misspelt_end_in_a_body(document: Definition, _draw: Draw) -> tuple[str, str]:
    edges = [{"from": "first", "to": "secnd"}]
    where = _box(document, _noop("first"), _log("second", "nodes.first.output"), edges=edges)
    return "definition.unknown_edge_end", f"{where}/body/edges/0/to"


@mistake
def a_circle_with_two_entries(document: Definition, _draw: Draw) -> tuple[str, str]:
    edges = [{"from": "s", "to": "a"}, {"from": "s", "to": "b"}, {"from": "a", "to": "b"}]
    edges.append({"from": "b", "to": "a", "when": "order.total > 1"})
    where = _box(document, _noop("s"), _noop("a"), _noop("b"), edges=edges)
    return "definition.circle_entries", f"{where}/body/edges/1"


@mistake
def a_bound_of_what_leads_on(document: Definition, _draw: Draw) -> tuple[str, str]:
    edges = [{"from": "a", "to": "b", "max_iterations": 3}]
    where = _box(document, _noop("a"), _noop("b"), edges=edges)
    return "definition.not_in_circle", f"{where}/body/edges/0/max_iterations"


@mistake
def a_compensation_in_a_circle(document: Definition, _draw: Draw) -> tuple[str, str]:
    edges = [{"from": "a", "to": "a", "when": "order.total > 1"}]
    where = _box(document, _noop("a", compensate={"type": "noop"}), edges=edges)
    return "definition.compensate_repeated", f"{where}/body/nodes/0/compensate"


@mistake
def a_cycle_in_a_body(document: Definition, _draw: Draw) -> tuple[str, str]:
    edges = [{"from": "a", "to": "b"}, {"from": "b", "to": "a"}]
    return "definition.cycle", f"{_box(document, _noop('a'), _noop('b'), edges=edges)}/body/edges/1"


@mistake
def a_port_of_what_is_repeated(document: Definition, draw: Draw) -> tuple[str, str]:
    node = {"id": "more", "type": "if", "config": {"condition": "order.total > 1"}, **_repetition(draw)}  # type: ignore[arg-type]
    _more(document, node)
    edge = _edge(document, {"from": "more", "to": "step_0", "port": "true"})
    return "definition.unknown_port", f"{edge}/port"


@mistake
def a_compensation_in_no_scope(document: Definition, _draw: Draw) -> tuple[str, str]:
    where = _more(document, _noop("more", compensate={"type": "noop"}))
    return "definition.compensate_without_scope", f"{where}/compensate"


@mistake
def a_compensation_by_a_scope(document: Definition, _draw: Draw) -> tuple[str, str]:
    where = _box(document, _noop("a", compensate={"type": "scope"}))
    return "definition.unknown_node_type", f"{where}/body/nodes/0/compensate/type"


@mistake
def a_compensation_whose_config_does_not_fit(document: Definition, draw: Draw) -> tuple[str, str]:
    kind, config, key = draw(
        st.sampled_from(
            [
                ("log", {"message": "x", "level": "loud"}, "level"),
                ("wait", {"until": "2031-02-30T00:00:00Z"}, "until"),
            ]
        )
    )
    where = _box(document, _noop("a", compensate={"type": kind, "config": config}))
    return "definition.bad_config", f"{where}/body/nodes/0/compensate/config/{key}"


# Expressions.


@mistake
def an_expression_that_ends_too_early(document: Definition, draw: Draw) -> tuple[str, str]:
    place = draw(st.sampled_from(["config", "when", "outputs", "variables", "condition"]))
    body = document["definition"]
    if place == "config":
        return "expression.syntax", _reading(document, "1 +")
    if place == "when":
        return (
            "expression.syntax",
            f"{_edge(document, {'from': 'step_0', 'to': 'step_2', 'when': '1 +'})}/when",
        )
    if place == "condition":
        where = _more(document, {"id": "more", "type": "if", "config": {"condition": "1 +"}})
        return "expression.syntax", f"{where}/config/condition"
    body[place] = {"limit": "{{ 1 +"}
    return "expression.syntax", f"/definition/{place}/limit"


@mistake
def an_unknown_filter(document: Definition, _draw: Draw) -> tuple[str, str]:
    return "expression.unknown_filter", _reading(document, "order.name | uper")


@mistake
def a_node_that_does_not_exist(document: Definition, _draw: Draw) -> tuple[str, str]:
    return "expression.unknown_node", _reading(document, "nodes.stepp_0.output")


@mistake
def a_node_that_cannot_have_run_before(document: Definition, draw: Draw) -> tuple[str, str]:
    return "expression.not_before", _reading(document, f"nodes.{_outer(document, draw)}.output")


@mistake
def a_node_that_reads_itself(document: Definition, _draw: Draw) -> tuple[str, str]:
    return "expression.not_before", _reading(document, "nodes.reader.output")


@mistake
def a_first_edge_that_reads_a_node(document: Definition, _draw: Draw) -> tuple[str, str]:
    edge = _edge(document, {"from": "trigger", "to": "step_1", "when": "nodes.step_0.output"})
    return "expression.not_before", f"{edge}/when"


@mistake
def a_variable_that_reads_a_node(document: Definition, _draw: Draw) -> tuple[str, str]:
    document["definition"]["variables"]["late"] = "{{ nodes.step_0.output }}"
    return "expression.not_before", "/definition/variables/late"


@mistake
def a_variable_made_from_variables(document: Definition, _draw: Draw) -> tuple[str, str]:
    document["definition"]["variables"]["late"] = "{{ vars.limit }}"
    return "expression.unavailable_name", "/definition/variables/late"


@mistake
def an_unknown_variable(document: Definition, _draw: Draw) -> tuple[str, str]:
    return "expression.unknown_variable", _reading(document, "vars.limti")


@mistake
def an_unknown_member(document: Definition, draw: Draw) -> tuple[str, str]:
    path = draw(st.sampled_from(["execution.ids", "trigger.body", "trigger[0]"]))
    return "expression.unknown_key", _reading(document, path)


@mistake
def an_unknown_member_of_a_node(document: Definition, _draw: Draw) -> tuple[str, str]:
    edge = _edge(document, {"from": "step_0", "to": "step_2", "when": "nodes.step_0.result == 1"})
    return "expression.unknown_key", f"{edge}/when"


@mistake
def a_key_the_payload_does_not_have(document: Definition, _draw: Draw) -> tuple[str, str]:
    return "expression.unknown_name", _reading(document, "ordr.total")


@mistake
def a_misspelt_root(document: Definition, draw: Draw) -> tuple[str, str]:
    del document["definition"]["inputs"]
    path = draw(
        st.sampled_from(
            ["node.step_0.output", "Nodes.x", "var.x", "ndoes.step_0", "vras.limit", "triger.payload"]
        )
    )
    return "expression.unknown_name", _reading(document, path)


@mistake
def a_name_that_has_no_value_here(document: Definition, draw: Draw) -> tuple[str, str]:
    path = draw(st.sampled_from(["item.x", "index", "env.HOME"]))
    return "expression.unavailable_name", _reading(document, path)


@mistake
def a_node_in_a_body_that_is_read_from_outside(document: Definition, draw: Draw) -> tuple[str, str]:
    where = _box(document, _noop("a"))
    place = draw(st.sampled_from(["config", "when", "outputs", "items", "until", "catch"]))
    code, reads = "expression.inside_scope", "nodes.a.output"
    box = document["definition"]["nodes"][-1]
    if place == "config":
        return code, _reading(document, reads)
    if place == "when":
        return code, f"{_edge(document, {'from': 'box', 'to': 'step_1', 'when': reads})}/when"
    if place == "outputs":
        document["definition"]["outputs"] = f"{{{{ {reads} }}}}"
        return code, "/definition/outputs"
    if place == "items":
        box["for_each"] = {"items": reads}
        return code, f"{where}/for_each/items"
    if place == "until":
        box["loop"] = {"until": reads}
        return code, f"{where}/loop/until"
    box["finally"] = {"nodes": [_log("b", "nodes.c.output")]}
    box["catch"] = [{"body": {"nodes": [_noop("c")]}}]
    return code, f"{where}/finally/nodes/0/config/message"


@mistake
def a_scope_that_is_read_from_inside(document: Definition, draw: Draw) -> tuple[str, str]:
    reads, rest = draw(
        st.sampled_from(
            [
                ("nodes.box.output", {}),
                ("nodes.box.error.code", {}),
                ("nodes.box.output", {"loop": {"until": "index > 3"}}),
            ]
        )
    )
    where = _box(document, _log("a", reads), **rest)
    return "expression.not_before", f"{where}/body/nodes/0/config/message"


@mistake
def a_scope_whose_output_is_read_where_it_has_failed(document: Definition, _draw: Draw) -> tuple[str, str]:
    caught = {"nodes": [_log("b", "nodes.box.output")]}
    where = _box(document, _noop("a"), catch=[{"body": caught}])
    return "expression.not_before", f"{where}/catch/0/body/nodes/0/config/message"


@mistake
def a_node_that_nothing_leads_from_to_the_scope(document: Definition, draw: Draw) -> tuple[str, str]:
    where = _box(document, _log("a", f"nodes.{_outer(document, draw)}.output"))
    return "expression.not_before", f"{where}/body/nodes/0/config/message"


@mistake
def a_node_of_the_same_body_that_does_not_come_before(document: Definition, _draw: Draw) -> tuple[str, str]:
    where = _box(document, _noop("a"), _log("b", "nodes.a.output"))
    return "expression.not_before", f"{where}/body/nodes/1/config/message"


@mistake
def an_output_of_a_body_that_reads_no_node(document: Definition, _draw: Draw) -> tuple[str, str]:
    where = _box(document, _noop("first"))
    document["definition"]["nodes"][-1]["body"]["output"] = ["{{ nodes.fisrt.output }}"]
    return "expression.unknown_node", f"{where}/body/output/0"


@mistake
def a_compensation_that_reads_what_comes_later(document: Definition, _draw: Draw) -> tuple[str, str]:
    undo = {"type": "log", "config": {"message": "{{ nodes.a.output }} {{ nodes.b.output }}"}}
    where = _box(document, _noop("a", compensate=undo), _noop("b"), edges=[{"from": "a", "to": "b"}])
    return "expression.not_before", f"{where}/body/nodes/0/compensate/config/message"


@mistake
def an_item_where_nothing_is_repeated(document: Definition, draw: Draw) -> tuple[str, str]:
    key, repetition = draw(
        st.sampled_from(
            [
                ("for_each/items", {"items": "item"}),
                ("for_each/until", {"items": "order.lines", "until": "index > 3"}),
                ("for_each/items", {"items": "line", "as": "line"}),
                ("loop/initial", {"until": "index > 3", "initial": "{{ item }}"}),
            ]
        )
    )
    where = _box(document, _noop("a"), **{key.partition("/")[0]: repetition})
    return "expression.unavailable_name", f"{where}/{key}"


@mistake
def a_name_of_an_item_outside_of_its_map(document: Definition, _draw: Draw) -> tuple[str, str]:
    _box(document, _log("a", "line"), for_each={"items": "order.lines", "as": "line"})
    return "expression.unavailable_name", _reading(document, "line.price")


@mistake
def a_misspelt_name_of_an_item(document: Definition, draw: Draw) -> tuple[str, str]:
    key, name = draw(st.sampled_from([("a", "lien"), ("until", "resulst")]))
    node = _log("a", "lien" if key == "a" else "line")
    rest = {} if key == "a" else {"until": name}
    where = _box(document, node, for_each={"items": "order.lines", "as": "line", **rest})
    return (
        "expression.unknown_name",
        f"{where}/body/nodes/0/config/message" if key == "a" else f"{where}/for_each/until",
    )


# What would happen as it runs.


def _chosen(name: str, condition: Json) -> Definition:
    return {"id": name, "type": "if", "config": {"condition": condition}}


@mistake
def a_join_of_two_ways_that_exclude_each_other(document: Definition, _draw: Draw) -> tuple[str, str]:
    _more(document, _chosen("more", "order.total > 1"))
    where = _more(document, _noop("both", join={"mode": "n", "count": 2}), edge=False)
    _edge(document, {"from": "more", "to": "both", "port": "true"})
    _edge(document, {"from": "more", "to": "both", "port": "false"})
    return "flow.never_runs", f"{where}/join/count"


@mistake
def a_node_after_the_success_of_one_that_fails(document: Definition, _draw: Draw) -> tuple[str, str]:
    _more(document, {"id": "more", "type": "fail", "config": {"message": "No."}})
    where = _more(document, _noop("after"), edge=False)
    _edge(document, {"from": "more", "to": "after"})
    return "flow.never_runs", where


@mistake
def conditions_that_contradict_each_other(document: Definition, draw: Draw) -> tuple[str, str]:
    first, second = draw(
        st.sampled_from(
            [
                ("order.total > 5", "order.total < 5"),
                ("order.kind == 'a'", "order.kind in ['b', 'c']"),
                ("order.gift is defined", "order.gift is not defined"),
                ("not (order.total > 5 or order.total < 3)", "order.total == 7"),
                ("order.paid", "not order.paid"),
                ("2 <= order.total <= 4", "{{ order.total == 5 and order.paid }}"),
            ]
        )
    )
    _more(document, _noop("more"))
    _more(document, _noop("further"), edge=False)
    _more(document, _noop("last"), edge=False)
    _edge(document, {"from": "more", "to": "further", "when": first})
    return "flow.contradiction", f"{_edge(document, {'from': 'further', 'to': 'last', 'when': second})}/when"


@mistake
def a_port_that_is_never_taken(document: Definition, _draw: Draw) -> tuple[str, str]:
    _more(document, _chosen("more", "order.total > 5"))
    _more(document, _chosen("further", "order.total < 3"), edge=False)
    _more(document, _noop("last"), edge=False)
    _edge(document, {"from": "more", "to": "further", "port": "true"})
    return "flow.contradiction", _edge(document, {"from": "further", "to": "last", "port": "true"})


@mistake
def a_reading_of_a_node_that_is_skipped_at_times(document: Definition, _draw: Draw) -> tuple[str, str]:
    _more(document, _chosen("more", "order.total > 5"))
    _more(document, _noop("chosen"), edge=False)
    where = _more(document, _log("last", "nodes.chosen.output"), edge=False)
    _edge(document, {"from": "more", "to": "chosen", "port": "true"})
    _edge(document, {"from": "chosen", "to": "last"})
    _edge(document, {"from": "more", "to": "last", "port": "false"})
    return "flow.maybe_absent", f"{where}/config/message"


@mistake
def a_reading_of_a_node_that_nobody_waits_for(document: Definition, _draw: Draw) -> tuple[str, str]:
    _more(document, _noop("quick"))
    _more(document, _noop("slow"))
    where = _more(document, _log("last", "nodes.slow.output", join="any"), edge=False)
    _edge(document, {"from": "quick", "to": "last"})
    _edge(document, {"from": "slow", "to": "last"})
    return "flow.maybe_absent", f"{where}/config/message"


@mistake
def a_reading_in_a_catch_of_a_node_that_may_have_failed(document: Definition, _draw: Draw) -> tuple[str, str]:
    where = _box(document, _noop("in_it"), catch=[{"body": {"nodes": [_log("told", "nodes.in_it.output")]}}])
    return "flow.maybe_absent", f"{where}/catch/0/body/nodes/0/config/message"


@mistake
def a_variable_that_nobody_reads(document: Definition, _draw: Draw) -> tuple[str, str]:
    document["definition"]["variables"]["more"] = 1
    return "flow.unused_variable", "/definition/variables/more"


@mistake
def a_value_that_nobody_reads(document: Definition, _draw: Draw) -> tuple[str, str]:
    node = {"id": "more", "type": "transform", "config": {"expression": "1"}}
    return "flow.unused_output", _more(document, node)


def _made(document: Definition, values: Definition, reads: str) -> str:
    """Add a node that makes an object, and one that reads it."""
    _more(document, {"id": "more", "type": "set", "config": {"values": values}})
    where = _more(document, _log("last", reads), edge=False)
    _edge(document, {"from": "more", "to": "last"})
    return f"{where}/config/message"


@mistake
def a_key_that_no_output_has(document: Definition, draw: Draw) -> tuple[str, str]:
    path = draw(st.sampled_from(["total", "tag.name", "deep.b", "deep.a.c"]))
    values = {"sum": "{{ order.total }}", "tag": "x", "deep": {"a": 1}}
    return "type.mismatch", _made(document, values, f"nodes.more.output.{path}")


@mistake
def a_computation_with_an_object(document: Definition, draw: Draw) -> tuple[str, str]:
    operation = draw(st.sampled_from(["+ 1", "* 2", "- 1", "/ 2", "// 2", "% 2"]))
    return "type.mismatch", _made(document, {"sum": 1}, f"nodes.more.output {operation}")


@mistake
def a_map_over_what_is_no_list(document: Definition, draw: Draw) -> tuple[str, str]:
    items = draw(st.sampled_from(["5", "'abc'", "{'a': 1}", "{{ vars.limit }}", "vars.limit"]))
    return "type.mismatch", f"{_more(document, _noop('more', for_each={'items': items}))}/for_each/items"


@mistake
def a_condition_that_is_no_boolean(document: Definition, draw: Draw) -> tuple[str, str]:
    condition = draw(st.sampled_from([5, "order.total - 1", "vars.limit", "'yes'", "{{ [1] }}"]))
    return "type.mismatch", f"{_more(document, _chosen('more', condition))}/config/condition"


@mistake
def a_condition_of_an_edge_that_is_no_boolean(document: Definition, _draw: Draw) -> tuple[str, str]:
    _more(document, _noop("more"))
    _more(document, _noop("last"), edge=False)
    return "type.mismatch", f"{_edge(document, {'from': 'more', 'to': 'last', 'when': 'vars.limit'})}/when"
