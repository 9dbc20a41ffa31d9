"""Signing in and out: a password or an invitation opens a session, and its tokens are shown once or put into cookies."""

from __future__ import annotations

import os
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api import address, authentication, bodies, noting, principal
from api.authentication import ACCESS_COOKIE, REFRESH_COOKIE
from api.permission import anyone, signed_in
from api.state import State, of
from celeriac import Json
from engine.access import audit, invitations, passwords, sessions, users
from engine.access.principals import Principal
from engine.access.tokens import LONGEST, digest, session_of
from engine.errors import Conflict, Invalid, NotFound, Unauthenticated
from engine.store.database import Connection

router = APIRouter(prefix="/auth", tags=["auth"])

_REFRESH_PATH: Final = "/api/v1/auth/refresh"


class LoginFailed(Unauthenticated):
    """Name and password do not belong together."""

    code = "auth.failed"


class SessionOver(Unauthenticated):
    """The session has ended, or the token is none that renews one."""

    code = "auth.session_over"


class NoSession(Conflict):
    """Only a user who has signed in has a session."""

    code = "auth.no_session"


class SessionUnknown(NotFound):
    """There is no such session."""

    code = "auth.session_unknown"


@router.post("/login", operation_id="login", dependencies=[anyone("it is how somebody proves who it is")])
async def login(request: Request) -> Response:
    """Sign in with `{name, password, cookie?}`: the answer has the tokens, or with `cookie` only sets them for a browser."""
    state = of(request)
    body = await bodies.read_object(request, "name", "password", "cookie")
    name, password, cookie = body.get("name"), body.get("password"), body.get("cookie", False)
    if not isinstance(name, str) or not isinstance(password, str) or len(name) > 200:
        raise Invalid("`name` and `password` are texts, and both are needed.")
    if not isinstance(cookie, bool):
        raise Invalid("`cookie` is true or false.")
    name = name.strip().lower()
    standing = state.logins.take((address.of(request, state.settings.proxies), name))
    if standing is not None and standing.wait:
        raise authentication.too_many(standing.wait)
    user = await state.runtime.reader.read(lambda connection: users.by_name(connection, name))
    usable = user if user is not None and user.active else None
    right, renewed = await state.passwords.verify(password, None if usable is None else usable.password)
    if usable is None or not right:
        await _failed(request, "session:open", name)
        raise LoginFailed(
            hint="Or there is no such user, or not any more. Ask whoever manages the installation."
        )
    if renewed is not None:
        await state.runtime.ledger.submit(users.renew_hash(usable.id, usable.password or "", renewed))
    return await _open(request, usable, "password", cookie=cookie)


@router.post(
    "/accept", operation_id="accept_invitation", dependencies=[anyone("the invitation is the proof")]
)
async def accept(request: Request) -> Response:
    """Use an invitation `{token, password, name?, cookie?}`: it sets the password and signs in. `name` is the first user's."""
    state = of(request)
    body = await bodies.read_object(request, "token", "password", "name", "cookie")
    token, cookie = body.get("token"), body.get("cookie", False)
    if not isinstance(token, str) or len(token) > LONGEST or not isinstance(cookie, bool):
        raise Invalid("`token` is the text of an invitation, and `cookie` true or false.")
    now = state.runtime.clock.now()
    known = await state.runtime.reader.read(lambda connection: invitations.look(connection, token, now))
    name = users.named(body.get("name")) if known is None else known
    hashed = await state.passwords.hash(passwords.check(body.get("password"), name))
    new = state.runtime.clock.mint("user")
    change = invitations.accept(token, hashed, now, new=new, name=None if known else name)
    user: users.User = await noting.change(request, change, "invitation:accept", name, project="")
    state.directory.forget()
    return await _open(request, user, "invitation", cookie=cookie)


