from __future__ import annotations

import json
from typing import Any

import pytest

from engine.checking.problems import check, check_tests
from engine.registry import Registry
from tests.builders import document, edges, node

REGISTRY = Registry.load(["nodes"])
SCOPE = node("all", "scope", body={"nodes": [node("inner", compensate={"type": "noop"})]})
DOCUMENT = document([node("first"), SCOPE], edges("first->all"))


def problems(*tests: Any) -> list[tuple[str, str, str | None]]:
    found = check({**DOCUMENT, "tests": list(tests)}, REGISTRY)
    return [(each.code, each.pointer, each.hint) for each in found]


def test_a_test_may_name_every_node_bodies_and_what_undoes_included() -> None:
    test = {
        "name": "all of it",
        "input": {"x": [1]},
        "now": "2031-05-04T09:00:00Z",
        "deliver": [],
        "mocks": {"first": {"output": "{{ no expression"}, "inner@undo": [{"takes": 5}], "*": {"output": 1}},
        "expect": {"path": ["first", "all", "inner"], "not_run": ["inner@undo"], "calls": {"inner": 1}},
    }
    assert problems(test) == []


def test_a_node_that_is_not_there_is_told_with_the_nearest() -> None:
    test = {
        "name": "x",
        "mocks": {"frist": {"output": 1}},
        "expect": {"path": ["first", "al"], "not_run": ["iner"], "calls": {"zzzzzz": 1}},
    }
    assert problems(test) == [
        ("test.unknown_node", "/tests/0/mocks/frist", "Did you mean first?"),
        ("test.unknown_node", "/tests/0/expect/path/1", "Did you mean all?"),
        ("test.unknown_node", "/tests/0/expect/not_run/0", "Did you mean inner?"),
        ("test.unknown_node", "/tests/0/expect/calls/zzzzzz", "Use the id of a node."),
    ]


def test_a_scope_cannot_be_mocked() -> None:
    assert problems({"name": "x", "mocks": {"all": {"output": 1}}}) == [
        ("test.mocked_scope", "/tests/0/mocks/all", "Mock the nodes in its body.")
    ]


def test_two_tests_have_two_names() -> None:
    assert problems({"name": "x"}, {"name": "y"}, {"name": "x"}) == [
        ("test.duplicate_name", "/tests/2/name", "Say what makes this one different.")
    ]


def test_a_time_that_is_none_is_told() -> None:
    assert problems({"name": "x", "now": "2031-13-04T09:00:00Z"}) == [
        ("definition.bad_value", "/tests/0/now", "Write it like 2031-05-04T09:00:00+02:00.")
    ]


@pytest.mark.parametrize(
    ("test", "code", "pointer"),
    [
        ({}, "definition.missing_key", "/tests/0"),
        ({"name": "x", "mock": {}}, "definition.unknown_key", "/tests/0/mock"),
        ({"name": "x", "deliver": [1]}, "definition.bad_value", "/tests/0/deliver"),
        ({"name": "x", "mocks": {"first": {}}}, "definition.bad_value", "/tests/0/mocks/first"),
        ({"name": "x", "mocks": {"first": []}}, "definition.bad_value", "/tests/0/mocks/first"),
        ({"name": "x", "mocks": {"first": 7}}, "definition.wrong_type", "/tests/0/mocks/first"),
        (
            {"name": "x", "mocks": {"first": {"error": {"code": "a.b"}, "output": 1}}},
            "definition.bad_value",
            "/tests/0/mocks/first/output",
        ),
        (
            {"name": "x", "mocks": {"first": {"takes": "soon"}}},
            "definition.bad_value",
            "/tests/0/mocks/first/takes",
        ),
        (
            {"name": "x", "mocks": {"first": {"error": {}}}},
            "definition.missing_key",
            "/tests/0/mocks/first/error",
        ),
        ({"name": "x", "expect": {"status": "good"}}, "definition.bad_value", "/tests/0/expect/status"),
        (
            {"name": "x", "expect": {"calls": {"first": "once"}}},
            "definition.wrong_type",
            "/tests/0/expect/calls/first",
        ),
        (7, "definition.wrong_type", "/tests/0"),
    ],
)
def test_a_bad_shape_is_told_at_its_place(test: Any, code: str, pointer: str) -> None:
    assert [each[:2] for each in problems(test)] == [(code, pointer)]


def test_tests_that_are_no_list_are_told() -> None:
    found = check({**DOCUMENT, "tests": {}}, REGISTRY)
    assert [(each.code, each.pointer) for each in found] == [("definition.wrong_type", "/tests")]


def test_a_file_of_tests_is_checked_against_the_definition_beside_it() -> None:
    text = json.dumps({"tests": [{"name": "x", "mocks": {"frist": {"output": 1}}}]}, indent=1)
    value, found = check_tests(text, DOCUMENT, REGISTRY)
    assert value is not None
    assert [(each.code, each.pointer, each.line) for each in found] == [
        ("test.unknown_node", "/tests/0/mocks/frist", 6)
    ]
    assert check_tests('{"$schema": "x", "tests": [{"name": "x"}]}', DOCUMENT, REGISTRY)[1] == []


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("[]", ["definition.wrong_type"]),
        ("{}", ["definition.missing_key"]),
        ('{"test": []}', ["definition.missing_key", "definition.unknown_key"]),
        ('{"tests": [{"name": "x"}], "tests": []}', ["definition.duplicate_key"]),
        ('{"tests": ', ["definition.not_json"]),
    ],
)
def test_a_file_that_is_none_of_tests_is_told(text: str, codes: list[str]) -> None:
    assert [each.code for each in check_tests(text, DOCUMENT, REGISTRY)[1]] == codes
