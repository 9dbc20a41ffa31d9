"""Proof of who asks: a token in the header `Authorization`, or in a cookie that scripts cannot read.

A cookie is sent by a browser whether or not its user meant it. So what a cookie lets in has to show, for everything but reading,
a second token that only a page of ours can know (signed double submit, bound to the session).
"""

from __future__ import annotations

import base64
import hmac
import re
from typing import Final

from starlette.requests import HTTPConnection

from api import address
from api.state import State, of
from engine.access.principals import Principal, keeper
from engine.errors import Forbidden, Invalid, RateLimited, Unauthenticated

ACTING: Final = "X-Celeriac-Principal"
GROUPS: Final = "X-Celeriac-Roles"
"""For whom the keeper acts, and in which groups that one is."""

CSRF: Final = "X-CSRF-TOKEN"
ACCESS_COOKIE: Final = "celeriac_access"
REFRESH_COOKIE: Final = "celeriac_refresh"

TOLD: Final = "token"
"""Where a WebSocket keeps the token that its client has told in a frame."""

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_KEEPER: Final = keeper()

_NAME = re.compile(r"[A-Za-z0-9_.@+-]{1,200}")
_HINT: Final = (
    "Send the header Authorization: Bearer TOKEN: an API key, what a login gave you, or on this machine what is in the file "
    "api.token of the data directory."
)


class CsrfMissing(Forbidden):
    """A request with a cookie has to show the session's CSRF token."""

    code = "auth.csrf"


class NotForOthers(Forbidden):
    """Only the keeper acts for others."""

    code = "auth.acting"


async def authenticate(connection: HTTPConnection) -> Principal:
    """Return who asks. Raises `Unauthenticated`, `CsrfMissing`, `NotForOthers`, `RateLimited` or `Invalid`."""
    state = of(connection)
    header, told = shown(connection, "authorization"), connection.scope["state"].get(TOLD)
    in_cookie = header is None and told is None
    token = told if told is not None else _bearer(header or "")
    if in_cookie:
        token = cookie(connection, ACCESS_COOKIE)
    if token is None:
        raise _nobody()
    if not in_cookie and hmac.compare_digest(token.encode(), state.token):
        return _keeper(connection)
    person = state.directory.remembered(token)
    if person is None:
        person = await _looked_up(connection, state, token)
    if in_cookie and connection.scope.get("method", "GET") not in READING:
        check_csrf(connection, state, person.session or "")
    if shown(connection, ACTING) is not None or shown(connection, GROUPS) is not None:
        raise NotForOthers(hint=f"Leave {ACTING} and {GROUPS} out.")
    return person


def csrf_token(state: State, session: str) -> str:
    """Return the token that pages of a session send along."""
    mac = hmac.digest(state.key("csrf"), session.encode(), "sha256")
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def check_csrf(connection: HTTPConnection, state: State, session: str) -> None:
    """Hold what a request shows against its session. Raises `CsrfMissing`."""
    given = shown(connection, CSRF) or ""
    if not hmac.compare_digest(given.encode(), csrf_token(state, session).encode()):
        raise CsrfMissing(hint=f"Send the header {CSRF} with what GET /api/v1/auth/csrf-token answers.")


def shown(connection: HTTPConnection, name: str) -> str | None:
    """Return a header. All of them are looked through once a request, and not once a question."""
    known = connection.scope["state"]
    headers: dict[bytes, bytes] | None = known.get("shown")
    if headers is None:
        headers = known["shown"] = dict(connection.scope["headers"])
    found = headers.get(name.lower().encode())
    return None if found is None else found.decode("latin-1")


def cookie(connection: HTTPConnection, name: str) -> str | None:
    """Return a cookie of ours, under whichever name it was set."""
    return connection.cookies.get(cookie_name(of(connection), name))


def cookie_name(state: State, name: str) -> str:
    """Return a cookie's name. Over TLS its prefix has browsers keep others from setting it (RFC 6265bis)."""
    if not state.secure:
        return name
    return f"__Host-{name}" if name == ACCESS_COOKIE else f"__Secure-{name}"


async def _looked_up(connection: HTTPConnection, state: State, token: str) -> Principal:
    """Ask the database; a client that is wrong too often is not looked up for a while."""
    where = address.of(connection, state.settings.proxies)
    standing = state.strangers.look(where)
    if standing is not None and standing.wait:
        raise too_many(standing.wait)
    found = await state.directory.principal(token)
    if found is None:
        state.strangers.take(where)
        raise _nobody()
    return found


def too_many(wait: float) -> RateLimited:
    """Return the refusal of one request too many."""
    seconds = max(1, round(wait + 0.5))
    return RateLimited(hint=f"Try again in {seconds} s.", retry_after=seconds)


def _keeper(connection: HTTPConnection) -> Principal:
    acting, listed = shown(connection, ACTING), shown(connection, GROUPS)
    connection.scope["state"]["acting"] = acting
    if acting is None and listed is None:
        return _KEEPER
    groups = [each.strip() for each in (listed or "").split(",") if each.strip()]
    for each in (*(() if acting is None else (acting,)), *groups):
        if not _NAME.fullmatch(each):
            message = f"{each[:64]!r} in {ACTING} or {GROUPS} is no name."
            raise Invalid(message, hint="A name has letters, digits and _ . @ + -, 200 at most.")
    return keeper(groups=frozenset(groups)) if acting is None else keeper(acting, frozenset(groups))


def _bearer(header: str) -> str | None:
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _nobody() -> Unauthenticated:
    return Unauthenticated("The request shows no valid token.", hint=_HINT)
