from __future__ import annotations

import pytest

from bench.cases import CASES, UnknownCase, chosen
from bench.shapes import SHAPES, Fibonacci


def test_without_names_all_cases_are_chosen() -> None:
    assert chosen([]) == list(CASES)


def test_a_name_chooses_its_case_and_no_other_that_begins_like_it() -> None:
    assert [each.name for each in chosen(["idle"])] == ["idle"]


def test_the_beginning_of_names_chooses_all_of_them_in_the_order_of_the_table() -> None:
    assert [each.name for each in chosen(["w6", "W1-pure"])] == ["W1-pure-300", "W1-pure-5000", "W6a", "W6b"]


def test_an_unknown_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(UnknownCase, match="Did you mean W1-effects"):
        chosen(["W1-efects"])


def test_names_are_unique_and_shapes_exist() -> None:
    assert len({each.name for each in CASES}) == len(CASES)
    assert {each.shape for each in CASES} <= set(SHAPES)


def test_only_what_computes_is_run_in_bare_python() -> None:
    assert all(isinstance(SHAPES[each.shape], Fibonacci) for each in CASES if each.python)


def test_a_rate_is_better_when_it_is_higher_and_all_else_when_it_is_lower() -> None:
    assert {each.unit for each in CASES if each.higher_is_better} == {"executions/s", "requests/s"}
