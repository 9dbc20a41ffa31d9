"""Long lists in parts. A cursor says where the next part starts, and means nothing to anyone but this file."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated

from fastapi import Query
from starlette.responses import JSONResponse

from engine.errors import Invalid
from engine.queries import Page

Limit = Annotated[int, Query(ge=1, le=200, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=1000, description="`next_cursor` of the page before.")]


def answer(page: Page) -> JSONResponse:
    """Return a part of a list."""
    cursor = None if page.following is None else _encode(page.following)
    return JSONResponse({"data": page.rows, "next_cursor": cursor, "has_more": cursor is not None})


def by_name(cursor: str | None) -> str:
    """Read the cursor of a list in the order of names. Raises `Invalid`."""
    if cursor is None:
        return ""
    match _decode(cursor):
        case str(name):
            return name
    raise _unknown()


def by_birth(cursor: str | None) -> tuple[int, str] | None:
    """Read the cursor of a list in the order of birth. Raises `Invalid`."""
    if cursor is None:
        return None
    match _decode(cursor):
        case [int(at), str(name)]:
            return at, name
    raise _unknown()


def _encode(position: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def _decode(cursor: str) -> object:
    try:
        found: object = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        raise _unknown() from None
    return found


def _unknown() -> Invalid:
    return Invalid(
        "The cursor is none that this list gave out.", hint="Leave it out to start from the beginning."
    )
