"""The request of a declared node type: its address, its query, its body. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import quote

from celeriac import Fail, Json, forms
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


def query_of(query: Mapping[str, Json]) -> dict[str, list[str]]:
    """Return the parameters of a query; a list repeats its parameter, null leaves it out."""
    found: dict[str, list[str]] = {}
    for name, value in query.items():
        given = [
            forms.text_of(each)
            for each in (value if isinstance(value, list) else [value])
            if each is not None
        ]
        if given:
            found[name] = given
    return found


def body_of(request: Mapping[str, Json]) -> tuple[bytes | None, str | None]:
    """Return the body of a rendered request, and its media type. Raises `Fail` for what cannot be written."""
    if request.get("json") is not None:
        text = json.dumps(forms.without_nulls(request["json"]), ensure_ascii=False, allow_nan=False)
        return text.encode(), "application/json"
    form, text_, file, parts, fields = (
        request.get(each) for each in ("form", "text", "file", "parts", "fields")
    )
    if isinstance(form, dict):
        return forms.encoded(form)
    if isinstance(text_, str):
        return text_.encode(), "text/plain; charset=utf-8"
    if file is not None:
        return content_of(file)
    if isinstance(fields, dict):
        parts = forms.parts_of(fields)
    if isinstance(parts, list):
        kind = str(request.get("multipart", "form-data"))
        return forms.multipart(parts, kind)
    return None, None


def _astray(name: str, text: str) -> Fail:
    message = f"{text!r} cannot stand in a path, as {name}: it would lead elsewhere."
    return Fail("http.invalid_request", message)
