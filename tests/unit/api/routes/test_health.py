from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.errors import Unavailable
from engine.gauges import gauges
from tests.builders import node
from tests.unit.api.conftest import Api
from tests.unit.api.people import user

PAGE = (Path(__file__).parents[4] / "docs" / "operations.md").read_text(encoding="utf-8")
NAMED = {
    name + more
    for name in re.findall(r"^\| `(celeriac_\w+)`", PAGE, re.MULTILINE)
    for more in ("", "_bucket", "_count", "_sum", "_created")
}
"""The samples that the page of operations explains."""


async def test_a_process_that_answers_lives(api: Api) -> None:
    assert (await api.http.get("/healthz")).json() == {"status": "ok"}


async def test_readiness_tells_what_can_be_reached(api: Api) -> None:
    answer = await api.http.get("/readyz")
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "ready", "checks": {"database": "ok", "broker": "ok"}},
    )


async def test_a_schema_that_does_not_fit_is_a_reason_not_to_be_ready(api: Api) -> None:
    api.bench.connection.run("UPDATE alembic_version SET version_num = '9999'")
    answer = await api.http.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
    assert answer.json()["checks"]["database"].startswith("The database is at schema 9999")


async def test_health_tells_how_the_work_stands_to_who_may_know(api: Api) -> None:
    await api.push(node("a"), queue="cpu")
    await api.execute()
    found = (await api.http.get("/health")).json()
    assert (found["status"], found["services"]) == ("healthy", {"database": "up", "broker": "up"})
    assert found["queues"]["cpu"]["ready"] == 1
    assert (await api.http.get("/health", headers={"Authorization": ""})).status_code == 401
    anybody = await user(api, "ann")
    for path in ("/health", "/metrics"):
        answer = await api.http.get(path, headers={"Authorization": f"Bearer {anybody.token}"})
        assert (answer.status_code, answer.json()["code"]) == (403, "request.forbidden")


async def test_what_nobody_takes_up_and_what_waits_for_a_person_is_degraded(api: Api) -> None:
    await api.push(node("a"), node("b"))
    api.doubt(await api.execute())
    late = await api.execute()
    api.bench.query("UPDATE segment SET due = due - 60000 WHERE execution_id = ? AND segment = 0", late)
    found = (await api.http.get("/health")).json()
    assert (found["status"], found["overdue"], found["attention"]) == ("degraded", 1, 1)


async def test_what_cannot_be_reached_is_unhealthy(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Any:
        raise Unavailable("The database cannot be reached.")

    monkeypatch.setattr("api.metrics.gauges", away)
    answer = await api.http.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "unhealthy")
    assert answer.json()["services"] == {"database": "down", "broker": "up"}
    text = (await api.http.get("/metrics")).text
    assert "celeriac_database_up 0.0" in text
    assert "celeriac_segments" not in text


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (each.name, frozenset(each.labels.items())): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


async def test_prometheus_is_told_of_requests_and_of_the_work(api: Api) -> None:
    await api.push(node("a"), queue="cpu")
    await api.execute()
    for _ in range(3):
        await api.get("/workflows/w")
    await api.get("/workflows/nope")
    await api.http.post("/webhooks/nowhere", json={})
    await api.get("/nothing")
    answer = await api.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = samples(answer.text)

    def of(name: str, **labels: str) -> float:
        return found[name, frozenset(labels.items())]

    assert of("celeriac_http_requests_total", operation="workflow", status="200") == 3
    assert of("celeriac_http_requests_total", operation="workflow", status="404") == 1
    assert of("celeriac_http_requests_total", operation="arrive", status="404") == 1
    assert of("celeriac_http_requests_total", operation="other", status="404") == 1
    assert of("celeriac_http_request_seconds_count", operation="workflow") == 4
    assert of("celeriac_http_request_seconds_bucket", operation="workflow", le="+Inf") == 4
    assert of("celeriac_segments", queue="cpu", status="ready") == 1
    assert of("celeriac_queue_messages", queue="default") >= 0
    assert (of("celeriac_database_up"), of("celeriac_broker_up"), of("celeriac_sockets")) == (1, 1, 0)
    assert {name for name, _ in found} <= NAMED


async def test_however_often_somebody_scrapes_the_database_is_asked_once(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    def counted(*arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        return gauges(*arguments)

    monkeypatch.setattr("api.metrics.gauges", counted)
    await asyncio.gather(*(api.http.get("/metrics") for _ in range(5)), api.http.get("/health"))
    assert asked == 1
    api.guard.metrics._looked -= 6
    await api.http.get("/metrics")
    assert asked == 2


async def test_a_very_long_backlog_is_counted_to_a_limit(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.push(node("a"))
    for _ in range(4):
        await api.execute()
    for most, shown in ((4, 4), (3, 3)):
        monkeypatch.setattr("engine.gauges.MOST", most)
        found = gauges(api.bench.connection, api.bench.clock.now())
        assert (found.segments["default", "ready"], found.overdue) == (shown, shown)
