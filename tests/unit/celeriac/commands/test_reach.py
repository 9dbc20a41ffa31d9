from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac.client import Refused, Unreachable
from celeriac.commands import lock as locks
from celeriac.commands import reach
from celeriac.commands.lock import Lock
from engine.settings import Settings
from tests.builders import document, node
from tests.workbench import Workbench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    made = Workbench(tmp_path)
    yield made
    made.close()


async def test_with_nothing_running_requests_are_served_in_this_process(bench: Workbench) -> None:
    bench.push(document([node("a")], name="there"))
    async with reach.api(None, settings=bench.settings) as client:
        assert not client.live
        assert [each["name"] for each in (await client.workflows())["data"]] == ["there"]
        assert (await client.disable("there"))["enabled"] is False
    assert bench.query("SELECT enabled FROM workflow") == [(0,)]


async def test_where_nothing_is_nothing_is_made(tmp_path: Path) -> None:
    data = tmp_path / "none"
    settings = Settings(f"sqlite:///{data / 'celeriac.db'}", "memory://", data)
    with pytest.raises(Refused) as refused:
        async with reach.api(None, settings=settings):
            pass
    assert refused.value.code == "stack.missing"
    assert not (data / "celeriac.db").exists()


async def test_a_running_stack_is_joined_where_it_says_it_is(bench: Workbench) -> None:
    lock = Lock.take(bench.settings.data)
    assert lock is not None
    lock.tell({"url": "http://127.0.0.1:1"})
    async with reach.api(None, settings=bench.settings) as client:
        assert (client.live, client.url) == (True, "http://127.0.0.1:1")
        with pytest.raises(Unreachable):
            await client.workflows()
    lock.release()


async def test_a_stack_that_never_says_where_it_is_is_not_waited_for_for_ever(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "_STARTING_WITHIN", 0.05)
    monkeypatch.setattr(locks, "_PATIENCE", 0.0)
    lock = Lock.take(bench.settings.data)
    assert lock is not None
    with pytest.raises(Unreachable) as refused:
        async with reach.api(None, start=True, settings=bench.settings):
            pass
    assert refused.value.code == "stack.busy"
    lock.release()


async def test_the_token_of_this_machine_is_not_shown_to_another(bench: Workbench) -> None:
    with pytest.raises(Refused) as refused:
        async with reach.api("https://api.example.com", settings=bench.settings):
            pass
    assert refused.value.code == "usage.token"
    named = dataclasses.replace(bench.settings, api_token="x" * 32)
    async with reach.api("https://api.example.com", settings=named) as client:
        assert client.url == "https://api.example.com"
    async with reach.api("http://localhost:8321", settings=bench.settings) as client:
        assert client.url == "http://localhost:8321"


def test_a_command_for_another_installation_names_its_data(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CELERIAC_DATA", raising=False)
    assert reach.environment_hint(bench.settings) == f"CELERIAC_DATA={bench.settings.data} "
    monkeypatch.setenv("CELERIAC_DATA", str(bench.settings.data))
    assert reach.environment_hint(bench.settings) == ""
