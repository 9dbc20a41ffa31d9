"""What a route asks of whoever calls it. Every route says so in one line, and without it the API does not start.

    @router.get("", dependencies=[needs("workflow:read")])

The declaration is a dependency of the route itself, and runs before anything of the route does: nothing depends on how a
path is written. After it, `principal.of(request)` is who acts, and `principal.project(request)` the project that everything the
route reads or writes is in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from fastapi import Depends, FastAPI
from fastapi.routing import iter_route_contexts
from starlette.requests import HTTPConnection

from api import address
from api.authentication import READING, authenticate, shown, too_many
from api.limiter import Standing
from api.state import State, of
from engine.access import audit
from engine.access.principals import Place, Principal, unknown
from engine.access.roles import Permission
from engine.errors import CeleriacError, Forbidden, Misconfigured, Unavailable

AGAIN: Final = 15.0
"""Seconds after which what stays open asks again whether it may: a stream, a WebSocket."""

PROJECT_HEADER: Final = "X-Celeriac-Project"
PROJECT_QUERY: Final = "project_id"
"""Where a request names its project, by id or name. Without either, the default one or the only one is meant."""

_NAMES_PROJECT: Final = PROJECT_QUERY.encode()

PROJECT_TOLD: Final = "project"
"""Where a WebSocket keeps the project that its client has told in a frame."""

LONGEST_REFERENCE: Final = 200

_CONVERTER: Final = re.compile(r":\w+\}")
"""What a parameter of a path is made of, as in `{name:path}`; nobody outside needs to know."""


class Undeclared(Misconfigured):
    """A route does not say what it asks of whoever calls it."""

    code = "api.undeclared_route"


class NotPermitted(Forbidden):
    """You may not do this here."""

    code = "request.forbidden"


@dataclass(frozen=True)
class Anyone:
    """Anybody may call it, also without any proof; `why` is for whoever reads the documentation. Its own path may be a proof."""

    why: str
    limited: bool = True

    async def __call__(self, connection: HTTPConnection) -> None:
        """Count the request for its address."""
        state = of(connection)
        if self.limited:
            _count(connection, state.strangers.take(address.of(connection, state.settings.proxies)))


@dataclass(frozen=True)
class SignedIn:
    """Whoever can prove who it is may call it: it is only about the caller itself."""

    async def __call__(self, connection: HTTPConnection) -> None:
        """Find out who asks."""
        await _enter(connection)


@dataclass(frozen=True)
class Needs:
    """The principal needs a permission: in the request's project, or in the one that the path names by the parameter `at`."""

    permission: Permission
    at: str | None = None

    async def __call__(self, connection: HTTPConnection) -> None:
        """Let in who may. Raises what `authenticate` does, `ProjectUnknown`, `ProjectUnnamed` or `NotPermitted`."""
        state, person = await _enter(connection)
        place = await self._found(connection, state, person)
        if not person.may(self.permission, place):
            await _remember(connection, state, person, place, self.permission)
            where = "to the installation" if place is None else f"in the project {place.name}"
            message = f"You may not do this {where}: it needs {self.permission}."
            raise NotPermitted(message, hint="Ask whoever manages it for a role that may.")
        connection.scope["state"] |= {"place": place, "needs": self}

    async def hold(self, connection: HTTPConnection) -> bool:
        """Whether who was let in may still do this: what stays open asks now and then."""
        try:
            person = await authenticate(connection)
            place = await self._found(connection, of(connection), person)
        except Unavailable:
            return True
        except CeleriacError:
            return False
        return person.may(self.permission, place)

    async def _found(self, connection: HTTPConnection, state: State, person: Principal) -> Place | None:
        if self.permission.startswith("installation:"):
            return None
        return await _place(connection, state, person, self.at)


Declaration = Anyone | SignedIn | Needs

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def needs(permission: Permission, *, at: str | None = None) -> Any:
    """Declare that a route needs a permission."""
    return Depends(Needs(permission, at))


def signed_in() -> Any:
    """Declare that a route is for whoever can prove who it is."""
    return Depends(SignedIn())