@router.post("/refresh", operation_id="refresh", dependencies=[anyone("the refresh token is the proof")])
async def refresh(request: Request) -> Response:
    """Renew a session with `{refresh_token}`, or with the cookie and its CSRF token. A refresh token works once."""
    state = of(request)
    body = await bodies.read_object(request, "refresh_token")
    token = body.get("refresh_token")
    in_cookie = token is None
    if in_cookie:
        token = authentication.cookie(request, REFRESH_COOKIE)
    if not isinstance(token, str):
        raise SessionOver(hint="Send `refresh_token` as the last login or renewal gave it.")
    if in_cookie:
        authentication.check_csrf(request, state, session_of(token) or "")
    now, key = state.runtime.clock.now(), state.key("session")
    audit_key = state.key("audit")
    change = sessions.renew(key, token, now)

    def noted(connection: Connection) -> sessions.Opened | sessions.Lost:
        answer = change(connection)
        if isinstance(answer, sessions.Lost) and answer.reused:
            details: dict[str, Json] = {"user": answer.user}
            entry = noting.entry(
                request, "session:reuse", answer.session or "", outcome="refused", details=details
            )
            audit.write(connection, audit_key, entry, now)
        return answer

    answer: sessions.Opened | sessions.Lost = await state.runtime.ledger.submit(noted)
    state.directory.drop(sessions.access_of(key, token))
    if isinstance(answer, sessions.Lost):
        state.directory.forget()
        raise SessionOver(hint="Sign in again.")
    return _tokens(state, answer, now, cookie=in_cookie)


@router.post("/logout", status_code=204, operation_id="logout", dependencies=[signed_in()])
async def logout(request: Request) -> Response:
    """End the session that the request belongs to; its tokens are of no more use."""
    state, person, session = of(request), *_session(request)
    change = sessions.end(session, person.id, state.runtime.clock.now())
    await noting.change(request, change, "session:end", session, project="")
    state.directory.forget()
    answer = Response(status_code=204)
    for name, path in ((ACCESS_COOKIE, "/"), (REFRESH_COOKIE, _REFRESH_PATH)):
        answer.delete_cookie(
            authentication.cookie_name(state, name), path=path, secure=state.secure, httponly=True
        )
    return answer


@router.get("/csrf-token", operation_id="csrf_token", dependencies=[signed_in()])
async def csrf_token(request: Request) -> Response:
    """Return what a page has to send along in `X-CSRF-TOKEN` when it changes something."""
    _, session = _session(request)
    return JSONResponse({"csrf_token": authentication.csrf_token(of(request), session)})


@router.get("/me", operation_id="me", dependencies=[signed_in()])
async def me(request: Request) -> Response:
    """Return who the request acts for, and what that one may do in which projects."""
    person = principal.of(request)
    places: list[Json] = [
        {
            "id": each.project,
            "name": each.name,
            "roles": [*sorted(each.roles)],
            "groups": [*sorted(each.groups)],
            "permissions": [*sorted(each.permissions)],
        }
        for each in sorted(person.places.values(), key=lambda each: each.name)
    ]
    return JSONResponse(
        {
            "id": person.id,
            "name": person.name,
            "kind": person.kind,
            "owns": person.owns,
            "projects": places,
        }
    )


@router.get("/sessions", operation_id="sessions", dependencies=[signed_in()])
async def listing(request: Request) -> Response:
    """List the sessions of whoever asks."""
    person, session = _session(request)
    state = of(request)
    now = state.runtime.clock.now()
    found = await state.runtime.reader.read(lambda connection: sessions.listing(connection, person.id, now))
    return JSONResponse({"data": [{**each, "current": each["id"] == session} for each in found]})


@router.delete("/sessions/{session}", status_code=204, operation_id="end_session", dependencies=[signed_in()])
async def end(request: Request, session: str) -> Response:
    """End another session of whoever asks."""
    state, (person, _) = of(request), _session(request)
    change = sessions.end(session, person.id, state.runtime.clock.now())
    ended = await noting.change(
        request,
        change,
        "session:end",
        session[:64],
        lambda there: ("done" if there else "failed", {}),
        project="",
    )
    if not ended:
        raise SessionUnknown
    state.directory.forget()
    return Response(status_code=204)


