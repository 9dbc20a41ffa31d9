"""The API's own description (OpenAPI 3.1): what FastAPI finds, what each route asks of whoever calls it, how it refuses, and one
example of each request and answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.authentication import ACCESS_COOKIE
from api.examples import Example, examples
from api.permission import PROJECT_HEADER, Anyone, Needs, Route, declarations
from api.problems import MEDIA_TYPE
from api.refusals import Refusal, refusals
from celeriac import Json

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
        "hint": {"type": "string", "description": "What helps."},
        "errors": {
            "type": "array",
            "items": {"type": "object"},
            "description": "Single mistakes, where there are several; `pointer` is a place in the body.",
        },
        "details": {"type": "object"},
        "retry_after": {"type": "integer", "description": "Seconds."},
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

_DESCRIPTION = (
    "JSON workflows as durable executions. Every refusal is a problem (RFC 9457) with a stable `code`; every list that may be "
    "long comes in pages (`limit`, `cursor`)."
)

TAGS: Mapping[str, str] = {
    "workflows": "Definitions under names: saved, looked at, compared, published, started.",
    "executions": "Runs of workflows: looked at, followed, stopped, held, repeated, changed while they run.",
    "attention": "What waits for a person's word because nobody else can know.",
    "approvals": "What people are asked, and what they say.",
    "schedules": "What the clock starts.",
    "webhooks": "Addresses that requests from outside arrive at.",
    "events": "Events from outside, and the feed of everything that happens in a project.",
    "subscriptions": "Addresses that are told of events.",
    "callbacks": "Calls from outside that end a wait.",
    "connections": "Named credentials of nodes, which go in and never come out.",
    "models": "Models that workflows may name.",
    "budgets": "What models may cost, and what they have cost.",
    "collections": "Texts that are found by what they mean.",
    "variables": "Values that the workflows of a project share.",
    "node types": "What nodes of this installation can do.",
    "projects": "What belongs together, and who is in it.",
    "users": "Who may sign in.",
    "auth": "Sessions of users.",
    "keys": "What programs show.",
    "audit": "Who did what.",
    "health": "Whether the installation can do its work.",
    "schemas": "The language of definitions, and this API.",
}
"""The resources, in the order in which they are told of."""

_PREFER: Document = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`wait=SECONDS` (RFC 7240), 60 at most: answer when it has ended, if it does in that time.",
    "schema": {"type": "string"},
    "example": "wait=10",
}
_IDEMPOTENCY: Document = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "1 to 255 visible ASCII characters. The same request with the same key starts nothing a second time; "
    "another request with it is refused.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x21-\x7e]+$"},
    "example": "order-17",
}
_IF_MATCH: Document = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The `ETag` of what you have seen: if it is another one by now, nothing is changed (RFC 9110).",
    "schema": {"type": "string", "maxLength": 1000},
    "example": '"5f2b8c1d9e3a7064"',
}
_IF_NONE_MATCH: Document = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The `ETag` of what you have: if it still is what there is, nothing is sent (RFC 9110).",
    "schema": {"type": "string", "maxLength": 1000},
}
_LAST_EVENT: Document = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "Of a stream that goes on: the `id` of the last event that was received.",
    "schema": {"type": "string", "maxLength": 60},
}

_HEADERS: Mapping[str, tuple[Document, ...]] = {
    "execute": (_PREFER, _IDEMPOTENCY),
    "retry": (_PREFER, _IDEMPOTENCY),
    "fork": (_PREFER, _IDEMPOTENCY),
    "execution": (_PREFER,),
    "run_schedule": (_IDEMPOTENCY,),
    **dict.fromkeys(
        (
            "replace_workflow",
            "update_workflow",
            "delete_workflow",
            "publish_version",
            "roll_back",
            "name_version",
            "forget_version_name",
        ),
        (_IF_MATCH,),
    ),
    "workflow": (_IF_NONE_MATCH,),
    "events": (_LAST_EVENT,),
    "feed": (_LAST_EVENT,),
}
"""Header fields by the operations that read them."""

_BODY_OPTIONAL = {
    "call_back",
    "cancel",
    "cancel_node",
    "execute",
    "fork",
    "items",
    "pause_schedule",
    "retry",
    "roll_back",
    "rotate_webhook",
    "run_schedule",
    "skip",
    "test_webhook",
}
"""Operations that do something without any body."""

_STREAMED = ("events", "feed")
_OTHER_STATUSES: Mapping[str, tuple[HTTPStatus, ...]] = {
    "push": (HTTPStatus.OK,),
    "execute": (HTTPStatus.OK,),
    "retry": (HTTPStatus.OK,),
    "fork": (HTTPStatus.OK,),
    "cancel": (HTTPStatus.OK,),
    "workflow": (HTTPStatus.NOT_MODIFIED,),
    "events": (HTTPStatus.NO_CONTENT,),
    "put_variable": (HTTPStatus.OK,),
    "health": (HTTPStatus.SERVICE_UNAVAILABLE,),
    "ready": (HTTPStatus.SERVICE_UNAVAILABLE,),
    "run_schedule": (HTTPStatus.OK,),
    "test_webhook": (HTTPStatus.OK,),
}
"""Statuses of answers beside the one of the example: what was there already, what has ended in time."""
_WITHOUT_BODY: Mapping[HTTPStatus, str] = {
    HTTPStatus.NO_CONTENT: "Nothing more will come.",
    HTTPStatus.NOT_MODIFIED: "It is what you have.",
}


def install(app: FastAPI) -> None:
    """Let an application describe itself this way."""
    app.openapi = lambda: app.openapi_schema or _made(app)  # type: ignore[method-assign]  # FastAPI's own way


def _made(app: FastAPI) -> Document:
    found = get_openapi(title=app.title, version=app.version, routes=app.routes, description=_DESCRIPTION)
    parts = found.setdefault("components", {})
    parts["securitySchemes"] = _SCHEMES
    schemas = parts.setdefault("schemas", {})
    schemas["Problem"] = _PROBLEM
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    known = examples()
    for route in declarations(app):
        operation = found["paths"].get(route.path, {}).get(route.method.lower())
        if operation is not None and route.declared is not None:
            _complete(operation, route, known.get(route.operation or ""))
    used = {tag for each in found["paths"].values() for one in each.values() for tag in one["tags"]}
    found["tags"] = [{"name": name, "description": text} for name, text in TAGS.items() if name in used]
    app.openapi_schema = found
    return found


def _complete(operation: Document, route: Route, example: Example | None) -> None:
    """Say of an operation who may, what it reads and answers, and how it refuses."""
    declared, name = route.declared, route.operation or ""
    if isinstance(declared, Anyone):
        operation["security"] = []
        operation["x-permission"] = "anyone"
    else:
        operation["security"] = [{"bearer": []}, {"cookie": []}]
        operation["x-permission"] = declared.permission if isinstance(declared, Needs) else "signed in"
    parameters = operation.setdefault("parameters", [])
    if (
        isinstance(declared, Needs)
        and declared.at is None
        and not declared.permission.startswith("installation:")
    ):
        parameters.append(_project_header())
    parameters.extend(dict(each) for each in _HEADERS.get(name, ()))
    if not parameters:
        del operation["parameters"]
    if example is not None:
        _show(operation, name, example)
    for status, refusal in _problems(refusals(route, "requestBody" in operation)).items():
        known = operation["responses"].setdefault(status, refusal)
        known["content"] = {**known["content"], **refusal["content"]}


def _project_header() -> Document:
    return {
        "name": PROJECT_HEADER,
        "in": "header",
        "required": False,
        "description": "The project by id or name; without it the default one, or the only one.",
        "schema": {"type": "string", "maxLength": 200},
        "example": "shop",
    }


def _show(operation: Document, name: str, example: Example) -> None:
    """Show what an operation is asked with, and what it answers when it does what it is asked."""
    for each in operation.get("parameters", ()):
        given = (example.parameters or {}).get(each["name"])
        if given is not None:
            each["example"] = int(given) if each["schema"].get("type") == "integer" else given
    if example.request is not None:
        content = {"schema": _schema(example.request), "example": example.request}
        operation["requestBody"] = {
            "required": name not in _BODY_OPTIONAL,
            "content": {example.request_type: content},
        }
    for status in [each for each in operation["responses"] if each[0] in "24"]:
        del operation["responses"][status]
    done: Document = {"description": HTTPStatus(example.status).phrase}
    if example.answer is not None:
        shape = {"type": "object"} if isinstance(example.answer, dict) else {"type": "string"}
        done["content"] = {example.type: {"schema": shape, "example": example.answer}}
    if name in _STREAMED:
        done["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    if name == "preview":
        done["content"]["image/svg+xml"] = {"schema": {"type": "string"}, "example": "<svg>...</svg>"}
    operation["responses"][str(example.status)] = done
    for other in _OTHER_STATUSES.get(name, ()):
        if other in _WITHOUT_BODY:
            operation["responses"][str(int(other))] = {"description": _WITHOUT_BODY[other]}
        else:
            operation["responses"][str(int(other))] = {**done, "description": other.phrase}


def _schema(value: Json) -> Document:
    """Return what can be said of a body from an example of it: its members, and of what type they are."""
    match value:
        case bool():
            return {"type": "boolean"}
        case dict():
            return {"type": "object", "properties": {name: _schema(each) for name, each in value.items()}}
        case list():
            return {"type": "array", "items": _schema(value[0]) if value else {}}
        case str():
            return {"type": "string"}
        case int() | float():
            return {"type": "number"}
    return {}


def _problems(found: Iterable[Refusal]) -> Document:
    """Return the answers that refuse: by status, with the codes that each may have."""
    by_status: dict[int, list[Refusal]] = {}
    for each in found:
        by_status.setdefault(each.status, []).append(each)
    return {str(status): _problem(status, by_status[status]) for status in sorted(by_status)}


def _problem(status: int, found: list[Refusal]) -> Document:
    first, phrase = found[0], HTTPStatus(status).phrase
    lines = [f"- `{each.code}`: {each.meaning}" for each in found]
    shown = {
        "type": "about:blank",
        "title": phrase,
        "status": status,
        "code": first.code,
        "detail": first.meaning,
        "request_id": "5f2b8c1d9e3a7064",
    }
    return {
        "description": "\n".join([f"{phrase}:", "", *lines]),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": shown}},
    }
