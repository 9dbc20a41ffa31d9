"""The page of the API, made of its description: `python -m api.describe` writes docs/api.md, and a test holds it against that."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from api.problems import MEDIA_TYPE

PAGE: Final = Path(__file__).parents[1] / "docs" / "api.md"

_COMMON: Final = ("421", "503", "429")
"""Statuses that any operation may answer with: they are told once."""
_COMMON_CODES: Final = frozenset(
    {
        "auth.acting",
        "auth.csrf",
        "limit.rate",
        "limit.too_large",
        "project.none",
        "project.unknown",
        "project.unnamed",
        "request.cross_origin",
        "request.forbidden",
        "request.invalid",
        "request.invalid_json",
        "request.not_json",
        "request.unauthorized",
    }
)
_WIDTH: Final = 110
_LONGEST: Final = 2_000
"""Characters of an example that are shown."""

_HEAD: Final = """# The API

Written by `python -m api.describe` from the API's description, which an installation serves as `GET /api/v1/openapi.json`
(OpenAPI 3.1). The name of an operation is the method of `celeriac.client.Client` that asks for it.

Who asks shows a token: `Authorization: Bearer TOKEN`. [security.md](security.md) says who may do what. A request is about one
project: the one that `X-Celeriac-Project` names by id or name, or else the default one, or the only one.

Times are milliseconds since 1970 (UTC). Lists that may be long come in pages: `limit` (50 if nothing is said, 200 at most), and
`cursor`, which is the `next_cursor` of the page before; the header `Link` has the address of the next page. A cursor is signed,
and good for its own list only.

A refusal is `application/problem+json` (RFC 9457) with a stable `code`; [errors.md](errors.md) lists them all with their
remedies. Any operation may be refused with these, and below only what is particular to each stands:

| status | codes |
|---|---|
| 401 | `request.unauthorized` |
| 403 | `request.forbidden`, `request.cross_origin`; with a cookie `auth.csrf`; for others `auth.acting`; `project.none` |
| 404 | `project.unknown` |
| 413 | `limit.too_large` |
| 415 | `request.not_json` |
| 421 | `request.host_refused` |
| 422 | `request.invalid`, `request.invalid_json`, `project.unnamed` |
| 429 | `limit.rate`, with `Retry-After` |
| 503 | `service.unavailable`, with `Retry-After` |

Addresses of webhooks and forms are their authors' ([triggers.md](triggers.md)), and the WebSocket `/api/v1/ws` speaks a protocol
of its own ([events.md](events.md)); neither is in the description.
"""


def page(document: Mapping[str, Any]) -> str:
    """Return the page of a description: a section for each resource, and in it one for each operation."""
    return "\n".join([_HEAD, *_contents(document), *_sections(document)]).rstrip() + "\n"


def _contents(document: Mapping[str, Any]) -> Iterator[str]:
    yield "| resource | operations |"
    yield "|---|---|"
    for tag in document["tags"]:
        names = ", ".join(
            f"[{operation['operationId']}](#{operation['operationId']})"
            for *_, operation in _operations(document, tag["name"])
        )
        yield f"| {tag['name']} | {names} |"
    yield ""


def _sections(document: Mapping[str, Any]) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"## {tag['name'].capitalize()}"
        yield ""
        yield tag["description"]
        yield ""
        for method, path, operation in _operations(document, tag["name"]):
            yield from _operation(method, path, operation)


def _operations(document: Mapping[str, Any], tag: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if operation["tags"] == [tag]:
                yield method.upper(), path, operation


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {operation['operationId']}"
    yield ""
    yield f"`{method} {path}`, for {_who(operation['x-permission'])}"
    yield ""
    yield operation["description"]
    yield ""
    rows = [
        f"| `{each['name']}` | {each['in']} | {_kind(each['schema'])} | {each.get('description', '')} |"
        for each in operation.get("parameters", ())
        if each["name"] != "X-Celeriac-Project"
    ]
    if rows:
        yield from ("| parameter | in | type | |", "|---|---|---|---|", *rows, "")
    for content in operation.get("requestBody", {}).get("content", {}).values():
        yield from _block("json", content["example"])
    yield from _answers(operation["responses"])
    particular = [
        f"{status} {', '.join(codes)}"
        for status, answer in operation["responses"].items()
        if status not in _COMMON and (codes := _codes(answer))
    ]
    if particular:
        yield f"Refused with {'; '.join(particular)}."
        yield ""


def _who(permission: str) -> str:
    return {"anyone": "anybody", "signed in": "whoever can prove who it is"}.get(
        permission, f"who may `{permission}`"
    )


def _answers(responses: Mapping[str, Any]) -> Iterator[str]:
    good = [(status, each) for status, each in responses.items() if status[0] in "23"]
    words = " or ".join(f"{status} {answer['description'].rstrip('.')}" for status, answer in good)
    yield f"Answers {words}{':' if any('content' in each for _, each in good) else '.'}"
    yield ""
    for _, answer in good[-1:] if len(good) == 1 else good[:1]:
        for kind, content in answer.get("content", {}).items():
            if "example" in content:
                yield from _block("json" if kind.endswith("json") else "text", content["example"])


def _block(kind: str, example: Any) -> Iterator[str]:
    text = example if isinstance(example, str) else _written(example, "")
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST].rpartition(chr(10))[0]}\n..."
        kind = "text"
    yield from (f"```{kind}", text, "```", "")


def _written(value: Any, indent: str) -> str:
    """Return JSON in which what fits on a line stands on one."""
    short = json.dumps(value, ensure_ascii=False)
    if len(short) + len(indent) <= _WIDTH or not isinstance(value, dict | list):
        return short
    deeper = indent + "  "
    if isinstance(value, list):
        inner = [f"{deeper}{_written(each, deeper)}" for each in value]
        return "[\n" + ",\n".join(inner) + f"\n{indent}]"
    inner = [f"{deeper}{json.dumps(name)}: {_written(each, deeper)}" for name, each in value.items()]
    return "{\n" + ",\n".join(inner) + f"\n{indent}}}"


def _codes(answer: Mapping[str, Any]) -> list[str]:
    if MEDIA_TYPE not in answer.get("content", {}):
        return []
    lines = answer["description"].splitlines()
    found = [line[2:].partition(": ")[0].strip("`") for line in lines if line.startswith("- `")]
    return [f"`{each}`" for each in found if each not in _COMMON_CODES]


def _kind(schema: Mapping[str, Any]) -> str:
    """Return the type of a parameter in a word."""
    for each in schema.get("anyOf", ()):
        if each.get("type") != "null":
            return _kind(each)
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    word = str(schema.get("type", "any"))
    if "maximum" in schema:
        word += f", {schema.get('minimum', 0):,} to {schema['maximum']:,}"
    return word


def described(folder: Path) -> str:
    """Return the page of the API as it is."""
    from api.main import create_app
    from engine.settings import Settings

    settings = Settings("sqlite:///nowhere", "memory://", folder, api_token="t" * 40)
    return page(create_app(settings, serves=False).app.openapi())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        PAGE.write_text(described(Path(name)), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")
