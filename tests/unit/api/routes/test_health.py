from __future__ import annotations

from tests.unit.api.conftest import Api


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
