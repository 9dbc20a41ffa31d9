from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from celeriac import Context, Effect, Fail, Json, TryAgain, Uncertain
from celeriac.usage import Usage
from engine.definition import Allowance
from engine.registry import Registry
from engine.settings import DEFAULT_PROJECT
from engine.spending import Budget, Called, Payer, begin, begin_of, settle
from nodes import NODE_TYPES
from nodes.flow.workflow import workflow
from tests.builders import document
from tests.builders import node as vertex
from tests.people import asked, decide
from tests.theatre import REGISTRY, Stage, Theatre
from tests.workbench import NOW, Workbench

NODE_TYPES_BUT_NOOP = [each for each in NODE_TYPES if each.name != "noop"]
PAYER = Payer(DEFAULT_PROJECT, "wf_1", "exec_1", "ask", "", {"execution:exec_1": Allowance(tokens=10_000)})
GPT4 = 30_000
"""Billionths of a dollar for a token that goes in; one that comes out costs twice as much."""


def budgeted(
    bench: Workbench, scope: str, cost: int | None = None, tokens: int | None = None, **more: Any
) -> None:
    row = {"period": "total", "since": 0, "cost": 0, "tokens": 0, **more}
    bench.ask(
        lambda connection: connection.run(
            "INSERT INTO budget (project_id, scope, period, most_cost, most_tokens, since, cost, tokens) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (DEFAULT_PROJECT, scope, row["period"], cost, tokens, row["since"], row["cost"], row["tokens"]),
        )
    )


def begun(bench: Workbench, most: Usage, model: str = "gpt-4", now: int = NOW) -> Called | Fail:
    name = bench.clock.mint("use")
    found: Called | Fail = bench.step(
        lambda connection: begin(connection, PAYER, name, "openai", model, most, now)
    )[0]
    return found


def settled(bench: Workbench, called: Called | Fail, used: Usage | None) -> int | None:
    assert isinstance(called, Called)
    found: int | None = bench.ask(lambda connection: settle(connection, called, used))
    return found


def spent(bench: Workbench, scope: str = "%") -> list[tuple[Any, ...]]:
    return bench.query("SELECT scope, cost, tokens FROM budget WHERE scope LIKE ? ORDER BY scope", scope)


def usage(bench: Workbench) -> list[tuple[Any, ...]]:
    return bench.query("SELECT model, input_tokens, output_tokens, cost, settled FROM usage ORDER BY id")


def test_a_call_is_noted_before_with_its_most_and_after_with_what_it_used(bench: Workbench) -> None:
    called = begun(bench, Usage(100, 50))
    assert usage(bench) == [("gpt-4", 100, 50, 200 * GPT4, 0)]
    assert settled(bench, called, Usage(80, 10)) == 100 * GPT4
    assert usage(bench) == [("gpt-4", 80, 10, 100 * GPT4, 1)]


def test_a_call_that_came_to_nothing_is_forgotten(bench: Workbench) -> None:
    budgeted(bench, "project", 1000 * GPT4)
    settled(bench, begun(bench, Usage(100, 50)), None)
    assert (usage(bench), spent(bench, "project")) == ([], [("project", 0, 0)])


def test_every_budget_around_a_call_counts_it(bench: Workbench) -> None:
    for scope in ("project", "workflow:wf_1", "execution:exec_1", "workflow:wf_2"):
        budgeted(bench, scope, 1000 * GPT4)
    called = begun(bench, Usage(100, 50))
    mine = [("execution:exec_1",), ("project",), ("workflow:wf_1",)]
    assert spent(bench) == [*((*each, 200 * GPT4, 150) for each in mine), ("workflow:wf_2", 0, 0)]
    settled(bench, called, Usage(80, 10))
    assert spent(bench) == [*((*each, 100 * GPT4, 90) for each in mine), ("workflow:wf_2", 0, 0)]


@pytest.mark.parametrize(
    ("cost", "tokens", "allowed"),
    [
        (200 * GPT4, None, True),
        (200 * GPT4 - 1, None, False),
        (None, 150, True),
        (None, 149, False),
        (200 * GPT4, 150, True),
        (0, None, False),
    ],
)
def test_a_call_that_may_cost_more_than_is_left_does_not_begin(
    bench: Workbench, cost: int | None, tokens: int | None, allowed: bool
) -> None:
    budgeted(bench, "execution:exec_1", cost, tokens)
    found = begun(bench, Usage(100, 50))
    assert isinstance(found, Called) == allowed
    if isinstance(found, Fail):
        assert found.code == "budget.exceeded"
        assert "The budget of the execution has" in found.message
        assert (usage(bench), spent(bench)[0][1:]) == ([], (0, 0))


