"""What calls of models cost: by the public price lists, or as a deployment says. Money is billionths of a US dollar."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from celeriac.usage import Usage

DOLLAR: Final = 1_000_000_000
FREE: Final = frozenset({"local"})
"""Providers that nobody pays."""


def cost(provider: str, model: str, usage: Usage, own: Mapping[str, Any] | None = None) -> int | None:
    """Return what a call costs, rounded up; None when nobody knows the price.

    `own` is what the deployment says of the model: its `input_cost_per_1k_tokens` and `output_cost_per_1k_tokens`, or else what
    its provider calls it.
    """
    if provider in FREE:
        return 0
    if own is not None and "output_cost_per_1k_tokens" in own:
        given = Decimal(str(own["input_cost_per_1k_tokens"])), Decimal(str(own["output_cost_per_1k_tokens"]))
        return _whole((usage.input_tokens * given[0] + usage.output_tokens * given[1]) / 1000)
    model = model if own is None else str(own.get("model", model))
    import genai_prices

    asked = genai_prices.Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=min(usage.cached, usage.input_tokens),
    )
    try:
        return _whole(genai_prices.calc_price(asked, model_ref=model, provider_id=provider).total_price)
    except LookupError:
        return None


def dollars(amount: int | None) -> float | None:
    """Return an amount as it is shown."""
    return None if amount is None else amount / DOLLAR


def _whole(price: Decimal) -> int:
    return int((price * DOLLAR).to_integral_value(ROUND_CEILING))
