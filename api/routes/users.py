"""Users of the installation: made, invited, and let in no more. Their roles are the projects' business."""

from __future__ import annotations

import os
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api import bodies, noting, pages
from api.permission import needs
from api.state import of
from celeriac import Json
from engine.access import invitations, passwords, tokens, users
from engine.errors import Conflict, Invalid

router = APIRouter(prefix="/users", tags=["users"])

_FIRST: Final = "first"


class NotTheFirst(Conflict):
    """There is a user already, and only the first one is invited by nobody."""

    code = "user.not_the_first"


@router.get("", operation_id="users", dependencies=[needs("installation:users")])
async def listing(request: Request, limit: pages.Limit = 50, cursor: pages.Cursor = None) -> Response:
    """List users by name."""
    after = pages.by_name(request, cursor)
    return pages.answer(
        request,
        await of(request).runtime.reader.read(lambda connection: users.listing(connection, limit, after)),
    )


@router.post("", status_code=201, operation_id="create_user", dependencies=[needs("installation:users")])
async def create(request: Request) -> Response:
    """Make a user `{name, password?, owns?}`. Without a password the answer has an invitation to set one, which works once."""
    state = of(request)
    body = await bodies.read_object(request, "name", "password", "owns")
    name, owns = users.named(body.get("name")), bool(_flag(body, "owns"))
    password = None
    if body.get("password") is not None:
        password = await state.passwords.hash(passwords.check(body["password"], name))
    clock = state.runtime.clock
    user = clock.mint("user")
    change = users.create(user, name, password, clock.now(), owns=owns)
    made: dict[str, Json] = await noting.change(request, change, "user:create", user, project="", owns=owns)
    if password is None:
        made = {**made, "invitation": await _invite(request, user)}
    return JSONResponse(made, 201, {"Location": f"/api/v1/users/{user}"})


@router.post(
    "/invite-first",
    status_code=201,
    operation_id="invite_first_user",
    dependencies=[needs("installation:users")],
)
async def invite_first(request: Request) -> Response:
    """Invite somebody to become the first user, who owns the installation. Earlier such invitations are void."""
    if await of(request).runtime.reader.read(users.anyone):
        raise NotTheFirst(hint="Make another one: celeriac users create NAME")
    return JSONResponse(await _invite(request, None), 201)


@router.get("/{user}", operation_id="user", dependencies=[needs("installation:users")])
async def show(request: Request, user: str) -> Response:
    """Show a user, by id or name."""
    found = await of(request).runtime.reader.read(lambda connection: users.find(connection, user))
    return JSONResponse(found.body)


@router.patch("/{user}", operation_id="update_user", dependencies=[needs("installation:users")])
async def update(request: Request, user: str) -> Response:
    """Change `{active?, owns?}`. A user who is not active has no session, and neither do the keys that user made."""
    state = of(request)
    body = await bodies.read_object(request, "active", "owns")
    active, owns = _flag(body, "active"), _flag(body, "owns")
    known = await state.runtime.reader.read(lambda connection: users.find(connection, user))
    change = users.alter(known.id, state.runtime.clock.now(), active=active, owns=owns)
    found = await noting.change(
        request, change, "user:update", known.id, project="", active=active, owns=owns
    )
    state.directory.forget()
    return JSONResponse(found)


@router.post(
    "/{user}/invite",
    status_code=201,
    operation_id="invite_user",
    dependencies=[needs("installation:users")],
)
async def invite(request: Request, user: str) -> Response:
    """Return an invitation with which a user sets a new password. Earlier ones are void; it lasts a day."""
    known = await of(request).runtime.reader.read(lambda connection: users.find(connection, user))
    return JSONResponse(await _invite(request, known.id), 201)


async def _invite(request: Request, user: str | None) -> dict[str, Json]:
    state = of(request)
    token = tokens.make(tokens.INVITATION, os.urandom(tokens.BYTES))
    change = invitations.issue(token, user, state.runtime.clock.now())
    until = await noting.change(request, change, "user:invite", user or _FIRST, project="")
    return {"token": token, "expires_at": until}


def _flag(body: dict[str, Json], key: str) -> bool | None:
    value = body.get(key)
    if value is not None and not isinstance(value, bool):
        message = f"`{key}` is true or false."
        raise Invalid(message)
    return value
