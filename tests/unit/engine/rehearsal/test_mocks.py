from __future__ import annotations

from typing import Any

import pytest

from celeriac import Fail, Route, TryAgain, Uncertain
from engine.rehearsal.mocks import Mock, Mocks


def found(mocks: Any, node: str, item: str = "", attempt: int = 1, *, effectful: bool = True) -> Any:
    chosen = Mocks.parse(mocks).find(node, item, attempt, effectful=effectful)
    return None if chosen is None else (chosen[0].output, chosen[1])


def test_mocks_are_taken_attempt_by_attempt_and_the_last_stands_for_the_rest() -> None:
    mocks = {"a": [{"output": 1}, {"output": 2}]}
    assert [found(mocks, "a", attempt=each) for each in (1, 2, 3)] == [(1, False), (2, True), (2, True)]


def test_a_mock_of_an_item_goes_before_those_of_all_items() -> None:
    mocks = {"a": [{"output": "all"}, {"item": 1, "output": "one"}, {"item": "1.0", "output": "inner"}]}
    assert [found(mocks, "a", each)[0] for each in ("0", "1", "1.0")] == ["all", "one", "inner"]
    assert found({"a": {"item": 1, "output": "one"}}, "a", "0") is None


def test_the_star_stands_for_nodes_with_an_effect_only() -> None:
    mocks = {"*": {"output": "any"}, "a": {"output": "a"}}
    assert (found(mocks, "a"), found(mocks, "b")) == (("a", True), ("any", True))
    assert found(mocks, "b", effectful=False) is None
    assert found(mocks, "a", effectful=False) == ("a", True)


def test_an_output_is_returned_and_leaves_by_its_port() -> None:
    assert Mock.parse({"output": [1]}).come_true(last=True) == [1]
    assert Mock.parse({"takes": "1m30s"}) == Mock(takes=90.0)
    assert Mock.parse({"output": 1, "port": "yes"}).come_true(last=True) == Route(("yes",), 1)
    assert Mock.parse({"port": ["yes", "no"]}).come_true(last=True) == Route(("yes", "no"), None)


@pytest.mark.parametrize(
    ("kind", "last", "raised"),
    [
        (None, False, TryAgain),
        (None, True, Fail),
        ("again", True, TryAgain),
        ("fail", False, Fail),
        ("uncertain", True, Uncertain),
    ],
)
def test_an_error_is_raised_as_what_it_is_said_to_be(
    kind: str | None, last: bool, raised: type[Exception]
) -> None:
    error = {"code": "a.b", "details": {"x": 1}, **({} if kind is None else {"kind": kind})}
    with pytest.raises(raised) as caught:
        Mock.parse({"error": error}).come_true(last=last)
    assert caught.value.code == "a.b"  # type: ignore[attr-defined]
    assert caught.value.details == {"x": 1}  # type: ignore[attr-defined]
    assert str(caught.value) == "The mock says a.b."


def test_an_error_says_when_it_may_be_tried_again() -> None:
    with pytest.raises(TryAgain) as caught:
        Mock.parse({"error": {"code": "a.b", "message": "Later.", "after": "1m"}}).come_true(last=False)
    assert (caught.value.after, caught.value.message) == (60.0, "Later.")
