from __future__ import annotations

from typing import Any

import pytest

from celeriac.usage import Usage
from engine.settings import DEFAULT_PROJECT
from engine.spending import Payer, begin, begin_of, settle
from tests.builders import node
from tests.unit.api.conftest import Api


async def spend(
    api: Api, execution: str, model: str = "gpt-4", node_: str = "n", *, used: Usage | None = None
) -> None:
    """Let a node of an execution call a model."""
    (workflow,) = api.bench.query("SELECT workflow_id FROM execution WHERE id = ?", execution)[0]
    payer = Payer(DEFAULT_PROJECT, workflow, execution, node_, "")
    name, now = api.bench.clock.mint("use"), api.bench.clock.now()
    called = api.bench.ask(
        lambda connection: begin(connection, payer, name, "openai", model, Usage(100, 100), now)
    )
    if used is not None:
        api.bench.ask(lambda connection: settle(connection, called, used))


async def started(api: Api) -> str:
    await api.push(node("n"), name="asks")
    return await api.execute(workflow="asks")


async def put(api: Api, scope: str, **body: Any) -> Any:
    return await api.http.put(f"/api/v1/budgets/{scope}", json=body)


async def test_a_budget_is_set_listed_changed_and_lifted(api: Api) -> None:
    await started(api)
    assert (await api.get("/budgets")).json()["data"] == []
    answer = await put(api, "project", usd=50)
    assert answer.json() == {
        "scope": "project",
        "period": "month",
        "since": begin_of("month", answer.json()["since"]),
        "usd": 50,
        "tokens": None,
        "spent_usd": 0,
        "spent_tokens": 0,
    }
    await put(api, "workflow:asks", tokens=10, period="total")
    await put(api, "asks", tokens=20, period="day")
    listed = (await api.get("/budgets")).json()["data"]
    assert [(each["scope"], each["usd"], each["tokens"]) for each in listed] == [
        ("project", 50, None),
        ("workflow:asks", None, 20),
    ]
    assert (await api.http.delete("/api/v1/budgets/asks")).status_code == 204
    assert (await api.http.delete("/api/v1/budgets/asks")).status_code == 404
    assert (await api.http.delete("/api/v1/budgets/project")).status_code == 204


async def test_what_was_spent_before_counts(api: Api) -> None:
    name = await started(api)
    await spend(api, name, used=Usage(1000, 0))
    await spend(api, name)
    answer = (await put(api, "project", usd=1, tokens=5000, period="total")).json()
    assert (answer["spent_usd"], answer["spent_tokens"]) == (0.039, 1200)
    answer = (await put(api, "asks", usd=1, period="day")).json()
    assert answer["spent_usd"] in (0.039, 0)  # the hand's clock and the API's may stand in different days


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"usd": -1},
        {"usd": "1"},
        {"usd": True},
        {"tokens": 1.5},
        {"tokens": True},
        {"usd": 1, "period": "year"},
        {"usd": 1, "per": "day"},
    ],
)
async def test_what_is_no_budget_is_refused(api: Api, body: dict[str, Any]) -> None:
    assert (await put(api, "project", **body)).status_code == 422


async def test_a_budget_of_no_workflow_is_refused(api: Api) -> None:
    assert (await put(api, "nobody", usd=1)).status_code == 404


async def test_what_an_execution_used_is_shown_with_it(api: Api) -> None:
    name = await started(api)
    assert "usage" not in (await api.get(f"/executions/{name}")).json()
    await spend(api, name, used=Usage(10, 20, 5))
    await spend(api, name, "mystery", "other")
    assert (await api.get(f"/executions/{name}")).json()["usage"] == {
        "calls": 2,
        "input_tokens": 110,
        "output_tokens": 120,
        "cached_tokens": 5,
        "cost_usd": pytest.approx(0.0015, abs=1e-4),
        "unsettled": 1,
        "without_price": 1,
        "nodes": {
            "n": {
                "calls": 1,
                "input_tokens": 10,
                "output_tokens": 20,
                "cached_tokens": 5,
                "cost_usd": pytest.approx(0.0015, abs=1e-4),
            },
            "other": {
                "calls": 1,
                "input_tokens": 100,
                "output_tokens": 100,
                "cached_tokens": 0,
                "cost_usd": None,
                "unsettled": 1,
                "without_price": 1,
            },
        },
    }


async def test_usage_is_summed_up_by_workflow_and_model(api: Api) -> None:
    name = await started(api)
    await spend(api, name, used=Usage(10, 20))
    await spend(api, name, used=Usage(10, 20))
    await spend(api, name, "gpt-4o-mini", used=Usage(1, 1))
    found = (await api.get("/usage?since=0")).json()["data"]
    assert [(each["workflow"], each["model"], each["calls"], each["input_tokens"]) for each in found] == [
        ("asks", "gpt-4", 2, 20),
        ("asks", "gpt-4o-mini", 1, 1),
    ]
    assert (await api.get("/usage?since=0&until=1")).json()["data"] == []
    assert (await api.get("/usage?since=-1")).status_code == 422
