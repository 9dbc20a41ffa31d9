"""The story of the API, on both stacks: the same that `python3 dev.py story` plays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.stacks import Servers
from tests.servers import Valkey
from tests.story.house import House
from tests.story.steps import play

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, valkey: Valkey) -> Iterator[House]:
    found = Servers(valkey)
    if request.param == "postgresql":
        found.environment["DATABASE_URL"] = request.getfixturevalue("postgres_url")
    made = House(found)
    try:
        made.start()
        yield made
    finally:
        made.clear()


async def test_the_story_is_seen_as_it_is_told(house: House, valkey: Valkey) -> None:
    told: list[str] = []
    await play(house, lambda step, _: told.append(step))
    assert len(told) == 10
