"""What is in a document about an API, and what in it is dangerous. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from celeriac import Json
from nodes.documents.openapi import Document, Operation
from nodes.documents.schemas import alone

_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_SECRET = re.compile(
    r"(?:^|[_-])(?:password|passwd|secret|token|api[_-]?key|access[_-]?key)(?:$|[_-])", re.IGNORECASE
)
_PRIVATE = re.compile(r"https?://(?:localhost|127\.|10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|\[::1\])")


def review(document: Document) -> dict[str, Json]:
    """Return endpoints, ways of proving who asks, what is dangerous, and figures."""
    return {
        "title": document.title,
        "version": document.version,
        "servers": list(document.servers),
        "endpoints": [_endpoint(document, each) for each in document.operations],
        "authentication": [*sorted({each.kind for each in document.schemes.values()})],
        "security_issues": [
            {"issue": issue, "severity": severity, "where": where, "message": message}
            for issue, severity, where, message in _issues(document)
        ],
        "statistics": _statistics(document),
    }


def _endpoint(document: Document, operation: Operation) -> dict[str, Json]:
    parameters: list[Json] = [
        {
            "name": each.name,
            "in": each.place,
            "required": each.required,
            "description": each.description,
            "schema": alone(document.source, each.schema, "in"),
        }
        for each in operation.parameters
    ]
    body = operation.body
    return {
        "path": operation.path,
        "method": operation.method,
        "operation": operation.id,
        "summary": operation.summary,
        "deprecated": operation.deprecated,
        "tags": list(operation.tags),
        "parameters": parameters,
        "body": None
        if body is None
        else {"media_type": body.media_type, "schema": alone(document.source, body.schema, "in")},
        "responses": {
            status: {} if each is None else {"media_type": each.media_type, "description": each.description}
            for status, each in operation.answers.items()
        },
        "authentication": [*sorted({name for each in operation.security for name in each})],
    }


def _issues(document: Document) -> Iterator[tuple[str, str, str, str]]:
    """Yield what is dangerous: a name, how bad it is, where it stands, and why."""
    for server in document.servers:
        if server.startswith("http://"):
            yield "plain_http", "high", server, "Everybody on the way can read and change what is sent."
        if _PRIVATE.match(server):
            yield (
                "private_server",
                "low",
                server,
                "The address means another machine for everybody who reads it.",
            )
    for scheme in document.schemes.values():
        if scheme.kind == "basic":
            yield (
                "basic",
                "medium",
                scheme.name,
                "The password itself is sent with each request, and works for everything.",
            )
        if scheme.kind == "api_key" and scheme.place == "query":
            yield "key_in_query", "high", scheme.name, "A key in an address gets into logs and histories."
        if "implicit" in scheme.flows or "password" in scheme.flows:
            flow = "implicit" if "implicit" in scheme.flows else "password"
            yield (
                "old_flow",
                "medium",
                scheme.name,
                f"The flow {flow} of OAuth 2 is not to be used any more (RFC 9700).",
            )
        for url in scheme.urls:
            if url.startswith("http://"):
                yield "plain_http", "high", url, "Tokens are handed out where everybody can read them."
    for each in document.operations:
        yield from _issues_of(document, each)
    for reference in document.elsewhere:
        yield (
            "reference_elsewhere",
            "low",
            reference,
            "Who reads the document fetches this; it was not followed.",
        )


def _issues_of(document: Document, operation: Operation) -> Iterator[tuple[str, str, str, str]]:
    where = f"{operation.method} {operation.path}"
    is_open = not operation.security or frozenset() in operation.security
    if is_open and operation.method in _CHANGING:
        yield "open_change", "high", where, "Anybody may change something here."
    elif is_open and document.schemes:
        yield "open", "low", where, "Anybody may ask this, although the API knows who asks elsewhere."
    unknown = {name for each in operation.security for name in each} - set(document.schemes)
    if unknown:
        yield (
            "unknown_scheme",
            "medium",
            where,
            f"It asks for {', '.join(sorted(unknown))}, which is described nowhere.",
        )
    for parameter in operation.parameters:
        if parameter.place in ("path", "query") and _SECRET.search(parameter.name):
            message = f"{parameter.name} is sent in the address, which gets into logs and histories."
            yield "secret_in_address", "high", where, message
    if operation.security and not is_open and not {"401", "403", "4XX", "default"} & set(operation.answers):
        yield "refusal_undescribed", "low", where, "What happens to those who may not is not described."


def _statistics(document: Document) -> dict[str, Json]:
    operations = document.operations
    methods: Any = Counter(each.method for each in operations)
    return {
        "total_endpoints": len(operations),
        "total_paths": len({each.path for each in operations}),
        "total_schemas": len(document.schemas),
        "total_parameters": sum(len(each.parameters) for each in operations),
        "deprecated": sum(each.deprecated for each in operations),
        "described": sum(bool(each.summary) for each in operations),
        "methods": dict(sorted(methods.items())),
        "tags": len({tag for each in operations for tag in each.tags}),
    }
