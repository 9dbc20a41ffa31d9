from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from celeriac import Json
from engine.agreement import Decided, agreed, digest
from engine.approvals import Vote

PLAN: dict[str, Json] = {"name": "p", "definition": {"steps": [{"n": 1}]}}


def approval(
    show: Json, *voices: str, item: str = "", quorum: int = 1, rule: str = "reject_wins", hash_: str = ""
) -> Decided:
    text = json.dumps({"title": "t", "description": "", "show": show, "form": None})
    votes = tuple(Vote(f"p{number}", each, "", None, number) for number, each in enumerate(voices))
    return Decided(item, text, hash_ or hashlib.sha256(text.encode()).hexdigest(), rule, quorum, votes)


YES, NO = "approved", "rejected"


@pytest.mark.parametrize(
    ("approvals", "item", "expected"),
    [
        ([], "", False),
        ([approval(PLAN, YES)], "", True),
        ([approval({"definition": PLAN, "reasons": []}, YES)], "", True),
        ([approval({"deeper": {"definition": PLAN}}, YES)], "", False),
        ([approval([PLAN], YES)], "", False),
        ([approval(None, YES)], "", False),
        ([approval({**PLAN, "name": "q"}, YES)], "", False),
        ([approval({"name": "p", "definition": {"steps": [{"n": True}]}}, YES)], "", False),
        ([approval({"definition": {"steps": [{"n": 1}]}, "name": "p"}, YES)], "", True),
        # Time has decided, or nobody: no voice, or not enough of them.
        ([approval(PLAN)], "", False),
        ([approval(PLAN, YES, quorum=2)], "", False),
        ([approval(PLAN, YES, YES, quorum=2)], "", True),
        ([approval(PLAN, YES, NO, YES, quorum=3, rule="majority")], "", True),
        # The last word counts.
        ([approval(PLAN, NO)], "", False),
        ([approval(PLAN, YES), approval(PLAN, NO)], "", False),
        ([approval(PLAN, NO), approval(PLAN, YES)], "", True),
        ([approval(PLAN, YES), approval(PLAN)], "", True),
        ([approval(PLAN, YES), approval("something else", NO)], "", True),
        # Where one can see it: here and around, and not beside.
        ([approval(PLAN, YES)], "3.1", True),
        ([approval(PLAN, YES, item="3")], "3.1", True),
        ([approval(PLAN, YES, item="3.1")], "3.1", True),
        ([approval(PLAN, YES, item="3")], "31", False),
        ([approval(PLAN, YES, item="3.1")], "3.2", False),
        ([approval(PLAN, YES, item="3.1")], "3", False),
        # Somebody has written another text into the row.
        ([approval(PLAN, YES, hash_="0" * 64)], "", False),
    ],
)
def test_what_counts_as_agreement(approvals: list[Decided], item: str, expected: bool) -> None:
    assert agreed(approvals, item, PLAN) is expected


VALUES: list[Json] = [1, True, "1", None, [1], 1.5]


def test_a_digest_is_of_the_value_and_not_of_how_it_is_written() -> None:
    same: list[Any] = [{"a": 1, "b": [None, "ü"]}, {"b": [None, "ü"], "a": 1}]
    assert digest(same[0]) == digest(same[1])
    assert len({digest(each) for each in VALUES}) == 6
