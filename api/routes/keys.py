"""API keys of a project: made, listed without themselves, revoked."""

from __future__ import annotations

import os
import re
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api import bodies, noting, principal
from api.permission import needs
from api.state import of
from celeriac import Json
from engine.access import keys, tokens
from engine.access.principals import Principal
from engine.errors import Forbidden, Invalid

router = APIRouter(prefix="/keys", tags=["keys"])

LONGEST_DAYS: Final = 3_650

_NAME = re.compile(r"[A-Za-z0-9_.@+-]{1,100}")


class KeyOfKey(Forbidden):
    """A key makes no keys."""

    code = "api_key.of_key"


@router.get("", operation_id="keys", dependencies=[needs("key:manage")])
async def listing(request: Request) -> Response:
    """List the project's keys, the latest first; each with the beginning it is known by, and never itself."""
    project = principal.project(request)
    found = await of(request).runtime.reader.read(lambda connection: keys.listing(connection, project))
    return JSONResponse({"data": found})


@router.post("", status_code=201, operation_id="create_key", dependencies=[needs("key:manage")])
async def create(request: Request) -> Response:
    """Make a key `{name, scopes, expires_in_days?}`. The answer is the only place where `key` is ever shown."""
    state, person = of(request), principal.of(request)
    body = await bodies.read_object(request, "name", "scopes", "expires_in_days")
    name = body.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Invalid(
            "`name` is no name.", hint="Letters, digits and _ . @ + -, 100 at most, like ci-deploy."
        )
    maker = _maker(person)
    wanted = keys.scopes(body.get("scopes"), principal.place(request), owns=person.owns)
    clock = state.runtime.clock
    now, token = clock.now(), tokens.make(tokens.KEY, os.urandom(tokens.BYTES))
    key = clock.mint("key")
    until = _until(body.get("expires_in_days"), now)
    change = keys.create(key, token, principal.project(request), name, wanted, maker, now, until)
    made: dict[str, Json] = await noting.change(
        request, change, "key:create", key, name=name, scopes=list(wanted), expires_at=until
    )
    return JSONResponse({**made, "key": token}, 201, {"Location": f"/api/v1/keys/{key}"})


@router.get("/{key}", operation_id="key", dependencies=[needs("key:manage")])
async def show(request: Request, key: str) -> Response:
    """Show a key, without itself."""
    project = principal.project(request)
    return JSONResponse(
        await of(request).runtime.reader.read(lambda connection: keys.find(connection, key, project))
    )


@router.delete("/{key}", operation_id="revoke_key", dependencies=[needs("key:manage")])
async def revoke(request: Request, key: str) -> Response:
    """Revoke a key: at once in this process, within seconds in every other. It stays in the list."""
    state = of(request)
    change = keys.revoke(key, principal.project(request), state.runtime.clock.now())
    found = await noting.change(request, change, "key:revoke", key[:64])
    state.directory.forget()
    return JSONResponse(found)


def _maker(person: Principal) -> str | None:
    """Return whose key it will be; None for the keeper's, which is bound to nobody."""
    if person.kind == "key":
        raise KeyOfKey(hint="Make it as a user, or as the keeper.")
    return person.id if person.kind == "user" else None


def _until(days: Json, now: int) -> int | None:
    if days is None:
        return None
    if type(days) is not int or not 0 < days <= LONGEST_DAYS:
        message = f"`expires_in_days` is a number from 1 to {LONGEST_DAYS:,}."
        raise Invalid(message)
    return now + days * 86_400_000
