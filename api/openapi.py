"""The API's own description (OpenAPI 3.1): what FastAPI finds, and what each route asks of whoever calls it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.authentication import ACCESS_COOKIE
from api.examples import EXAMPLES, Example
from api.permission import PROJECT_HEADER, Anyone, Needs, declarations
from api.problems import MEDIA_TYPE

Document = dict[str, Any]

_PROBLEM: Document = {
    "type": "object",
    "description": "Why a request was refused (RFC 9457).",
    "required": ["type", "title", "status", "code", "detail", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable; docs/errors.md lists them."},
        "detail": {"type": "string"},
        "hint": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
        "details": {"type": "object"},
        "retry_after": {"type": "integer"},
        "request_id": {"type": "string"},
    },
}

_SCHEMES: Document = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or what a login gave."},
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": ACCESS_COOKIE,
        "description": "For browsers; changes also need the header X-CSRF-TOKEN.",
    },
}


def install(app: FastAPI) -> None:
    """Let an application describe itself this way."""
    app.openapi = lambda: app.openapi_schema or _made(app)  # type: ignore[method-assign]  # FastAPI's own way


def _made(app: FastAPI) -> Document:
    found = get_openapi(
        title=app.title,
        version=app.version,
        routes=app.routes,
        description="JSON workflows as durable executions.",
    )
    parts = found.setdefault("components", {})
    parts["securitySchemes"] = _SCHEMES
    parts.setdefault("schemas", {})["Problem"] = _PROBLEM
    for route in declarations(app):
        operation = found["paths"].get(route.path, {}).get(route.method.lower())
        if operation is not None and route.declared is not None:
            _complete(operation, route.declared)
            if route.operation in EXAMPLES:
                _show(operation, EXAMPLES[route.operation])
    app.openapi_schema = found
    return found


def _show(operation: Document, example: Example) -> None:
    """Show what an operation is asked with, and what it answers when it does what it is asked."""
    if example.request is not None:
        content = {"schema": {"type": "object"}, "example": example.request}
        operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    done: Document = {"description": HTTPStatus(example.status).phrase}
    if example.answer is not None:
        done["content"] = {"application/json": {"schema": {"type": "object"}, "example": example.answer}}
    for status in [each for each in operation["responses"] if each.startswith("2")]:
        del operation["responses"][status]
    operation["responses"][str(example.status)] = done


def _complete(operation: Document, declared: object) -> None:
    """Say of an operation who may, and how it refuses the others."""
    refusals = {HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
    if isinstance(declared, Anyone):
        operation["security"] = []
        operation["x-permission"] = "anyone"
    else:
        operation["security"] = [{"bearer": []}, {"cookie": []}]
        operation["x-permission"] = declared.permission if isinstance(declared, Needs) else "signed in"
        refusals |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
    if (
        isinstance(declared, Needs)
        and declared.at is None
        and not declared.permission.startswith("installation:")
    ):
        header = {
            "name": PROJECT_HEADER,
            "in": "header",
            "required": False,
            "description": "The project by id or name; without it the default one, or the only one.",
            "schema": {"type": "string"},
        }
        operation.setdefault("parameters", []).append(header)
    for status in sorted(refusals):
        operation["responses"][str(int(status))] = {
            "description": status.phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
