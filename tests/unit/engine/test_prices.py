from __future__ import annotations

import pytest

from celeriac.usage import Usage
from engine.prices import DOLLAR, cost, dollars


@pytest.mark.parametrize(
    ("provider", "model", "usage", "expected"),
    [
        ("openai", "gpt-4", Usage(1000, 100), 36_000_000),
        ("openai", "gpt-4o-mini", Usage(1_000_000), 150_000_000),
        ("openai", "gpt-4o-mini", Usage(1_000_000, cached=1_000_000), 75_000_000),
        ("openai", "text-embedding-3-small", Usage(1), 20),
        ("openai", "gpt-4", Usage(), 0),
        ("local", "smollm2", Usage(1000, 1000), 0),
        ("openai", "a-model-of-nobody", Usage(1), None),
        ("gpu.example.com", "gpt-4", Usage(1), None),
    ],
)
def test_a_call_costs_what_the_lists_say(
    provider: str, model: str, usage: Usage, expected: int | None
) -> None:
    assert cost(provider, model, usage) == expected


def test_what_a_deployment_says_of_a_price_holds() -> None:
    own = {"input_cost_per_1k_tokens": 0.001, "output_cost_per_1k_tokens": 0.002}
    assert cost("openai", "gpt-4", Usage(1000, 1000), own) == 3_000_000
    assert cost("gpu.example.com", "mine", Usage(1), own) == 1_000


def test_a_part_of_the_smallest_unit_is_paid_as_a_whole_one() -> None:
    own = {"input_cost_per_1k_tokens": 0.0000001, "output_cost_per_1k_tokens": 0}
    assert cost("x", "mine", Usage(1), own) == 1


def test_money_is_shown_in_dollars() -> None:
    assert (dollars(DOLLAR // 4), dollars(None)) == (0.25, None)
