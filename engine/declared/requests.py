"""The request of a declared node type: its address, its query, its body. Pure."""

from __future__ import annotations

import json
import re
import secrets as randomness
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from celeriac import Fail, Json
from celeriac.files import content_of

_PLACE = re.compile(r"\{(?P<raw>\+?)(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)\}")
_RAW = re.compile(r"/?[A-Za-z0-9._~!$&'()*+,;=:@%-]+(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*")


def path_of(path: str, values: Mapping[str, Json]) -> str:
    """Return a path with `{name}` replaced by the value, encoded so that it stays one segment; `{+name}` may hold slashes.

    Raises `Fail` (`http.invalid_request`) for a value that would lead elsewhere.
    """

    def place(found: re.Match[str]) -> str:
        value = values.get(found["name"])
        text = value if isinstance(value, str) else json.dumps(value)
        if value is None or isinstance(value, (dict, list)) or not text:
            raise Fail("http.invalid_request", f"The path {path} needs a value for {found['name']}.")
        if not found["raw"]:
            if text in (".", ".."):
                raise _astray(found["name"], text)
            return quote(text, safe="")
        if not _RAW.fullmatch(text) or {".", ".."} & set(
            text.replace("%2e", ".").replace("%2E", ".").split("/")
        ):
            raise _astray(found["name"], text)
        return text.removeprefix("/")

    return _PLACE.sub(place, path)


def names_in(path: str) -> tuple[str, ...]:
    """Return the names a path holds."""
    return tuple(found["name"] for found in _PLACE.finditer(path))


def without_nulls(value: Json) -> Json:
    """Return a value without the members that are null: what an author left out is not sent."""
    if isinstance(value, dict):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [without_nulls(each) for each in value]
    return value


def query_of(query: Mapping[str, Json]) -> dict[str, list[str]]:
    """Return the parameters of a query; a list repeats its parameter, null leaves it out."""
    found: dict[str, list[str]] = {}
    for name, value in query.items():
        given = [_text(each) for each in (value if isinstance(value, list) else [value]) if each is not None]
        if given:
            found[name] = given
    return found


def body_of(request: Mapping[str, Json]) -> tuple[bytes | None, str | None]:
    """Return the body of a rendered request, and its media type. Raises `Fail` for what cannot be written."""
    if request.get("json") is not None:
        text = json.dumps(without_nulls(request["json"]), ensure_ascii=False, allow_nan=False)
        return text.encode(), "application/json"
    form, text_, file, parts, fields = (
        request.get(each) for each in ("form", "text", "file", "parts", "fields")
    )
    if isinstance(form, dict):
        return urlencode(list(_flat(form))).encode(), "application/x-www-form-urlencoded"
    if isinstance(text_, str):
        return text_.encode(), "text/plain; charset=utf-8"
    if file is not None:
        return content_of(file)
    if isinstance(fields, dict):
        parts = [
            {"name": name, "content": each, **_filename(name, each)}
            for name, value in fields.items()
            for each in (value if isinstance(value, list) else [value])
            if each is not None
        ]
    if isinstance(parts, list):
        kind = str(request.get("multipart", "form-data"))
        return _multipart(parts, kind)
    return None, None


def _filename(name: str, value: Json) -> dict[str, Json]:
    """Return the file name of a field that is a file; other fields have none."""
    return {"filename": value.get("name") or name} if isinstance(value, dict) and "base64" in value else {}


def _multipart(parts: list[Json], kind: str) -> tuple[bytes, str]:
    """Write several bodies as one (RFC 2046, RFC 7578). The boundary is drawn, so that no part can hold it."""
    boundary = randomness.token_hex(16)
    written = b""
    for part in parts:
        if not isinstance(part, dict):
            raise Fail("http.invalid_request", "A part of the body is no object.")
        if "json" in part:
            content, media_type = (
                json.dumps(without_nulls(part["json"]), ensure_ascii=False).encode(),
                "application/json",
            )
        else:
            content, media_type = content_of(part.get("content"))
        lines = [f"--{boundary}", f"Content-Type: {part.get('media_type') or media_type}"]
        if kind == "form-data":
            names = [f'name="{_quoted(str(part.get("name", "")))}"']
            if part.get("filename"):
                names.append(f'filename="{_quoted(str(part["filename"]))}"')
            lines.append(f"Content-Disposition: form-data; {'; '.join(names)}")
        written += "\r\n".join([*lines, "", ""]).encode() + content + b"\r\n"
    return written + f"--{boundary}--\r\n".encode(), f"multipart/{kind}; boundary={boundary}"


def _quoted(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _flat(value: Json, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the fields of a form; what is nested is named `outer[inner]`, entries of lists `outer[0]`."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(each, f"{name}[{key}]" if name else key)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _flat(each, f"{name}[{number}]")
    elif value is not None:
        yield name, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _astray(name: str, text: str) -> Fail:
    message = f"{text!r} cannot stand in a path, as {name}: it would lead elsewhere."
    return Fail("http.invalid_request", message)
