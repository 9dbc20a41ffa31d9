from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest

from api import problems
from celeriac import Fail
from engine.admission import InputInvalid, KeyReused
from engine.errors import (
    CeleriacError,
    Conflict,
    Misconfigured,
    NotFound,
    SchemaTooNew,
    TooLarge,
    Unavailable,
)
from tests.unit.api.conftest import Api


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound(), 404),
        (Conflict(), 409),
        (KeyReused(), 422),
        (InputInvalid(), 422),
        (TooLarge(), 413),
        (Unavailable(), 503),
        (SchemaTooNew(), 503),
        (Misconfigured(), 500),
        (CeleriacError(), 500),
    ],
)
def test_each_family_of_errors_has_its_status(error: CeleriacError, status: int) -> None:
    assert problems.status_of(error) == HTTPStatus(status)


async def test_a_refusal_has_code_reason_remedy_and_id(api: Api) -> None:
    answer = await api.get("/workflows/nope")
    assert answer.headers["content-type"] == problems.MEDIA_TYPE
    assert answer.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "code": "request.not_found",
        "detail": "There is no workflow 'nope'.",
        "hint": "celeriac workflows list shows what there is.",
        "request_id": answer.headers["x-request-id"],
    }


async def test_a_route_that_is_not_there_and_a_method_that_is_not_offered_are_told(api: Api) -> None:
    missing, wrong = await api.get("/nothing"), await api.http.put("/api/v1/workflows")
    assert (missing.status_code, missing.json()["code"]) == (404, "request.no_such_route")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "request.method_not_allowed")


async def test_a_parameter_that_is_not_accepted_is_named(api: Api) -> None:
    answer = await api.get("/executions", params={"limit": "many", "status": "happy"})
    assert answer.status_code == 422
    assert [each["parameter"] for each in answer.json()["errors"]] == ["status", "limit"]


async def test_a_mistake_of_the_server_tells_nothing_but_the_id(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr("engine.workflow_queries.workflows", broken)
    answer = await api.get("/workflows")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal.error")
    assert "hunter2" not in answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_what_may_pass_says_when_to_come_back(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise Unavailable("The database cannot be reached.")

    monkeypatch.setattr("engine.workflow_queries.workflows", away)
    answer = await api.get("/workflows")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_a_failure_in_a_nodes_words_is_told_with_them(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any, **__: Any) -> Any:
        raise Fail("connection.unknown", "There is no such connection.", {"connection": "x"})

    monkeypatch.setattr("engine.workflow_queries.workflows", failing)
    answer = await api.get("/workflows")
    assert (answer.status_code, answer.json()["code"], answer.json()["details"]) == (
        422,
        "connection.unknown",
        {"connection": "x"},
    )