def test_what_is_under_way_counts_with_the_most_it_may_cost(bench: Workbench) -> None:
    budgeted(bench, "project", tokens=250)
    first = begun(bench, Usage(100, 50))
    assert isinstance(begun(bench, Usage(100, 50)), Fail)
    settled(bench, first, Usage(80, 10))
    assert isinstance(begun(bench, Usage(100, 50)), Called)


def test_what_nobody_knows_the_price_of_is_not_paid_from_money(bench: Workbench) -> None:
    budgeted(bench, "project", 1000 * GPT4)
    found = begun(bench, Usage(1), "mystery")
    assert isinstance(found, Fail)
    assert found.code == "budget.price_unknown"
    bench.ask(
        lambda connection: connection.run(
            "INSERT INTO model (project_id, id, body, updated_at) VALUES (?, ?, ?, ?)",
            (
                DEFAULT_PROJECT,
                "mystery",
                json.dumps({"input_cost_per_1k_tokens": 0.01, "output_cost_per_1k_tokens": 0.02}),
                0,
            ),
        )
    )
    called = begun(bench, Usage(100, 100), "mystery")
    assert settled(bench, called, Usage(100, 50)) == 2_000_000


def test_tokens_are_counted_whatever_the_price(bench: Workbench) -> None:
    budgeted(bench, "project", tokens=10)
    assert isinstance(begun(bench, Usage(10), "mystery"), Called)
    assert usage(bench) == [("mystery", 10, 0, None, 0)]


