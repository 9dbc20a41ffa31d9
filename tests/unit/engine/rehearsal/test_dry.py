from __future__ import annotations

from typing import Any

from engine.rehearsal.dry import dry_run
from engine.rehearsal.mocks import Mocks
from tests.builders import document, edge, edges, node
from tests.unit.engine.rehearsal.conftest import REGISTRY

GET = {"url": "http://bank/{{ id }}"}


def dry(document_: Any, payload: Any = None, mocks: Any = None) -> dict[str, Any]:
    made = dry_run(document_, {"id": 7} if payload is None else payload, Mocks.parse(mocks or {}), REGISTRY)
    found: dict[str, Any] = made.to_json()
    return found


def configs(body: dict[str, Any]) -> list[Any]:
    return [each["config"] for each in body["calls"]]


def test_a_call_is_shown_with_its_rendered_config_and_not_made() -> None:
    body = dry(document([node("get", "http_request", GET)]))
    assert body == {
        "status": "succeeded",
        "calls": [
            {
                "node": "get",
                "type": "http_request@1",
                "effect": "read",
                "method": "GET",
                "url": "http://bank/7",
                "config": {"url": "http://bank/7"},
                "mocked": False,
            }
        ],
        "path": ["get"],
        "output": {"get": "<output of get>"},
    }


def test_a_config_that_reads_a_gap_is_shown_with_the_expression() -> None:
    tell = {
        "method": "POST",
        "url": "http://a/{{ id }}",
        "body": {"n": "{{ nodes.get.output.n }}", "i": "{{ id }}"},
    }
    nodes = [node("get", "http_request", GET), node("tell", "http_request", tell)]
    body = dry(document(nodes, edges("get->tell")))
    assert configs(body)[1] == {
        "method": "POST",
        "url": "http://a/7",
        "body": {"n": "{{ nodes.get.output.n }}", "i": 7},
    }
    assert [body["calls"][1][key] for key in ("method", "url", "unknown")] == [
        "POST",
        "http://a/7",
        ["the output of get"],
    ]


def test_what_pure_nodes_make_of_a_gap_is_a_gap() -> None:
    nodes = [
        node("get", "http_request", GET),
        node("sum", "transform", {"expression": "nodes.get.output.n + 1"}),
        node("tell", "http_request", {"url": "http://{{ nodes.sum.output }}"}),
    ]
    body = dry(
        document(nodes, edges("get->sum->tell"), outputs={"n": "{{ nodes.sum.output }}", "id": "{{ id }}"})
    )
    assert configs(body)[1] == {"url": "http://{{ nodes.sum.output }}"}
    assert body["output"] == {"n": "{{ nodes.sum.output }}", "id": 7}


def test_a_mock_fills_a_gap() -> None:
    nodes = [
        node("get", "http_request", GET),
        node("sum", "transform", {"expression": "nodes.get.output + 1"}),
    ]
    document_ = document(nodes, edges("get->sum"))
    assert dry(document_, mocks={"get": {"output": 1}})["output"] == {"sum": 2}
    assert dry(document_, mocks={"sum": {"output": 5}})["output"] == {"sum": 5}


def test_a_choice_by_a_gap_stops_after_the_branches_beside_it() -> None:
    nodes = [
        node("get", "http_request", GET),
        node("ask", "if", {"condition": "nodes.get.output.ok"}),
        node("yes"),
        node("pause", "wait", {"for": "60s"}),
        node("tell", "http_request", {"url": "http://b"}),
    ]
    ways = [*edges("get->ask", "pause->tell"), edge("ask", "yes", port="true")]
    body = dry(document(nodes, ways))
    assert body["status"] == "stopped"
    assert [each["node"] for each in body["calls"]] == ["get", "tell"]
    assert body["stopped"] == [
        {
            "node": "ask",
            "code": "dry.unknown",
            "message": "Which way ask goes depends on the output of get, which is not known.",
            "hint": """Say what it comes to: --mocks '{"get": {"output": ...}}'""",
        }
    ]


def test_a_condition_of_an_edge_stops_at_a_gap() -> None:
    nodes = [node("get", "http_request", GET), node("b")]
    body = dry(document(nodes, [edge("get", "b", when="nodes.get.output.n > 1")]))
    assert [each["node"] for each in body["stopped"]] == ["get"]


def test_a_map_over_a_gap_stops() -> None:
    each = node(
        "each", "http_request", {"url": "http://a/{{ item }}"}, for_each={"items": "nodes.get.output"}
    )
    body = dry(document([node("get", "http_request", GET), each], edges("get->each")))
    assert [each["message"] for each in body["stopped"]] == [
        "What follows each depends on the output of get, which is not known."
    ]


def test_a_map_over_what_is_known_shows_every_call_and_its_output_has_gaps() -> None:
    each = node("each", "http_request", {"url": "http://a/{{ item }}"}, for_each={"items": "ids"})
    count = node("count", "transform", {"expression": "nodes.each.output | length"})
    body = dry(document([each, count], edges("each->count")), {"ids": [1, 2]})
    assert [(call["item"], call["url"]) for call in body["calls"]] == [
        ("0", "http://a/1"),
        ("1", "http://a/2"),
    ]
    assert body["output"] == {"count": "<output of count>"}


def test_a_loop_that_asks_a_gap_stops() -> None:
    loop = node("poll", "http_request", {"url": "http://a/{{ index }}"}, loop={"until": "item.done"})
    body = dry(document([loop]))
    assert [call["url"] for call in body["calls"]] == ["http://a/0"]
    assert body["stopped"][0]["message"] == "What follows poll depends on `item`, which is not known."


def test_a_failure_is_told_as_it_would_be() -> None:
    body = dry(document([node("a", "transform", {"expression": "nothing"})]))
    assert (body["status"], body["error"]["code"]) == ("failed", "expression.unknown_name")
    assert "output" not in body


def test_a_failure_that_an_author_would_take_for_data_still_stops() -> None:
    nodes = [
        node("get", "http_request", GET),
        node("ask", "if", {"condition": "nodes.get.output"}, on_error="continue"),
    ]
    assert dry(document(nodes, edges("get->ask")))["status"] == "stopped"
