"""The filters: what can stand behind `|`.

A filter is a plain function of the evaluation, the value in front of it and the author's arguments. It checks the
kinds of what it gets, pays for what it builds before it builds it, and says what it needs when it refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from engine.expressions.filters import dates, encodings, lists, numbers, objects, texts

FILTERS: Final[dict[str, Callable[..., Any]]] = {
    **texts.FILTERS,
    **numbers.FILTERS,
    **lists.FILTERS,
    **objects.FILTERS,
    **encodings.FILTERS,
    **dates.FILTERS,
}

EACH: Final = ("map", "select", "reject", "selectattr", "rejectattr")
"""The filters that apply another filter or a test to every item: `calls` compiles them."""

FILTER_NAMES: Final = (*FILTERS, *EACH)

ABSENT_WHEN_EMPTY: Final = ("first", "last", "min", "max")
"""The filters that find nothing in an empty list; `default` behind them says what then."""
