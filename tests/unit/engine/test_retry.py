from __future__ import annotations

from typing import Any

import pytest

from celeriac import NodeError
from engine.definition import RetryPolicy
from engine.retry import delay, selects

ERROR = NodeError("http.timeout", "It took too long.", kinds=("ReadTimeout", "TimeoutError"))


def policy(**more: Any) -> RetryPolicy:
    return RetryPolicy(**{"max_attempts": 5, "jitter": 0.0, **more})


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [("constant", [2, 2, 2]), ("linear", [2, 4, 6]), ("exponential", [2, 6, 18])],
)
def test_the_pause_grows_as_the_author_says(backoff: Any, delays: list[float]) -> None:
    given = policy(delay=2.0, factor=3.0, backoff=backoff)
    assert [delay(given, attempt, ERROR, 0, 0) for attempt in (1, 2, 3)] == delays


def test_a_pause_is_never_longer_than_its_limit() -> None:
    assert delay(policy(max_attempts=5000, max_delay=7.0), 900, ERROR, 0, 0) == 7


def test_an_exponential_pause_of_ever_so_many_attempts_is_the_longest_one() -> None:
    assert delay(policy(max_attempts=100_000, max_delay=7.0), 99_999, ERROR, 0, 0) == 7


def test_a_draw_shortens_the_pause_by_at_most_the_jitter() -> None:
    given = policy(delay=10.0, jitter=0.5)
    assert [delay(given, 1, ERROR, 0, draw) for draw in (0.0, 0.5, 0.75)] == [10.0, 7.5, 6.25]


def test_the_last_attempt_is_the_last() -> None:
    assert delay(policy(max_attempts=3), 2, ERROR, 0, 0) is not None
    assert delay(policy(max_attempts=3), 3, ERROR, 0, 0) is None
    assert delay(RetryPolicy(), 1, ERROR, 0, 0) is None


def test_a_time_that_the_other_side_asks_for_is_kept_even_beyond_the_longest_pause() -> None:
    asked = NodeError("http.busy", "Later.", retry_after=90.0)
    assert delay(policy(max_delay=7.0), 1, asked, 0, 0) == 90
    assert delay(policy(delay=100.0, max_delay=100.0), 1, asked, 0, 0) == 100
    assert delay(policy(retry_after=False), 1, asked, 0, 0) == 1


def test_no_attempt_begins_after_all_of_them_should_have_ended() -> None:
    given = policy(delay=4.0, backoff="constant", max_duration=10.0)
    assert [delay(given, 1, ERROR, elapsed, 0) for elapsed in (6.0, 6.001)] == [4.0, None]


@pytest.mark.parametrize(
    ("on", "excluding", "expected"),
    [
        ((), (), True),
        (("*",), (), True),
        (("http.timeout",), (), True),
        (("http.*",), (), True),
        (("TimeoutError",), (), True),
        (("http",), (), False),
        (("htt.*",), (), False),
        (("http.timeouts",), (), False),
        (("*",), ("http.timeout",), False),
        (("http.timeout",), ("http.*",), False),
        (("http.timeout",), ("TimeoutError",), False),
        ((), ("smtp.*",), True),
    ],
)
def test_an_error_is_repeated_when_it_is_named_and_not_excluded(
    on: tuple[str, ...], excluding: tuple[str, ...], expected: bool
) -> None:
    assert selects(policy(on=on, excluding=excluding), ERROR) is expected
    assert (delay(policy(on=on, excluding=excluding), 1, ERROR, 0, 0) is not None) is expected


@pytest.mark.parametrize("code", ["expression.unknown_name", "node.config_invalid", "node.output_too_large"])
def test_what_comes_out_the_same_every_time_is_repeated_only_when_it_is_named(code: str) -> None:
    assert not selects(policy(), NodeError(code, "x"))
    assert selects(policy(on=("*",)), NodeError(code, "x"))
