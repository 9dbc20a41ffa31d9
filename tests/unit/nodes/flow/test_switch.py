from typing import Any

import pytest

from celeriac.testing import run_node
from nodes.flow.switch import switch


def cases(**decided: Any) -> Any:
    return [{"name": name, "when": when} for name, when in decided.items()]


@pytest.mark.parametrize(
    ("config", "ports", "matched"),
    [
        ({"cases": cases(a=False, b=True, c=True)}, ("b",), ["b"]),
        ({"cases": cases(a=False, b=True, c=True), "mode": "all"}, ("b", "c"), ["b", "c"]),
        ({"cases": cases(a=False), "default": "rest"}, ("rest",), []),
        ({"cases": cases(a=False), "default": "rest", "none": "skip"}, ("rest",), []),
        ({"cases": cases(a=True), "default": "rest", "mode": "all"}, ("a",), ["a"]),
        ({"cases": cases(a=False), "none": "skip"}, (), []),
    ],
)
async def test_the_cases_that_are_true_decide_the_ports(
    config: dict[str, Any], ports: tuple[str, ...], matched: list[str]
) -> None:
    outcome = await run_node(switch, config)
    assert (outcome.ports, outcome.value) == (ports, {"matched": matched})


async def test_without_a_case_that_is_true_and_without_a_default_it_fails() -> None:
    outcome = await run_node(switch, {"cases": cases(a=False, b=False)})
    assert outcome.code == "switch.no_match"
    assert outcome.error is not None
    assert "a, b" in outcome.error.message


async def test_a_case_has_to_come_to_a_boolean() -> None:
    assert (await run_node(switch, {"cases": cases(a=1)})).code == "switch.not_boolean"


@pytest.mark.parametrize(
    "config", [{}, {"cases": []}, {"cases": [{"name": "a b", "when": True}]}, {"cases": [{"name": "a"}]}]
)
async def test_what_is_no_list_of_cases_is_refused(config: dict[str, Any]) -> None:
    assert (await run_node(switch, config)).code == "node.config_invalid"


def test_its_ports_are_its_cases_and_its_default() -> None:
    assert switch.ports_of({"cases": cases(a=1, b=2)}) == ("a", "b")
    assert switch.ports_of({"cases": cases(a=1), "default": "rest"}) == ("a", "rest")
