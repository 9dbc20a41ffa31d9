from __future__ import annotations

from typing import Any

import pytest

from engine.rehearsal.stage import Performance
from engine.rehearsal.trial import Expectation
from engine.rehearsal.verdict import differences, misses, summary
from tests.builders import document, edge, edges, node
from tests.unit.engine.rehearsal.conftest import Perform

ASK = document(
    [
        node("ask", "if", {"condition": "yes"}),
        node("a", "transform", {"expression": "{'x': 1, 'y': [1, 2]}"}),
        node("b", "fail", {"code": "shop.closed", "message": "Closed."}),
    ],
    [edge("ask", "a", port="true"), edge("ask", "b", port="false")],
    outputs="{{ nodes.a.output }}",
)


def told(seen: Performance, **expected: Any) -> list[str]:
    return [f"{each.code}: {each.message}" for each in misses(Expectation.parse(expected), seen)]


@pytest.fixture
def good(perform: Perform) -> Performance:
    return perform(ASK, {"yes": True})


@pytest.fixture
def bad(perform: Perform) -> Performance:
    return perform(ASK, {"yes": False})


def test_nothing_is_told_when_all_is_as_expected(good: Performance, bad: Performance) -> None:
    assert told(good, output={"x": 1.0, "y": [1, 2]}, path=["a", "ask"], not_run=["b"], calls={"a": 1}) == []
    assert told(good, output={"x": 1}, match="partial", path=["ask", "a"], ordered=True) == []
    assert told(bad, error={"code": "shop.closed", "node": "b", "message": "Closed."}) == []


def test_another_status_is_told_with_the_error_behind_it(good: Performance, bad: Performance) -> None:
    assert told(bad, output=1) == [
        "test.status: The execution is failed, and was expected to be succeeded. b: Closed. (shop.closed)"
    ]
    assert told(good, error={"code": "shop.closed"}) == [
        "test.status: The execution is succeeded, and was expected to be failed."
    ]


def test_another_error_is_told(bad: Performance) -> None:
    assert told(bad, error={"code": "shop.open", "node": "b"}) == [
        'test.error: error.code is "shop.closed", and was expected to be "shop.open".'
    ]


def test_each_difference_of_the_output_has_its_place(good: Performance) -> None:
    assert told(good, output={"x": 2, "y": [1, 3]}) == [
        "test.output: output/x is 1, and was expected to be 2.",
        "test.output: output/y/1 is 2, and was expected to be 3.",
    ]


def test_other_nodes_or_another_order_are_told(good: Performance) -> None:
    assert told(good, path=["ask", "b"]) == [
        "test.path: These nodes did not run, and were expected to: b.",
        "test.path: These nodes ran, and are not in the path: a.",
    ]
    assert told(good, path=["a", "ask"], ordered=True) == [
        "test.path: The order was ask, a, and was expected to be a, ask."
    ]
    assert told(good, not_run=["a", "b"]) == ["test.not_run: These nodes ran, and were expected not to: a."]


def test_calls_are_counted_and_their_configs_compared(good: Performance) -> None:
    assert told(good, calls={"a": 2, "b": 0, "ask": []}) == [
        "test.calls: The node a was called once, and not twice as expected.",
        "test.calls: The node ask was called once, and not never as expected.",
    ]
    assert told(good, calls={"ask": [{"condition": False}], "a": [{}]}) == [
        "test.calls: Call 1 of ask: config/condition is true, and was expected to be false."
    ]


def test_a_missing_mock_is_all_that_is_told(perform: Perform) -> None:
    nodes = [node("get", "http_request", {"url": "http://a"}), node("b")]
    seen = perform(document(nodes, edges("get->b")))
    (miss,) = misses(Expectation.parse({"path": ["b"]}), seen)
    assert miss.to_json() == {
        "code": "test.unmocked",
        "message": "The node get has the effect read, and the test has no mock for it.",
        "hint": 'Add it to `mocks`: "get": {"output": ...}',
    }


def test_an_input_that_does_not_fit_is_told_with_its_places(perform: Perform) -> None:
    seen = perform(document([node("a")], inputs={"type": "object", "required": ["id"]}))
    assert told(seen, status="refused", error={"code": "input.invalid"}) == []
    first, second = told(seen)
    assert first.endswith("The payload is not what the workflow takes. (input.invalid)")
    assert second == 'test.status: input: "id" is a required property'


@pytest.mark.parametrize(
    ("expected", "actual", "partial", "found"),
    [
        (1, True, False, [((), "is true, and was expected to be 1")]),
        (False, 0, True, [((), "is 0, and was expected to be false")]),
        (1, 1.0, False, []),
        ({"total": 1}, {"totl": 1}, True, [(("total",), "is not there (Did you mean totl?)")]),
        ({}, {"a": 1}, False, [(("a",), "is 1, and was not expected")]),
        ({}, {"a": 1}, True, []),
        ([{}], [{"a": 1}], True, []),
        ([1], [1, 2], True, [((), "has 2 items, and was expected to have 1")]),
        ("x", None, False, [((), 'is null, and was expected to be "x"')]),
    ],
)
def test_values_are_compared_as_json(expected: Any, actual: Any, partial: bool, found: Any) -> None:
    assert list(differences(expected, actual, (), partial=partial)) == found


def test_a_long_value_is_not_repeated() -> None:
    ((_, words),) = differences("x", "y" * 1000, (), partial=False)
    assert len(words) < 150


def test_a_summary_shows_what_there_was(good: Performance, bad: Performance) -> None:
    assert summary(good)["output"] == {"x": 1, "y": [1, 2]}
    assert "output" not in summary(bad)
    assert summary(bad)["path"] == ["ask", "b"]


def test_an_answer_is_compared_key_by_key(perform: Perform) -> None:
    say = node("say", "respond", {"status": 201, "body": {"id": "{{ id }}", "by": "us"}})
    seen = perform(document([say]), {"id": 7})
    assert told(seen, answer={"status": 201, "body": {"id": 7, "by": "us"}}) == []
    assert told(seen, answer={"body": {"id": 7}}, match="partial") == []
    assert told(seen, answer={"status": 200, "headers": {"Location": "/7"}}) == [
        "test.answer: answer/status is 201, and was expected to be 200.",
        "test.answer: answer/headers/Location is not there.",
    ]
    assert summary(seen)["answer"] == {"status": 201, "headers": {}, "body": {"id": 7, "by": "us"}}


def test_what_was_never_answered_is_told(good: Performance) -> None:
    assert told(good, answer={"status": 200}) == ["test.answer: Nothing was answered."]
