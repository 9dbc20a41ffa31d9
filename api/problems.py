"""The one form of every refusal: `application/problem+json` (RFC 9457) with a stable code, and the remedy.

What went wrong inside is never told: a fault of the server is answered with the request's id, which the log has too.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.authentication import authenticate
from celeriac import Fail, Json
from engine.admission import KeyReused
from engine.checking.problems import Problem
from engine.errors import (
    CeleriacError,
    Conflict,
    Forbidden,
    Invalid,
    Misconfigured,
    NotFound,
    PreconditionFailed,
    RateLimited,
    SchemaMissing,
    SchemaTooNew,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class PreconditionRequired(CeleriacError):
    """Replacing the whole needs an If-Match: without it, what others have changed meanwhile would be lost unseen."""

    code = "request.precondition_required"


_STATUS: tuple[tuple[type[CeleriacError], HTTPStatus], ...] = (
    (KeyReused, HTTPStatus.UNPROCESSABLE_ENTITY),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Unauthenticated, HTTPStatus.UNAUTHORIZED),
    (Forbidden, HTTPStatus.FORBIDDEN),
    (RateLimited, HTTPStatus.TOO_MANY_REQUESTS),
    (Conflict, HTTPStatus.CONFLICT),
    (PreconditionFailed, HTTPStatus.PRECONDITION_FAILED),
    (PreconditionRequired, HTTPStatus.PRECONDITION_REQUIRED),
    (TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (Invalid, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (SchemaMissing, HTTPStatus.SERVICE_UNAVAILABLE),
    (SchemaTooNew, HTTPStatus.SERVICE_UNAVAILABLE),
    (Misconfigured, HTTPStatus.INTERNAL_SERVER_ERROR),
)
"""Families of errors in the order in which they are tried."""


class DefinitionInvalid(Invalid):
    """The definition has mistakes."""

    code = "definition.invalid"

    def __init__(self, found: Sequence[Problem]) -> None:
        count = "one mistake" if len(found) == 1 else f"{len(found)} mistakes"
        errors: list[Json] = [each.to_json() for each in found]
        super().__init__(f"The definition has {count}; nothing was saved.", errors=errors)


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    hint: str | None = None,
    request_id: str = "",
    more: Mapping[str, Json] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer that refuses."""
    body: dict[str, Json] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if hint:
        body["hint"] = hint
    body |= {**(more or {}), "request_id": request_id}
    return Response(json.dumps(body), status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Give an application this way of refusing."""
    app.add_exception_handler(CeleriacError, _celeriac)
    app.add_exception_handler(Fail, _fail)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(Exception, _internal)


def status_of(error: CeleriacError) -> HTTPStatus:
    """Return the status that an error's family has."""
    for family, status in _STATUS:
        if isinstance(error, family):
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR


async def _celeriac(request: Request, error: Any) -> Response:
    status = status_of(error)
    headers: dict[str, str] = {}
    match status:
        case HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = "1"
        case HTTPStatus.TOO_MANY_REQUESTS:
            headers["Retry-After"] = str(error.details.get("retry_after", 60))
        case HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("Request %s: %s", _id(request), error, exc_info=error)
    details = dict(error.details)
    more = {name: details.pop(name) for name in ("errors", "retry_after") if name in details}
    if details:
        more["details"] = details
    return problem(
        status,
        error.code,
        error.message,
        hint=error.hint,
        request_id=_id(request),
        more=more,
        headers=headers,
    )


async def _fail(request: Request, error: Any) -> Response:
    more = {"details": error.details} if error.details else None
    return problem(422, error.code, error.message, request_id=_id(request), more=more)


async def _http(request: Request, error: Any) -> Response:
    """Answer for what no route does. Which paths there are is told to nobody who has not proved who it is."""
    if error.status_code in (404, 405):
        try:
            await authenticate(request)
        except CeleriacError as refused:
            return await _celeriac(request, refused)
    known = {
        404: ("request.no_such_route", f"There is nothing at {request.url.path}."),
        405: ("request.method_not_allowed", f"{request.method} is not offered at {request.url.path}."),
    }
    code, detail = known.get(error.status_code, ("request.refused", HTTPStatus(error.status_code).phrase))
    return problem(error.status_code, code, detail, request_id=_id(request), headers=error.headers)


async def _validation(request: Request, error: Any) -> Response:
    errors: list[Json] = [
        {"parameter": ".".join(map(str, each["loc"][1:])), "message": each["msg"]} for each in error.errors()
    ]
    detail = "The request's parameters are not what is accepted."
    return problem(422, "request.invalid", detail, request_id=_id(request), more={"errors": errors})


async def _internal(request: Request, _: Exception) -> Response:
    """Say nothing of the exception: the server logs it, beside the request's id."""
    detail = "The server made a mistake; its log has the details."
    return problem(500, "internal.error", detail, request_id=_id(request))


def _id(request: Request) -> str:
    return str(request.scope.get("state", {}).get("request_id", ""))
