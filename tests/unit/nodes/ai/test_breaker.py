from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from celeriac import Fail, TryAgain, Uncertain
from celeriac.testing import run_node
from engine.outside.egress import OpenLink
from nodes.ai.ai_call import ai_call
from nodes.ai.models.breaker import FAILURES, REST, Breaker
from tests.loopback import Server, always, answer, serving
from tests.models import chat

DOWN = TryAgain("ai.overloaded", "busy")


class Hands:
    """A clock that stands still."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def ask(breaker: Breaker, comes_to: Exception | None = None, place: str = "host:443") -> None:
    with breaker.watching(place):
        if comes_to is not None:
            raise comes_to


def failing(breaker: Breaker, times: int, error: Exception = DOWN) -> None:
    for _ in range(times):
        with pytest.raises(type(error)):
            ask(breaker, error)


def test_who_does_not_answer_a_few_times_in_a_row_is_left_alone_for_a_while() -> None:
    clock = Hands()
    breaker = Breaker(clock)
    failing(breaker, FAILURES - 1)
    ask(breaker)
    failing(breaker, FAILURES)
    clock.now = REST - 1.5
    with pytest.raises(TryAgain) as refused:
        ask(breaker)
    assert (refused.value.code, refused.value.after) == ("ai.resting", 1.5)
    ask(breaker, place="another:443")


def test_after_that_one_call_tries_it_and_the_others_go_on_waiting() -> None:
    clock = Hands()
    breaker = Breaker(clock)
    failing(breaker, FAILURES)
    clock.now = REST
    with breaker.watching("host:443"), pytest.raises(TryAgain, match="not asked"):
        ask(breaker)
    ask(breaker)


def test_a_trial_that_fails_is_another_rest() -> None:
    clock = Hands()
    breaker = Breaker(clock)
    failing(breaker, FAILURES)
    clock.now = REST
    failing(breaker, 1)
    clock.now = 2 * REST - 1
    with pytest.raises(TryAgain, match="not asked for 1 s"):
        ask(breaker)


@pytest.mark.parametrize(
    "error", [Fail("ai.unauthorized", "no"), TryAgain("ai.rate_limited", "slowly"), ValueError("ours")]
)
def test_whoever_answers_is_there_whatever_the_answer(error: Exception) -> None:
    breaker = Breaker(Hands())
    failing(breaker, FAILURES - 1, Uncertain("ai.timeout", "late"))
    failing(breaker, 1, error)
    failing(breaker, FAILURES - 1)
    ask(breaker)


async def test_a_server_that_is_down_is_not_asked_any_more_and_the_fallback_is_at_once(
    link: Callable[[Server], OpenLink],
) -> None:
    busy = answer(json.dumps({"error": {"message": "x"}}), "503 Service Unavailable")
    codes = []
    async with serving(always(busy)) as down, serving(always(chat("Hi"))) as up:
        for _ in range(FAILURES + 3):
            outcome = await run_node(
                ai_call,
                {"model": "claude-opus-5-5", "prompt": "x", "fallback": ["gpt-4"]},
                connections={"anthropic": link(down), "openai": link(up)},
            )
            assert isinstance(outcome.value, dict)
            assert outcome.value["text"] == "Hi"
            codes += [each.fields["code"] for each in outcome.lines]
    assert len(down.asked) == FAILURES
    assert codes == ["ai.overloaded"] * FAILURES + ["ai.resting"] * 3
