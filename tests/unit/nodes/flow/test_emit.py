from typing import Any

import pytest

from celeriac import Effect, Emit
from celeriac.testing import run_node
from nodes.flow.emit import emit


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"event": "order.paid"}, Emit("order.paid")),
        (
            {"event": "order.paid", "correlation": 7, "data": {"sum": 3}},
            Emit("order.paid", "7", {"sum": 3}),
        ),
    ],
)
async def test_it_publishes_what_it_is_told(config: dict[str, Any], expected: Emit) -> None:
    outcome = await run_node(emit, config)
    assert (outcome.kind, outcome.emit) == ("emit", expected)


@pytest.mark.parametrize("config", [{}, {"event": ""}, {"event": "a b"}, {"event": "a", "correlation": True}])
async def test_what_is_no_event_is_refused(config: dict[str, Any]) -> None:
    assert (await run_node(emit, config)).code == "node.config_invalid"


def test_it_is_repeated_with_the_same_key() -> None:
    assert emit.effect is Effect.KEYED
