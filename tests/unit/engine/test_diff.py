from __future__ import annotations

from engine.diff import diff
from tests.builders import document, edges, node


def test_equal_documents_differ_in_nothing() -> None:
    assert diff(document([node("a")]), document([node("a")])) == []


def test_nodes_are_compared_by_id_whatever_their_order() -> None:
    before = document([node("a"), node("b")], edges("a->b"))
    after = document([node("b"), node("a", "log", {"message": "hi"})], edges("a->b"))
    assert diff(before, after) == [
        {"op": "changed", "pointer": "/definition/nodes/a/type", "before": "noop", "after": "log"},
        {"op": "added", "pointer": "/definition/nodes/a/config", "after": {"message": "hi"}},
    ]


def test_what_came_and_what_went_is_told_with_its_value() -> None:
    found = diff(
        document([node("a"), node("b")], edges("a->b")), document([node("a"), node("c")], edges("a->c"))
    )
    assert [(each["op"], each["pointer"]) for each in found] == [
        ("removed", "/definition/nodes/b"),
        ("added", "/definition/nodes/c"),
        ("removed", "/definition/edges/0"),
        ("added", "/definition/edges/0"),
    ]


def test_one_and_true_are_not_the_same() -> None:
    assert diff({"a": 1}, {"a": True}) == [{"op": "changed", "pointer": "/a", "before": 1, "after": True}]


def test_a_list_without_ids_changes_as_a_whole() -> None:
    assert diff({"a": [1, 2]}, {"a": [2]}) == [
        {"op": "changed", "pointer": "/a", "before": [1, 2], "after": [2]}
    ]


def test_a_pointer_escapes_what_it_must() -> None:
    assert diff({"a/b": 1}, {}) == [{"op": "removed", "pointer": "/a~1b", "before": 1}]
