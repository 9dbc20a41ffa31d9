"""Long lists in parts. A cursor says where the next part starts, means nothing to anyone but this file, and is signed: whoever
makes one up learns nothing from what a list answers to it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import Annotated, Final

from fastapi import Query
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from api.state import of
from celeriac import Json
from engine.errors import Invalid
from engine.listing import Page

Limit = Annotated[int, Query(ge=1, le=200, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=2000, description="`next_cursor` of the page before.")]

_PURPOSE: Final = "cursor"
_MARK: Final = 16
"""Bytes of a signature."""


def answer(request: HTTPConnection, page: Page) -> JSONResponse:
    """Return a part of a list, and where the next one is (RFC 8288)."""
    if page.following is None:
        return JSONResponse({"data": page.rows, "next_cursor": None, "has_more": False})
    cursor = _encode(request, page.following)
    following = request.url.include_query_params(cursor=cursor)
    link = {"Link": f'<{following.path}?{following.query}>; rel="next"'}
    return JSONResponse({"data": page.rows, "next_cursor": cursor, "has_more": True}, headers=link)


def by_name(request: HTTPConnection, cursor: str | None) -> str:
    """Read the cursor of a list in the order of names. Raises `Invalid`."""
    if cursor is None:
        return ""
    match _decode(request, cursor):
        case str(name):
            return name
    raise _unknown()


def by_birth(request: HTTPConnection, cursor: str | None) -> tuple[int, str] | None:
    """Read the cursor of a list in the order of birth. Raises `Invalid`."""
    if cursor is None:
        return None
    match _decode(request, cursor):
        case [int(at), str(name)]:
            return at, name
    raise _unknown()


def by_order(request: HTTPConnection, cursor: str | None, order: str) -> tuple[Json, str] | None:
    """Read the cursor of a list that is sorted as whoever asks likes. Raises `Invalid`.

    A cursor goes with one order: sorted otherwise, the list begins anew.
    """
    if cursor is None:
        return None
    match _decode(request, cursor):
        case [str(sorted_by), (str() | int()) as value, str(name)] if sorted_by == order:
            return value, name
    raise _unknown()


def by_place(request: HTTPConnection, cursor: str | None) -> tuple[str, int, str] | None:
    """Read the cursor of a list in the order of segments. Raises `Invalid`."""
    if cursor is None:
        return None
    match _decode(request, cursor):
        case [str(execution), int(segment), str(item)]:
            return execution, segment, item
    raise _unknown()


def by_number(request: HTTPConnection, cursor: str | None) -> int | None:
    """Read the cursor of a list in the order of numbers. Raises `Invalid`."""
    if cursor is None:
        return None
    match _decode(request, cursor):
        case int(number) if not isinstance(number, bool):
            return number
    raise _unknown()


def _encode(request: HTTPConnection, position: object) -> str:
    text = json.dumps(position).encode()
    return base64.urlsafe_b64encode(_signature(request, text) + text).decode().rstrip("=")


def _decode(request: HTTPConnection, cursor: str) -> object:
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except (binascii.Error, ValueError):
        raise _unknown() from None
    if not hmac.compare_digest(raw[:_MARK], _signature(request, raw[_MARK:])):
        raise _unknown()
    found: object = json.loads(raw[_MARK:])
    return found


def _signature(request: HTTPConnection, text: bytes) -> bytes:
    """Return the mark of a position in one list: in another it is none."""
    about = request.scope["path"].encode() + b"\0" + text
    return hmac.digest(of(request).key(_PURPOSE), about, hashlib.sha256)[:_MARK]


def _unknown() -> Invalid:
    return Invalid(
        "The cursor is none that this list gave out.", hint="Leave it out to start from the beginning."
    )
