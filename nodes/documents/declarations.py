"""A declared node type for each operation of a document, and the kind of connection they use. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from celeriac import Fail
from nodes.documents.openapi import Content, Document, Operation, Scheme
from nodes.documents.schemas import alone

_WORD = re.compile(r"[a-z0-9]+")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_BASE = re.compile(r"https?://[A-Za-z0-9._~:\[\]-]+(?:/[A-Za-z0-9._~%@+-]+)*")
_SENTENCE = 300


def declarations(
    document: Document, prefix: str, base: str | None = None, *, strict: bool = False
) -> list[dict[str, Any]]:
    """Return the declarations. `base` is where the service is, if the document does not say. Raises `Fail`.

    With `strict` a node fails when an answer is not what the document says.
    """
    base = (base or next(iter(document.servers), "")).rstrip("/")
    if not _BASE.fullmatch(base):
        message = f"The document does not say where the service is (it says {base or 'nothing'}). Say it."
        raise Fail("document.no_server", message)
    kind = _connection_kind(document, prefix, base)
    taken: set[str] = set()
    found = [] if kind is None else [kind]
    for operation in document.operations:
        name = _unique(f"{prefix}_{_words(operation.id, prefix)}"[:90].rstrip("_"), taken)
        found.append(_node(document, operation, name, kind, base, strict=strict))
    return found


def prefix_of(document: Document) -> str:
    """Return what the names of node types begin with, if nobody says otherwise."""
    return "_".join(_WORD.findall(document.title.lower())[:3]) or "api"


def _node(
    document: Document,
    operation: Operation,
    name: str,
    kind: dict[str, Any] | None,
    base: str,
    *,
    strict: bool,
) -> dict[str, Any]:
    config = _Config()
    path = operation.path
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    source = document.source
    for each in operation.parameters:
        if each.place == "cookie" or (each.place == "header" and each.name.lower() in _OWN_HEADERS):
            continue
        words = each.description or f"The {each.place} parameter {each.name}."
        field = config.add(each.name, alone(source, each.schema, "in"), words, required=each.required)
        if each.place == "path":
            path = path.replace(f"{{{each.name}}}", f"{{{field}}}")
        else:
            (query if each.place == "query" else headers)[each.name] = f"{{{{ config['{field}'] }}}}"
    request: dict[str, Any] = {
        "method": operation.method,
        "base": "{{ connection.base_url | default('%s') }}" % base if kind else base,  # noqa: UP031  braces
        "path": path,
    }
    if query:
        request["query"] = query
    if headers:
        request["headers"] = headers
    if operation.body is not None:
        field = config.add(
            "body",
            alone(source, operation.body.schema, "in"),
            operation.body.description or "What is sent.",
            required=operation.body.required,
        )
        request |= _body(operation.body, field)
    made: dict[str, Any] = {
        "node": name,
        "summary": _sentence(operation.summary or f"{operation.method} {operation.path}"),
        "config": config.schema(),
        "request": request,
        "answer": {"output": {"status": "{{ status }}", "body": "{{ body }}"}},
        "output": _output(document, operation),
    }
    if strict:
        made["answer"]["strict"] = True
    if kind is not None and operation.security and frozenset() not in operation.security:
        made["connection"] = kind["connection_kind"]
    return made


_OWN_HEADERS = frozenset({"accept", "content-type", "authorization", "content-length", "host"})


def _body(body: Content, field: str) -> dict[str, Any]:
    value = f"{{{{ config['{field}'] }}}}"
    kind = body.media_type.partition(";")[0].strip()
    if kind.endswith(("/json", "+json")) or kind == "*/*":
        return {"json": value}
    if kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
        return {"fields" if kind.startswith("multipart") else "form": value}
    return {"file": value}


def _output(document: Document, operation: Operation) -> dict[str, Any]:
    """Return the schema of what a node returns: of its body as far as all good answers agree."""
    good = [each for status, each in operation.answers.items() if status.startswith("2") and each is not None]
    body = alone(document.source, good[0].schema, "out") if len(good) == 1 else {}
    return {
        "type": "object",
        "required": ["status", "body"],
        "properties": {"status": {"type": "integer"}, "body": body},
        "additionalProperties": False,
    }


class _Config:
    """The fields of a config in the making: names that a definition can write, each once."""

    def __init__(self) -> None:
        self._properties: dict[str, Any] = {}
        self._required: list[str] = []

    def add(self, name: str, schema: dict[str, Any], words: str, *, required: bool) -> str:
        """Add a field; return its name."""
        field = name if _FIELD.fullmatch(name) else "_".join(re.findall(r"[A-Za-z0-9]+", name)) or "value"
        field = field if _FIELD.fullmatch(field) else f"_{field}"
        field = _unique(field, {*self._properties, "connection", "most"})
        if not required and "default" not in schema:
            schema = _or_null(schema)
        self._properties[field] = {**schema, "description": words[:_SENTENCE]}
        if required:
            self._required.append(field)
        return field

    def schema(self) -> dict[str, Any]:
        """Return what is declared."""
        return {"type": "object", "required": self._required, "properties": self._properties}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    if not schema:
        return {}
    if isinstance(schema.get("type"), str) and "enum" not in schema and "const" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _connection_kind(document: Document, prefix: str, base: str) -> dict[str, Any] | None:
    """Return the kind of connection for the first scheme that can be carried; None when nobody has to prove anything."""
    wanted = [name for each in document.operations for alternative in each.security for name in alternative]
    for name in dict.fromkeys([*wanted, *document.schemes]):
        scheme = document.schemes.get(name)
        carried = None if scheme is None else _carried(scheme)
        if carried is not None:
            fields, carry = carried
            where = {"type": "string", "default": base, "description": "Where the service is."}
            return {
                "connection_kind": prefix,
                "summary": _sentence(f"An account with {document.title}"),
                "fields": {
                    "type": "object",
                    "required": list(fields),
                    "properties": {**fields, "base_url": where},
                },
                "hosts": ["{{ fields.base_url }}"],
                "carry": carry,
            }
    return None


def _carried(scheme: Scheme) -> tuple[dict[str, Any], dict[str, Any]] | None:
    secret = {"type": "string", "writeOnly": True}
    if scheme.kind == "api_key" and scheme.place in ("header", "query"):
        fields = {"key": {**secret, "description": f"The key, sent as {scheme.parameter}."}}
        place = "headers" if scheme.place == "header" else "query"
        return fields, {place: {scheme.parameter: "{{ fields.key }}"}}
    if scheme.kind in ("bearer", "oauth2", "openid"):
        fields = {"token": {**secret, "description": "The token."}}
        return fields, {"headers": {"Authorization": "Bearer {{ fields.token }}"}}
    if scheme.kind == "basic":
        fields = {
            "username": {"type": "string", "description": "The user's name."},
            "password": {**secret, "description": "The password."},
        }
        pair = "{{ (fields.username ~ ':' ~ fields.password) | b64encode }}"
        return fields, {"headers": {"Authorization": f"Basic {pair}"}}
    return None


def _words(text: str, prefix: str) -> str:
    """Return an operation's name in lower case with _ between words: `listPets` is list_pets."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text)
    words = "_".join(_WORD.findall(spaced.lower())) or "call"
    return words.removeprefix(f"{prefix}_")


def _unique(name: str, taken: Any) -> str:
    for candidate in _candidates(name):
        if candidate not in taken:
            if isinstance(taken, set):
                taken.add(candidate)
            return candidate
    raise AssertionError  # there is no end of candidates


def _candidates(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1


def _sentence(text: str) -> str:
    short = " ".join(text.split())[:_SENTENCE].rstrip(". ")
    return f"{short}."
