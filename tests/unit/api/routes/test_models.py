from __future__ import annotations

from typing import Any

import pytest

from celeriac.usage import Model
from engine import models
from tests.unit.api.conftest import Api

OWN = {
    "provider": "openai",
    "model": "llama3.2",
    "connection": "ollama",
    "input_cost_per_1k_tokens": 0.001,
    "output_cost_per_1k_tokens": 0.002,
    "max_tokens": 131_072,
    "capabilities": ["chat"],
}


async def names(api: Api, path: str = "/models") -> list[str]:
    return [each["id"] for each in (await api.get(path)).json()["data"]]


async def test_the_models_of_this_machine_are_always_listed(api: Api) -> None:
    assert await names(api) == ["local/smollm2", "local/minilm"]


async def test_what_everybody_knows_is_listed_on_demand_with_its_price(api: Api) -> None:
    found = {each["id"]: each for each in (await api.get("/models?all=true")).json()["data"]}
    assert found["gpt-4"] == {
        "id": "gpt-4",
        "name": "gpt 4",
        "provider": "openai",
        "model": "gpt-4",
        "connection": "openai",
        "cost_per_1k_tokens": 0.06,
        "input_cost_per_1k_tokens": 0.03,
        "output_cost_per_1k_tokens": 0.06,
        "max_tokens": 8192,
        "capabilities": ["chat"],
        "own": False,
    }
    assert found["text-embedding-3-small"]["capabilities"] == ["embed"]
    assert {each["provider"] for each in found.values()} == {"openai", "anthropic", "local"}


async def test_a_model_is_entered_listed_and_forgotten(api: Api) -> None:
    entered = await api.http.put("/api/v1/models/team/fast", json=OWN)
    assert (entered.status_code, entered.json()["id"], entered.json()["cost_per_1k_tokens"]) == (
        200,
        "team/fast",
        0.002,
    )
    assert await names(api) == ["team/fast", "local/smollm2", "local/minilm"]
    assert models.find(api.bench.connection, "team/fast") == Model(
        "team/fast", "openai", "llama3.2", "ollama"
    )
    await api.http.put("/api/v1/models/team/fast", json={**OWN, "model": "llama4"})
    assert models.find(api.bench.connection, "team/fast") == Model("team/fast", "openai", "llama4", "ollama")
    assert (await api.http.delete("/api/v1/models/team/fast")).status_code == 204
    assert (await api.http.delete("/api/v1/models/team/fast")).status_code == 404
    assert models.find(api.bench.connection, "team/fast") is None


async def test_the_price_of_a_known_model_can_be_entered(api: Api) -> None:
    await api.http.put("/api/v1/models/gpt-4", json={**OWN, "model": "gpt-4"})
    found = [each for each in (await api.get("/models?all=true")).json()["data"] if each["id"] == "gpt-4"]
    assert [each["own"] for each in found] == [True]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("fast", {}),
        ("fast", {"provider": "magic"}),
        ("fast", {"provider": "openai", "price": 1}),
        ("fast", {"provider": "openai", "model": ""}),
        ("fast", {"provider": "openai", "connection": 5}),
        ("fast", {"provider": "openai", "input_cost_per_1k_tokens": 1}),
        ("fast", {"provider": "openai", "input_cost_per_1k_tokens": -1, "output_cost_per_1k_tokens": 1}),
        ("fast", {"provider": "openai", "input_cost_per_1k_tokens": True, "output_cost_per_1k_tokens": 1}),
        ("fast", {"provider": "openai", "max_tokens": 0}),
        ("fast", {"provider": "openai", "capabilities": "chat"}),
        ("fast", []),
        ("a%20b", {"provider": "openai"}),
        ("x" * 201, {"provider": "openai"}),
    ],
)
async def test_what_is_no_model_is_refused(api: Api, name: str, body: Any) -> None:
    assert (await api.http.put(f"/api/v1/models/{name}", json=body)).status_code == 422