DAY = int(datetime(2030, 3, 17, tzinfo=UTC).timestamp() * 1000)
MONTH = int(datetime(2030, 3, 1, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("now", "day", "month"),
    [
        (DAY, DAY, MONTH),
        (DAY + 86_399_999, DAY, MONTH),
        (MONTH, MONTH, MONTH),
    ],
)
def test_periods_begin_at_midnight_in_utc(now: int, day: int, month: int) -> None:
    assert (begin_of("day", now), begin_of("month", now), begin_of("total", now)) == (day, month, 0)


def test_another_period_begins_with_nothing_spent(bench: Workbench) -> None:
    budgeted(bench, "project", tokens=150, period="day", since=DAY)
    first = begun(bench, Usage(100, 50), now=DAY + 1)
    assert isinstance(begun(bench, Usage(1), now=DAY + 2), Fail)
    second = begun(bench, Usage(100), now=DAY + 86_400_000)
    assert spent(bench, "project") == [("project", 100 * GPT4, 100)]
    settled(bench, first, Usage(1))  # of yesterday, which nobody counts any more
    assert spent(bench, "project") == [("project", 100 * GPT4, 100)]
    settled(bench, second, Usage(40))
    assert spent(bench, "project") == [("project", 40 * GPT4, 40)]


def test_a_clock_that_went_back_begins_no_period() -> None:
    budget = Budget("project", "day", None, 5, DAY + 86_400_000, 1, 1)
    assert budget.at(DAY) == budget


# In an execution


ASK = document([vertex("ask", "read")], outputs="{{ nodes.ask.output }}")


async def paid(ctx: Context, outcome: BaseException | None = None) -> Json:
    async def call() -> tuple[Json, Usage]:
        if outcome is not None:
            raise outcome
        return "answer", Usage(80, 10)

    async def once(_: str) -> Json:
        return await ctx.pay("openai", "gpt-4", Usage(100, 50), call)

    return await ctx.step("answer", Effect.READ, once)


async def test_what_a_node_pays_is_in_the_history_of_its_execution(at: Theatre, stage: Stage) -> None:
    stage.tell("ask", paid)
    name = await at.run(ASK)
    assert at.output(name) == "answer"
    (event,) = [each for each in at.events(name) if each[0] == "node.paid"]
    assert event[1] == "ask"
    assert event[3] == {
        "provider": "openai",
        "model": "gpt-4",
        "input_tokens": 80,
        "output_tokens": 10,
        "cached_tokens": 0,
        "cost_usd": 0.003,
    }
    assert at.query("SELECT execution_id, node, item, settled FROM usage") == [(name, "ask", "", 1)]


async def test_a_call_that_came_to_nothing_costs_nothing(at: Theatre, stage: Stage) -> None:
    stage.tell("ask", lambda ctx: paid(ctx, TryAgain("ai.rate_limited", "Later.")))
    name = await at.run(ASK)
    assert at.query("SELECT id FROM usage") == []
    assert "node.paid" not in at.kinds(name)


async def test_a_call_whose_answer_got_lost_costs_the_most_it_may_have(at: Theatre, stage: Stage) -> None:
    stage.tell("ask", lambda ctx: paid(ctx, Uncertain("ai.timeout", "Lost.")))
    name = await at.run(ASK)
    assert at.query("SELECT input_tokens, output_tokens, settled FROM usage") == [(100, 50, 0)]
    (event,) = [each for each in at.events(name) if each[0] == "node.paid"]
    assert event[3]["output_tokens"] == 50


async def test_a_budget_ends_an_execution_with_its_code(at: Theatre, stage: Stage) -> None:
    budgeted(at, "project", tokens=149)
    stage.tell("ask", paid)
    name = await at.run(ASK)
    assert at.status(name) == "failed"
    assert at.error(name)["code"] == "budget.exceeded"


async def test_what_an_execution_may_spend_stands_in_its_definition(at: Theatre, stage: Stage) -> None:
    stage.tell("ask", paid)
    name = await at.run({**ASK, "definition": {**ASK["definition"], "budget": {"tokens": 149}}})
    assert (at.status(name), at.error(name)["code"]) == ("failed", "budget.exceeded")
    name = await at.run({**ASK, "definition": {**ASK["definition"], "budget": {"usd": 0.006, "tokens": 150}}})
    assert at.status(name) == "succeeded"
    assert spent(at, f"execution:{name}") == [(f"execution:{name}", 100 * GPT4, 90)]


async def test_a_node_may_limit_itself_over_all_its_attempts(at: Theatre, stage: Stage) -> None:
    async def thrifty(ctx: Context) -> Json:
        ctx.allow(None, 200)
        await paid(ctx)
        raise TryAgain("x.busy", "Not now.")

    async def again(ctx: Context) -> Json:
        ctx.allow(None, 200)
        return await ctx.pay("openai", "gpt-4", Usage(100, 50), answered)

    stage.tell("ask", thrifty, again)
    name = await at.run(document([{**vertex("ask", "read"), "retry": {"max_attempts": 2, "on": ["x.busy"]}}]))
    await at.tick(60)
    assert (at.status(name), at.error(name)["code"]) == ("failed", "budget.exceeded")
    assert "The budget of the node has 110 tokens left" in at.error(name)["message"]


async def answered() -> tuple[Json, Usage]:
    return "answer", Usage(80, 10)


async def test_what_is_called_spends_from_the_budgets_around_it(at: Theatre, stage: Stage) -> None:
    registry = Registry([*REGISTRY.everything(), workflow])
    at.programs._registry = at.registry = registry
    stage.tell("ask", paid)
    inner = {"nodes": ASK["definition"]["nodes"], "outputs": "{{ nodes.ask.output }}"}
    body = document([vertex("inner", "workflow", {"definition": inner})], budget={"tokens": 149})
    name = await at.run(body)
    assert at.status(name) == "failed"
    assert at.error(name)["details"]["error"]["code"] == "budget.exceeded"
    body["definition"]["budget"] = {"tokens": 150}
    name = await at.run(body)
    assert at.status(name) == "succeeded"
    assert spent(at, f"execution:{name}") == [(f"execution:{name}", 100 * GPT4, 90)]


async def asking(at: Theatre, stage: Stage, tokens: int) -> str:
    at.programs._registry = at.registry = Registry([*REGISTRY.everything(), *NODE_TYPES_BUT_NOOP])
    stage.tell("ask", paid)
    return await at.run(
        {**ASK, "definition": {**ASK["definition"], "budget": {"tokens": tokens, "on_exceeded": "ask"}}}
    )


async def test_people_are_asked_for_more_when_that_is_said(at: Theatre, stage: Stage) -> None:
    name = await asking(at, stage, 149)
    assert (at.status(name), asked(at)[1]) == ("waiting", f"May ask of {name} spend more on models?")
    decide(at, "approved")
    await at.tick(1)
    assert (at.status(name), at.output(name)) == ("succeeded", "answer")
    assert at.query("SELECT most_tokens, tokens, raised FROM budget") == [(298, 90, '["ask//1"]')]


async def test_when_people_refuse_the_budget_ends_the_execution(at: Theatre, stage: Stage) -> None:
    name = await asking(at, stage, 149)
    decide(at, "rejected")
    await at.tick(1)
    assert (at.status(name), at.error(name)["code"]) == ("failed", "budget.exceeded")


async def test_people_are_asked_again_as_long_as_it_is_not_enough(at: Theatre, stage: Stage) -> None:
    name = await asking(at, stage, 60)
    for _ in range(2):
        decide(at, "approved")
        await at.tick(1)
    assert at.status(name) == "succeeded"
    assert at.query("SELECT most_tokens FROM budget") == [(180,)]


async def test_a_killed_worker_pays_nothing_twice(at: Theatre, stage: Stage) -> None:
    async def dies_after(ctx: Context) -> Json:
        await paid(ctx)
        raise TryAgain("x.busy", "The machine is gone.")

    stage.tell("ask", dies_after, paid)
    body = document(
        [{**vertex("ask", "read"), "retry": {"max_attempts": 2, "on": ["x.busy"]}}],
        outputs="{{ nodes.ask.output }}",
    )
    name = await at.run(body)
    await at.tick(120)
    assert (at.status(name), at.output(name)) == ("succeeded", "answer")
    assert len(at.query("SELECT id FROM usage")) == 1
