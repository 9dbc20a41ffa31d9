"""An OpenAPI document (2.0, 3.0, 3.1) as operations, whatever the version it is written in. Pure; nothing is fetched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urljoin

from celeriac import Fail
from nodes.documents.schemas import followed

METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
_BODIES = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
"""The bodies that can be sent, the one to be preferred first."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. `schema` is as it is written in the document."""

    name: str
    place: Literal["path", "query", "header", "cookie"]
    required: bool
    description: str
    schema: Any


@dataclass(frozen=True, slots=True)
class Content:
    """A body, or an answer's."""

    media_type: str
    schema: Any
    required: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way of proving who asks: `kind` is basic, bearer, api_key, oauth2, openid, mutual_tls or other."""

    name: str
    kind: str
    place: str = ""
    parameter: str = ""
    flows: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `security` are alternatives, each a set of schemes; an empty set means none is needed."""

    id: str
    method: str
    path: str
    summary: str
    deprecated: bool
    tags: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    body: Content | None
    answers: Mapping[str, Content | None]
    security: tuple[frozenset[str], ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A whole document. `source` is its text as a value, for references."""

    version: str
    title: str
    servers: tuple[str, ...]
    operations: tuple[Operation, ...]
    schemes: Mapping[str, Scheme]
    schemas: Mapping[str, Any]
    source: Mapping[str, Any] = field(repr=False)
    elsewhere: tuple[str, ...] = ()


def parse(source: Mapping[str, Any], url: str = "") -> Document:
    """Read a document. `url` is where it came from, for servers that are named in relation to it. Raises `Fail`."""
    version = str(source.get("openapi") or source.get("swagger") or "")
    if not version.startswith(("2.0", "3.")):
        raise Fail(
            "document.unknown_version",
            f"The document says to be OpenAPI {version or 'of no version'}; 2.0, 3.0 and 3.1 are read.",
        )
    old = version.startswith("2")
    info = _object(source.get("info"))
    schemas = source.get("definitions") if old else _object(source.get("components")).get("schemas")
    return Document(
        version=version,
        title=str(info.get("title") or "API"),
        servers=tuple(_servers(source, url, old=old)),
        operations=tuple(_operations(source, old=old)),
        schemes=_schemes(source, old=old),
        schemas=_object(schemas),
        source=source,
        elsewhere=tuple(dict.fromkeys(_elsewhere(source))),
    )


def _servers(source: Mapping[str, Any], url: str, *, old: bool) -> Iterator[str]:
    if old:
        host = source.get("host")
        path = str(source.get("basePath") or "").rstrip("/")
        schemes = source.get("schemes") or ["https"]
        if host:
            for scheme in sorted(map(str, schemes), key=lambda each: each != "https"):
                yield f"{scheme}://{host}{path}"
        elif url:
            yield urljoin(url, path or "/").rstrip("/")
        return
    for each in source.get("servers") or [{"url": "/"}]:
        address = str(_object(each).get("url") or "/")
        for name, variable in _object(_object(each).get("variables")).items():
            address = address.replace(f"{{{name}}}", str(_object(variable).get("default") or ""))
        if "://" in address or url:
            yield urljoin(url, address).rstrip("/")


def _operations(source: Mapping[str, Any], *, old: bool) -> Iterator[Operation]:
    for path, item in _object(source.get("paths")).items():
        item = _object(followed(source, item))  # noqa: PLW2901  what it refers to is it
        for method in METHODS:
            written = item.get(method)
            if isinstance(written, Mapping):
                yield _operation(source, str(path), method, item, written, old=old)


def _operation(
    source: Mapping[str, Any],
    path: str,
    method: str,
    item: Mapping[str, Any],
    written: Mapping[str, Any],
    *,
    old: bool,
) -> Operation:
    parameters = {}
    for each in [*_list(item.get("parameters")), *_list(written.get("parameters"))]:
        each = _object(followed(source, each))  # noqa: PLW2901
        parameters[each.get("name"), each.get("in")] = each
    given = list(parameters.values())
    body = _old_body(source, given, written) if old else _body(source, written)
    security = written.get("security", source.get("security", []))
    return Operation(
        id=str(written.get("operationId") or f"{method} {path}"),
        method=method.upper(),
        path=path,
        summary=" ".join(str(written.get("summary") or written.get("description") or "").split()),
        deprecated=written.get("deprecated") is True,
        tags=tuple(map(str, _list(written.get("tags")))),
        parameters=tuple(_parameter(each, old=old) for each in given if each.get("in") in _PLACES),
        body=body,
        answers={
            str(status): _answer(source, answer, old=old, produces=_produces(source, written))
            for status, answer in _object(written.get("responses")).items()
        },
        security=tuple(frozenset(_object(each)) for each in _list(security)),
    )


_PLACES = ("path", "query", "header", "cookie")


def _parameter(written: Mapping[str, Any], *, old: bool) -> Parameter:
    schema: Any = written.get("schema")
    if old:
        schema = {
            key: each for key, each in written.items() if key not in ("name", "in", "required", "description")
        }
    elif schema is None:
        schema = next((_object(each).get("schema") for each in _object(written.get("content")).values()), {})
    return Parameter(
        name=str(written.get("name")),
        place=written["in"],
        required=written.get("required") is True or written["in"] == "path",
        description=" ".join(str(written.get("description") or "").split()),
        schema=schema,
    )


def _body(source: Mapping[str, Any], written: Mapping[str, Any]) -> Content | None:
    body = _object(followed(source, written.get("requestBody")))
    content = _object(body.get("content"))
    if not content:
        return None
    kind = _preferred(list(content))
    return Content(
        kind,
        _object(content[kind]).get("schema", {}),
        required=body.get("required") is True,
        description=" ".join(str(body.get("description") or "").split()),
    )


def _old_body(
    source: Mapping[str, Any], given: list[Mapping[str, Any]], written: Mapping[str, Any]
) -> Content | None:
    kinds = _list(written.get("consumes") or source.get("consumes")) or ["application/json"]
    for each in given:
        if each.get("in") == "body":
            text = " ".join(str(each.get("description") or "").split())
            return Content(
                _preferred(kinds),
                each.get("schema", {}),
                required=each.get("required") is True,
                description=text,
            )
    fields = [each for each in given if each.get("in") == "formData"]
    if not fields:
        return None
    files = any(each.get("type") == "file" for each in fields)
    properties = {
        str(each.get("name")): {
            key: value for key, value in each.items() if key not in ("name", "in", "required")
        }
        for each in fields
    }
    required = [str(each.get("name")) for each in fields if each.get("required") is True]
    schema = {"type": "object", "properties": properties, "required": required}
    kind = "multipart/form-data" if files or kinds == ["multipart/form-data"] else _BODIES[1]
    return Content(kind, schema, required=bool(required))


def _produces(source: Mapping[str, Any], written: Mapping[str, Any]) -> list[Any]:
    return _list(written.get("produces") or source.get("produces")) or ["application/json"]


def _answer(source: Mapping[str, Any], written: Any, *, old: bool, produces: list[Any]) -> Content | None:
    answer = _object(followed(source, written))
    text = " ".join(str(answer.get("description") or "").split())
    if old:
        return (
            Content(_preferred(produces), answer["schema"], description=text) if "schema" in answer else None
        )
    content = _object(answer.get("content"))
    if not content:
        return None
    kind = _preferred(list(content))
    return Content(kind, _object(content[kind]).get("schema", {}), description=text)


def _preferred(kinds: list[Any]) -> str:
    """Return the one of several media types that is best spoken here: JSON of whatever name first."""
    named = [str(each) for each in kinds]
    like_json = (each for each in named if each.partition(";")[0].endswith(("/json", "+json")))
    others = (each for wanted in _BODIES for each in named if each.partition(";")[0].strip() == wanted)
    return next(like_json, None) or next(others, None) or named[0]


def _schemes(source: Mapping[str, Any], *, old: bool) -> dict[str, Scheme]:
    written = (
        source.get("securityDefinitions") if old else _object(source.get("components")).get("securitySchemes")
    )
    return {
        str(name): _scheme(str(name), _object(followed(source, each)))
        for name, each in _object(written).items()
    }


def _scheme(name: str, written: Mapping[str, Any]) -> Scheme:
    kind, word = str(written.get("type")), str(written.get("scheme") or "").lower()
    if kind == "apiKey":
        return Scheme(name, "api_key", str(written.get("in")), str(written.get("name")))
    if kind == "oauth2":
        flows = _object(written.get("flows")) or {str(written.get("flow")): written}
        urls = (
            str(_object(flow)[key])
            for flow in flows.values()
            for key in ("tokenUrl", "authorizationUrl")
            if _object(flow).get(key)
        )
        return Scheme(name, "oauth2", flows=tuple(map(str, flows)), urls=tuple(urls))
    found = {"basic": "basic", "openIdConnect": "openid", "mutualTLS": "mutual_tls"}.get(kind)
    if kind == "http":
        found = {"basic": "basic", "bearer": "bearer"}.get(word)
    return Scheme(name, found or "other")


def _elsewhere(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield references that lead out of the document."""
    if depth > 100:
        return
    if isinstance(value, Mapping):
        reference = value.get("$ref")
        if isinstance(reference, str) and not reference.startswith("#"):
            yield reference
        for each in value.values():
            yield from _elsewhere(each, depth + 1)
    elif isinstance(value, list):
        for each in value:
            yield from _elsewhere(each, depth + 1)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
