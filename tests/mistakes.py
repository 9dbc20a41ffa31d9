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


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    """A definition without mistakes: a random graph, written in an order that its edges follow."""
    size = draw(st.integers(3, 7))
    nodes: list[Definition] = []
    edges: list[Definition] = []
    for number in range(size):
        name = f"step_{number}"
        kind = draw(st.sampled_from(sorted(CONFIGS)))
        before = (
            draw(st.lists(st.integers(0, number - 1), min_size=1, max_size=2, unique=True)) if number else []
        )
        config = CONFIGS[kind]
        if before and kind == "set":
            config = {"values": {"seen": f"{{{{ nodes.step_{before[0]}.output }}}}", "text": "plain"}}
        nodes.append({"id": name, "type": kind, "config": config})
        edges += [{"from": f"step_{each}", "to": name} for each in before] or [
            {"from": "trigger", "to": name}
        ]
    return {
        "name": "sample",
        "definition": {
            "trigger": {"type": "webhook", "config": {"path": "/orders"}},
            "inputs": {"type": "object", "properties": {"order": {"type": "object"}}},
            "variables": {"limit": 100},
            "nodes": nodes,
            "edges": edges,
            "outputs": {"last": f"{{{{ nodes.step_{size - 1}.output }}}}"},
        },
    }


def _node(document: Definition, draw: Draw) -> tuple[Definition, str]:
    nodes = document["definition"]["nodes"]
    index = draw(st.integers(0, len(nodes) - 1))
    return nodes[index], f"/definition/nodes/{index}"


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
    node, _ = _node(document, draw)
    return "definition.self_loop", _edge(document, {"from": node["id"], "to": node["id"]})


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
    node, _ = _node(document, draw)
    return "expression.not_before", _reading(document, f"nodes.{node['id']}.output")


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
