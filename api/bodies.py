"""Bodies of requests: strict JSON (RFC 8259), each key once, and no more of it than a route takes."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request

from celeriac import Json
from engine.checking.source import MAX_DEPTH, deeper_than
from engine.errors import Invalid, TooLarge
from engine.nearest import nearest

SMALL = 1024 * 1024
"""What a request needs at most that carries no definition and no payload."""


class NotJson(Invalid):
    """The body is not JSON."""

    code = "request.invalid_json"


async def read(request: Request, largest: int = SMALL) -> Json:
    """Return the value a body means; no body is null. Raises `NotJson` or `TooLarge`."""
    raw = await request.body()
    if len(raw) > largest:
        message = f"The body is larger than {largest:,} bytes."
        raise TooLarge(message)
    return value_of(raw) if raw else None


def value_of(raw: bytes) -> Json:
    """Return the value a JSON text means. Raises `NotJson`."""
    try:
        value: Json = json.loads(raw.decode(), parse_constant=_refuse, object_pairs_hook=_unique)
    except RecursionError:
        raise NotJson("The body is nested too deep.") from None
    except ValueError as error:
        raise NotJson(f"The body is not JSON: {error}.") from None
    if b"\\ud" in raw.lower() and not _is_text(value):
        raise NotJson("The body holds half of a surrogate pair.")
    if deeper_than(MAX_DEPTH, value):
        message = f"The body is nested in more than {MAX_DEPTH} levels."
        raise NotJson(message)
    return value


async def read_object(request: Request, *keys: str, largest: int = SMALL) -> dict[str, Json]:
    """Return a body that is an object with none but these keys; no body is an empty one. Raises `Invalid`."""
    value = await read(request, largest)
    if value is None:
        return {}
    if not isinstance(value, dict):
        message = f"The body is {_kind(value)}; an object is wanted."
        raise Invalid(message, hint=f"It may have: {', '.join(keys)}.")
    for key, each in value.items():
        if isinstance(each, str) and "\0" in each:
            message = f"`{key[:64]}` holds the character NUL."
            raise Invalid(message, hint="No name and no remark has it, and no database keeps it as text.")
        if key not in keys:
            near = nearest(key, keys)
            hint = f"Did you mean {near}?" if near else f"It may have: {', '.join(keys)}."
            message = f"The body has a key {key[:64]!r}, which means nothing here."
            raise Invalid(message, hint=hint)
    return value


def _is_text(value: Json) -> bool:
    """Whether every text in a value can be written down again."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        message = f"the key {twice[:64]!r} stands twice"
        raise ValueError(message)
    return found


def _halved(value: Json) -> bool:
    """Whether a text in it cannot be written down."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except RecursionError:
        return False  # which is told next
    return False


def _refuse(constant: str) -> Any:
    message = f"{constant} is no number of JSON"
    raise ValueError(message)


def _kind(value: Json) -> str:
    return {list: "a list", str: "a text", bool: "a truth value"}.get(type(value), "a number")
