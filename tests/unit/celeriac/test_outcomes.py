from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from celeriac import Fail, NodeError, Route, TryAgain, Uncertain, Wait


@pytest.mark.parametrize("kind", [Fail, TryAgain, Uncertain])
def test_what_a_node_raises_has_a_code_a_message_and_details_of_its_own(kind: Any) -> None:
    given = {"k": 1}
    raised = kind("area.reason", "In words.", details=given)
    assert (raised.code, raised.message, raised.details, str(raised)) == (
        "area.reason",
        "In words.",
        {"k": 1},
        "In words.",
    )
    assert raised.details is not given
    assert kind("area.reason", "In words.").details == {}


def test_another_try_may_name_its_time() -> None:
    assert TryAgain("a.b", "Later.").after is None
    assert TryAgain("a.b", "Later.", 2.5).after == 2.5


@pytest.mark.parametrize(
    ("returned", "field"), [(Route(("out",)), "value"), (Wait(5), "value"), (NodeError("a.b", "No."), "code")]
)
def test_what_a_node_returns_does_not_change(returned: Any, field: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(returned, field, 2)


def test_what_a_node_returns_without_a_value_is_null() -> None:
    assert (Route(("out",)).value, Wait(5).value) == (None, None)


def test_a_failure_is_shown_without_what_it_has_not() -> None:
    assert NodeError("a.b", "No.").to_json() == {"code": "a.b", "message": "No."}
    shown = NodeError("a.b", "No.", {"k": 1}, ("Fail",), 5.0).to_json()
    assert shown == {"code": "a.b", "message": "No.", "details": {"k": 1}}
