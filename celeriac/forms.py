"""Forms as HTTP sends them: names and values, and several bodies in one."""

from __future__ import annotations

import json
import secrets as randomness
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlencode

from celeriac.files import content_of
from celeriac.outcomes import Fail, Json


def encoded(form: Mapping[str, Json]) -> tuple[bytes, str]:
    """Return a form and its media type: what is nested is named `outer[inner]`, entries of lists `outer[0]`, null is left out."""
    return urlencode(list(_flat(dict(form)))).encode(), "application/x-www-form-urlencoded"


def parts_of(fields: Mapping[str, Json]) -> list[Json]:
    """Return the parts of a form with files: each member one, each entry of a list one, those that are files with a name."""
    return [
        {"name": name, "content": each, **_filename(name, each)}
        for name, value in fields.items()
        for each in (value if isinstance(value, list) else [value])
        if each is not None
    ]


def multipart(parts: Sequence[Json], kind: str) -> tuple[bytes, str]:
    """Write several bodies as one (RFC 2046, RFC 7578). The boundary is drawn, so that no part can hold it.

    A part has `content` (a file) or `json` (without the members that are null), and `name`, `filename` and `media_type`.
    """
    boundary = randomness.token_hex(16)
    written = b""
    for part in parts:
        if not isinstance(part, dict):
            raise Fail("http.invalid_request", "A part of the body is no object.")
        value = without_nulls(part["json"]) if "json" in part else part.get("content")
        content, media_type = content_of(value)
        media_type = str(part.get("media_type") or media_type)
        if not (media_type.isascii() and media_type.isprintable()):
            raise Fail("http.invalid_request", f"{media_type!r} is no media type.")
        lines = [f"--{boundary}", f"Content-Type: {media_type}"]
        if kind == "form-data":
            names = [f'name="{_quoted(str(part.get("name", "")))}"']
            if part.get("filename"):
                names.append(f'filename="{_quoted(str(part["filename"]))}"')
            lines.append(f"Content-Disposition: form-data; {'; '.join(names)}")
        written += "\r\n".join([*lines, "", ""]).encode() + content + b"\r\n"
    return written + f"--{boundary}--\r\n".encode(), f"multipart/{kind}; boundary={boundary}"


def _quoted(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _filename(name: str, value: Json) -> dict[str, Json]:
    return {"filename": value.get("name") or name} if isinstance(value, dict) and "base64" in value else {}


def _flat(value: Json, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the fields of a form; what is nested is named `outer[inner]`, entries of lists `outer[0]`."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(each, f"{name}[{key}]" if name else key)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _flat(each, f"{name}[{number}]")
    elif value is not None:
        yield name, text_of(value)


def text_of(value: Json) -> str:
    """Return a value as the text of a field or a parameter."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def without_nulls(value: Json) -> Json:
    """Return a value without the members that are null: what an author left out is not sent."""
    if isinstance(value, dict):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [without_nulls(each) for each in value]
    return value
