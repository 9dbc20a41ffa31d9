"""Every node type that is registered here goes through the suite that third parties use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from celeriac import NodeType
from celeriac.testing import conform
from engine.registry import Registry
from tests.conformance.worlds import WORLDS, Town

NODE_TYPES = list(Registry.load(["nodes"]).everything())


@pytest.fixture
async def town(request: pytest.FixtureRequest) -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        yield Town(stack, request)


def test_every_node_type_has_a_world_to_be_tested_in() -> None:
    assert set(WORLDS) == {each.name for each in NODE_TYPES}


@pytest.mark.parametrize(
    ("node_type", "number"),
    [(each, number) for each in NODE_TYPES for number in range(len(WORLDS.get(each.name, ())))],
    ids=lambda each: each.name if isinstance(each, NodeType) else str(each),
)
async def test_a_node_type_keeps_its_promises(node_type: NodeType, number: int, town: Town) -> None:
    world = await WORLDS[node_type.name][number](town)
    assert await conform(node_type, world) == []
