from __future__ import annotations

import pytest

from celeriac import Effect, Fail
from engine.rehearsal.cast import Walls
from tests.builders import document, edge, edges, node
from tests.unit.engine.rehearsal.conftest import Perform

GET = {"url": "http://127.0.0.1:9/{{ id }}"}


def test_without_a_mock_nothing_with_an_effect_is_called(perform: Perform) -> None:
    seen = perform(document([node("get", "http_request", GET)]), {"id": 7})
    assert seen.part.unmocked == {"get": Effect.READ}
    assert (seen.status, seen.error and seen.error["code"]) == ("failed", "test.unmocked")


def test_what_its_author_declares_harmless_still_needs_a_mock(perform: Perform) -> None:
    seen = perform(document([node("get", "http_request", GET, effect="none")]), {"id": 7})
    assert seen.part.unmocked == {"get": Effect.READ}
    seen = perform(
        document([node("get", "http_request", GET, effect="none")]), {"id": 7}, {"get": {"output": 1}}
    )
    assert seen.output == {"get": 1}


def test_each_call_is_written_down_with_its_rendered_config(perform: Perform) -> None:
    document_ = document([node("get", "http_request", GET)])
    seen = perform(document_, {"id": 7}, {"get": [{"error": {"code": "a.b"}}, {"output": "x"}]})
    assert [(each.node, each.attempt, each.mocked, each.config_json()) for each in seen.part.calls] == [
        ("get", 1, True, {"url": "http://127.0.0.1:9/7"}),
        ("get", 2, True, {"url": "http://127.0.0.1:9/7"}),
    ]
    assert seen.output == {"get": "x"}


def test_a_mock_still_needs_a_config_that_fits(perform: Perform) -> None:
    seen = perform(document([node("get", "http_request", {"url": "{{ none }}"})]), {}, {"get": {"output": 1}})
    assert seen.error is not None
    assert seen.error["code"] == "node.config_invalid"


def test_a_pure_node_may_be_mocked_and_leave_by_a_port(perform: Perform) -> None:
    nodes = [node("ask", "if", {"condition": "false"}), node("yes"), node("no")]
    ways = [edge("ask", "yes", port="true"), edge("ask", "no", port="false")]
    seen = perform(document(nodes, ways), {}, {"ask": {"port": "true"}})
    assert seen.path == ["ask", "yes"]
    seen = perform(document(nodes, ways), {}, {"ask": {"port": "maybe"}})
    assert seen.error is not None
    assert seen.error["code"] == "node.unknown_port"


def test_what_computes_in_a_child_elsewhere_does_it_here(perform: Perform) -> None:
    document_ = document([node("a", "compute", {"value": 7})])
    assert perform(document_).output == {"a": 7}
    assert perform(document_, {}, {"a": {"output": 8}}).output == {"a": 8}


def test_a_computation_that_takes_too_long_times_out(perform: Perform) -> None:
    document_ = document([node("a", "compute", {"value": 7}, timeout="2s")])
    seen = perform(document_, {}, {"a": {"takes": "3s"}})
    assert (seen.error and seen.error["code"], seen.passed) == ("node.timeout", 2000)
    assert perform(document_, {}, {"a": {"takes": "1s", "output": 9}}).output == {"a": 9}


def test_a_node_that_is_repeated_alone_is_called_by_its_own_name(perform: Perform) -> None:
    each = node("get", "http_request", {"url": "http://a/{{ item }}"}, for_each={"items": "ids"})
    mocks = {"get": [{"item": 1, "output": "second"}, {"output": "other"}]}
    seen = perform(document([each]), {"ids": [1, 2, 3]}, mocks)
    assert seen.output == {"get": ["other", "second", "other"]}
    assert seen.path == ["get"]


def test_one_that_undoes_has_its_own_mock(perform: Perform) -> None:
    undo = {"type": "http_request", "config": {"url": "http://a/undo", "method": "DELETE"}}
    body = {
        "nodes": [
            node("book", "http_request", {"url": "http://a", "method": "PUT"}, compensate=undo),
            node("stop", "fail", {"message": "No."}),
        ],
        "edges": edges("book->stop"),
    }
    seen = perform(
        document([node("trip", "scope", body=body)]), {}, {"book": {"output": 1}, "book@undo": {"output": 2}}
    )
    assert (seen.status, seen.part.unmocked) == ("failed", {})
    assert seen.path == ["trip", "book", "stop", "book@undo"]


async def test_there_is_no_way_out_whoever_asks() -> None:
    with pytest.raises(Fail) as caught:
        Walls().client()
    assert caught.value.code == "egress.no_way_out"
    with pytest.raises(Fail) as caught:
        await Walls().connect("proj", "bank", ())
    assert caught.value.code == "egress.no_way_out"
