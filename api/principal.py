"""Who acts. There are no accounts yet: whoever shows the token may say for whom it acts, and is believed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fastapi import Request

from engine.approvals import NOBODY
from engine.errors import Invalid

HEADER = "X-Celeriac-Principal"
ROLES = "X-Celeriac-Roles"
_NAME = re.compile(r"[A-Za-z0-9_.@+-]{1,200}")


@dataclass(frozen=True, slots=True)
class Principal:
    """A person or a program, and the roles it has."""

    name: str
    roles: frozenset[str] = frozenset()


def of(request: Request) -> Principal:
    """Return who a request acts for. Raises `Invalid` for what is no name."""
    name = request.headers.get(HEADER, NOBODY)
    roles = [each.strip() for each in request.headers.get(ROLES, "").split(",") if each.strip()]
    for each in (name, *roles):
        if not _NAME.fullmatch(each):
            message = f"{each[:64]!r} in {HEADER} or {ROLES} is no name."
            raise Invalid(message, hint="A name has letters, digits and _ . @ + -, 200 at most.")
    return Principal(name, frozenset(roles))


def named(request: Request) -> str:
    """Return who is named, or "" when nobody is."""
    return of(request).name if HEADER in request.headers else ""