def anyone(why: str, *, limited: bool = True) -> Any:
    """Declare that a route is for everybody, and why it may be."""
    return Depends(Anyone(why, limited))


def open_to_anyone(why: str) -> Callable[[Endpoint], Endpoint]:
    """Declare that the endpoint of a plain Starlette route is for everybody: it looks for a proof itself."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.declares = Anyone(why, limited=False)  # type: ignore[attr-defined]  # a function takes any
        return endpoint

    return mark


@dataclass(frozen=True, slots=True)
class Route:
    """A route, by one of its methods (`WS` for a WebSocket), and what it declares: nothing when it does not, or twice."""

    method: str
    path: str
    operation: str | None
    declared: Declaration | None


def declarations(app: FastAPI) -> Iterator[Route]:
    """Yield every route of an application. Paths are as the API's description has them."""
    for each in iter_route_contexts(app.routes):
        inner = getattr(each, "starlette_route", None)
        listed = getattr(each, "dependencies", None) or getattr(inner, "dependencies", None) or ()
        found = [one.dependency for one in listed if isinstance(one.dependency, Declaration)]
        marked = getattr(getattr(inner or each, "endpoint", None), "declares", None)
        found = [*found, *([marked] if isinstance(marked, Anyone) else [])]
        declared = found[0] if len(found) == 1 else None
        path = _CONVERTER.sub("}", str(getattr(inner, "path", None) or getattr(each, "path", each)))
        for method in sorted(getattr(each, "methods", None) or ("WS",)):
            yield Route(method, path, getattr(each, "operation_id", None), declared)


async def still_permitted(connection: HTTPConnection) -> bool:
    """Whether who was let in to what stays open may still be there."""
    needs: Needs = connection.scope["state"]["needs"]
    return await needs.hold(connection)


def check(app: FastAPI) -> None:
    """Refuse to start with a route that anybody could call because somebody forgot to say who may. Raises `Undeclared`."""
    for route in declarations(app):
        if route.declared is None:
            message = f"The route {route.method} {route.path} declares no permission, or several."
            raise Undeclared(
                message, hint="Give it one: dependencies=[needs(...)], signed_in() or anyone(...)."
            )


async def _enter(connection: HTTPConnection) -> tuple[State, Principal]:
    state = of(connection)
    person = await authenticate(connection)
    connection.scope["state"]["principal"] = person
    if person.kind != "keeper":
        _count(connection, state.principals.take(person.id))
    return state, person


async def _place(connection: HTTPConnection, state: State, person: Principal, at: str | None) -> Place:
    reference = (
        connection.path_params[at]
        if at is not None
        else connection.scope["state"].get(PROJECT_TOLD)
        or shown(connection, PROJECT_HEADER)
        or (_NAMES_PROJECT in connection.scope["query_string"] and connection.query_params.get(PROJECT_QUERY))
    )
    if not reference:
        return person.home()
    if len(reference) > LONGEST_REFERENCE or "\0" in reference:
        raise unknown(reference[:LONGEST_REFERENCE].replace("\0", ""))
    if person.owns:
        return await state.directory.project(reference)
    found = person.place(reference)
    if found is None:
        raise unknown(reference)
    return found


def _count(connection: HTTPConnection, standing: Standing | None) -> None:
    """Tell how the caller stands with its limit, or refuse it."""
    if standing is None:
        return
    state = of(connection)
    headers = connection.scope["state"].setdefault("headers", [])
    headers.extend(standing.headers(state.runtime.clock.now() / 1000))
    if standing.wait:
        raise too_many(standing.wait)


async def _remember(
    connection: HTTPConnection, state: State, person: Principal, place: Place | None, permission: str
) -> None:
    """Keep in the audit that somebody tried to change what is not theirs to change."""
    if connection.scope.get("method") in READING or not state.may_note(person.id):
        return
    entry = audit.Entry(
        person.id,
        person.name,
        "access:refuse",
        connection.scope["path"][:400],
        "" if place is None else place.project,
        address.of(connection, state.settings.proxies),
        connection.scope["state"]["request_id"],
        "refused",
        {"permission": permission},
    )
    await state.runtime.ledger.submit(audit.writing(state.key("audit"), entry, state.runtime.clock.now()))