@router.post("/change-password", operation_id="change_password", dependencies=[signed_in()])
async def change_password(request: Request) -> Response:
    """Change the password with `{current, new}`. All other sessions end."""
    state, (person, session) = of(request), _session(request)
    body = await bodies.read_object(request, "current", "new")
    current = body.get("current")
    if not isinstance(current, str):
        raise Invalid("`current` is the password as it is.")
    standing = state.logins.take((address.of(request, state.settings.proxies), person.name))
    if standing is not None and standing.wait:
        raise authentication.too_many(standing.wait)
    user = await state.runtime.reader.read(lambda connection: users.find(connection, person.id))
    right, _ = await state.passwords.verify(current, user.password)
    if not right:
        await _failed(request, "user:password", user.id)
        raise Invalid("`current` is not the password.")
    hashed = await state.passwords.hash(passwords.check(body.get("new"), user.name))
    now = state.runtime.clock.now()
    change = users.set_password(user.id, hashed, now, keep=session)
    await noting.change(request, change, "user:password", user.id, project="")
    state.directory.forget()
    return JSONResponse({"id": user.id, "changed": True})


def _session(request: Request) -> tuple[Principal, str]:
    person = principal.of(request)
    if person.session is None:
        raise NoSession(hint="Keys and the keeper's token are good until they are revoked or replaced.")
    return person, person.session


async def _open(request: Request, user: users.User, method: sessions.Method, *, cookie: bool) -> Response:
    """Open a session for somebody who has proved to be this user."""
    state = of(request)
    clock = state.runtime.clock
    now = clock.now()
    opened, change = sessions.open_(
        state.key("session"),
        clock.mint("sess"),
        user.id,
        method,
        os.urandom(32),
        now,
        address.of(request, state.settings.proxies),
        request.headers.get("user-agent", "").encode("ascii", "backslashreplace").decode(),
    )
    request.scope["state"]["principal"] = Principal(user.id, user.name, "user")
    await noting.change(request, change, "session:open", opened.session, project="", method=method)
    return _tokens(state, opened, now, cookie=cookie, user=user)


def _tokens(
    state: State, opened: sessions.Opened, now: int, *, cookie: bool, user: users.User | None = None
) -> Response:
    """Return the tokens of a session: in the body or in cookies, and never in both."""
    body: dict[str, Json] = {
        "token_type": "Bearer",
        "expires_in": (opened.access_until - now) // 1000,
        "refresh_expires_in": (opened.until - now) // 1000,
        "user_id": opened.user,
    }
    if user is not None:
        body["user"] = {"id": user.id, "name": user.name}
    if not cookie:
        tokens: dict[str, Json] = {"access_token": opened.access, "refresh_token": opened.refresh}
        return JSONResponse({**tokens, **body})
    answer = JSONResponse({**body, "csrf_token": authentication.csrf_token(state, opened.session)})
    for name, value, path, until in (
        (ACCESS_COOKIE, opened.access, "/", opened.access_until),
        (REFRESH_COOKIE, opened.refresh, _REFRESH_PATH, opened.until),
    ):
        answer.set_cookie(
            authentication.cookie_name(state, name),
            value,
            max_age=(until - now) // 1000,
            path=path,
            secure=state.secure,
            httponly=True,
            samesite="strict" if path == _REFRESH_PATH else "lax",
        )
    return answer


async def _failed(request: Request, action: str, subject: str) -> None:
    """Keep that somebody did not know a password. Of a name that is none, only its hash: it may be a password."""
    state = of(request)
    if not state.may_note(address.of(request, state.settings.proxies)):
        return
    try:
        subject = users.named(subject)
    except Invalid:
        subject = f"sha256:{digest(subject)[:16]}"
    entry = noting.entry(request, action, subject, outcome="failed")
    await state.runtime.ledger.submit(audit.writing(state.key("audit"), entry, state.runtime.clock.now()))
