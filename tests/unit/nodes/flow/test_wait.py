from datetime import UTC, datetime
from typing import Any

import pytest

from celeriac import OnCallback, OnEvent, Wait
from celeriac.testing import run_node
from nodes.flow.wait import wait

NOW = datetime(2031, 5, 4, 9, 0, 0, 500_000, tzinfo=UTC)
NOW_MS = 1_935_651_600_500


@pytest.mark.parametrize(
    ("config", "until"),
    [
        ({"for": "1m30s"}, NOW_MS + 90_000),
        ({"for": 0.25}, NOW_MS + 250),
        ({"for": "366d"}, NOW_MS + 366 * 86_400_000),
        ({"until": NOW_MS + 1}, NOW_MS + 1),
        ({"until": "2031-05-04T09:00:01Z"}, NOW_MS + 500),
        ({"until": "2031-05-04t11:00:01.25+02:00"}, NOW_MS + 750),
        ({"until": "2031-05-04 07:00:01-02:00"}, NOW_MS + 500),
    ],
)
async def test_it_waits_until_the_time_has_come(config: dict[str, Any], until: int) -> None:
    outcome = await run_node(wait, config, now=NOW)
    assert (outcome.kind, outcome.until) == ("wait", until)
    assert isinstance(outcome.value, dict)
    assert str(outcome.value["until"]).endswith("Z")


@pytest.mark.parametrize(
    "config", [{"for": 0}, {"until": 0}, {"until": NOW_MS}, {"until": "1999-12-31T23:59:59Z"}]
)
async def test_a_time_that_has_passed_holds_nothing_up(config: dict[str, Any]) -> None:
    assert (await run_node(wait, config, now=NOW)).kind == "output"


async def test_the_output_tells_until_when() -> None:
    outcome = await run_node(wait, {"for": "1s"}, now=NOW)
    assert outcome.value == {"until": "2031-05-04T09:00:01.500Z"}


async def test_a_time_more_than_a_year_away_is_refused() -> None:
    outcome = await run_node(wait, {"until": NOW_MS + 367 * 86_400_000}, now=NOW)
    assert outcome.code == "wait.too_long"


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"for": 1, "until": 1},
        {"for": None},
        {"for": -1},
        {"for": "367d"},
        {"for": "soon"},
        {"for": "5"},
        {"until": -1},
        {"until": True},
        {"until": "2031-05-04T09:00:01"},
        {"until": "2031-05-04"},
        {"until": "2031-13-04T09:00:01Z"},
        {"event": {"type": "a b"}},
        {"event": {"type": "a", "correlation": 1.5}},
        {"event": {"type": "a", "correlation": "x" * 401}},
        {"event": {"type": "a"}, "callback": True},
        {"callback": False},
        {"for": 1, "timeout": 2},
        {"any_of": []},
        {"any_of": [{"name": "a"}]},
        {"any_of": [{"name": "a", "for": 1, "callback": True}]},
        {"any_of": [{"name": "a", "for": 1}, {"name": "a", "for": 2}]},
        {"any_of": [{"name": "error", "for": 1}]},
        {"any_of": [{"name": "a", "for": 1}], "timeout": 2},
    ],
)
async def test_what_names_no_time_is_refused(config: dict[str, Any]) -> None:
    assert (await run_node(wait, config, now=NOW)).code == "node.config_invalid"


def test_it_ends_its_segment() -> None:
    assert wait.waits


async def waits(config: dict[str, Any]) -> Wait:
    outcome = await run_node(wait, config, now=NOW)
    assert outcome.wait is not None, outcome.error
    return outcome.wait


async def test_it_listens_to_an_event_for_ever_or_until_a_time() -> None:
    assert await waits({"event": {"type": "a", "correlation": 7}}) == Wait(None, None, (OnEvent("a", "7"),))
    timed = await waits({"event": {"type": "a", "lookback": "1m", "transient": True}, "timeout": "1m"})
    assert timed.signals == (OnEvent("a", "", NOW_MS - 60_000, transient=True),)
    assert (timed.until, timed.port) == (NOW_MS + 60_000, "timeout")
    assert timed.value == {"name": "timeout", "payload": None, "at": "2031-05-04T09:01:00.500Z"}


async def test_it_waits_for_a_call() -> None:
    assert (await waits({"callback": True})).signals == (OnCallback(),)


async def test_of_several_times_the_earliest_counts() -> None:
    config: dict[str, Any] = {
        "any_of": [
            {"name": "far", "for": "2h"},
            {"name": "near", "until": NOW_MS + 5},
            {"name": "paid", "event": {"type": "paid"}},
            {"name": "called", "callback": True},
        ]
    }
    found = await waits(config)
    assert (found.until, found.port) == (NOW_MS + 5, "near")
    assert found.signals == (OnEvent("paid", name="paid"), OnCallback("called"))
    assert wait.ports_of(config) == ("far", "near", "paid", "called")


async def test_several_signals_may_wait_for_ever() -> None:
    assert (await waits({"any_of": [{"name": "called", "callback": True}]})).until is None


def test_a_timeout_has_a_port() -> None:
    assert wait.ports_of({"callback": True, "timeout": "{{ t }}"}) == ("out", "timeout")
    assert wait.ports_of({"callback": True}) == wait.ports_of({"for": 1}) == ("out",)
