"""What requests from outside bring along: JSON, a form, or several JSON texts, by the type that is declared and no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from api import bodies
from celeriac import Json
from engine.errors import CeleriacError, Invalid, TooLarge

MOST_LINES: Final = 1_000
"""Payloads of one request of lines; each starts an execution."""
MOST_FIELDS: Final = 1_000

_JSON: Final = frozenset({"", "application/json", "text/json"})
_LINES: Final = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
)
_FORM: Final = "application/x-www-form-urlencoded"


class TypeUnknown(CeleriacError):
    """The type of the body is none that is understood here."""

    code = "webhook.media_type"


def read(headers: Mapping[str, str], body: bytes, query: str) -> tuple[list[Json], bool]:
    """Return the payloads of a request, and whether it brings several. Without a body its query is the payload.

    Raises `TypeUnknown`, `NotJson`, `Invalid` or `TooLarge`.
    """
    if not body:
        return [pairs(query, "query")], False
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _JSON or (kind.startswith("application/") and kind.endswith("+json")):
        return [bodies.value_of(body)], False
    if kind == _FORM:
        return [form(body)], False
    if kind in _LINES:
        lines = [each for each in body.split(b"\n") if each.strip()]
        if len(lines) > MOST_LINES:
            message = f"The body has {len(lines):,} lines; {MOST_LINES:,} are allowed."
            raise TooLarge(message, hint="Send them in several requests.", limit=MOST_LINES)
        return [_line(number, each) for number, each in enumerate(lines, 1)], True
    raise TypeUnknown(hint=f"Send application/json, {_FORM} or application/x-ndjson.")


def form(body: bytes) -> dict[str, Json]:
    """Return the fields of a form (WHATWG URL, application/x-www-form-urlencoded). Raises `Invalid`."""
    try:
        return pairs(body.decode(), "body")
    except UnicodeDecodeError:
        raise Invalid("The body is not encoded in UTF-8.") from None


def pairs(text: str, what: str) -> dict[str, Json]:
    """Return names with their values; a name that stands several times has a list. Raises `Invalid`."""
    try:
        found = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        message = f"The {what} is no form of at most {MOST_FIELDS:,} fields in UTF-8."
        raise Invalid(message) from None
    values: dict[str, Json] = {}
    for name, value in found:
        known = values.get(name)
        if known is None:
            values[name] = value
        elif isinstance(known, list):
            known.append(value)
        else:
            values[name] = [known, value]
    return values


def _line(number: int, text: bytes) -> Json:
    try:
        return bodies.value_of(text)
    except bodies.NotJson as error:
        message = f"Line {number}: {error.message}"
        raise bodies.NotJson(message) from None
