"""Every route, asked by every kind of principal about what is theirs and what is not, and held against the table."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from starlette.routing import Route as PlainRoute

from api.main import create_app
from api.permission import (
    Anyone,
    Needs,
    Route,
    SignedIn,
    Undeclared,
    check,
    declarations,
    needs,
    open_to_anyone,
)
from engine.access.roles import PERMISSIONS, ROLES
from tests.unit.api.conftest import Api
from tests.unit.api.people import EVERY_ROLE, House, Person, furnished, member, user

LAST = ("DELETE /api/v1/projects/{project}", "POST /api/v1/auth/logout")
"""What takes from whoever asks the means to ask again comes last."""

REFUSALS = {"request.unauthorized", "request.forbidden", "project.unknown"}

BODIES: dict[str, Any] = {
    "create_user": {"name": "new@example.com"},
    "create_project": {"name": "new"},
    "update_project": {"description": "Better."},
    "put_member": {"roles": ["viewer"]},
    "create_key": {"name": "more", "scopes": ["workflow:read"]},
    "put_variable": {"value": 1},
    "name_version": {"version": 1},
}
FIXED = {
    "alias": "stable",
    "scope": "project",
    "rest": "x",
    "workflow": "wf_x",
    "secret": "x",
    "delivery": "msg_x",
    "session": "sess_x",
    "user": "nobody@example.com",
    "token": "x",
}

ELSEWHERE = {"project", "user", "scope", "session"}
"""What paths name that belongs to no project, or to the caller: `project` is asked for above, by everybody."""
MAKES = {"put_variable", "enter_model"}
"""What makes the thing that it names."""


def routes(app: FastAPI) -> list[Route]:
    """Every route that is asked by a request; those that end something for whoever asks come last."""
    ends = {each: place for place, each in enumerate(LAST, 1)}
    found = [each for each in declarations(app) if each.method != "WS"]
    return sorted(found, key=lambda each: ends.get(f"{each.method} {each.path}", 0))


def filled(path: str, things: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: {**FIXED, **things}[found[1]], path)


async def ask(person: Person, route: Route, things: dict[str, str], project: str | None) -> Any:
    method = route.method
    body = BODIES.get(route.operation or "", {}) if method in ("POST", "PUT", "PATCH") else None
    where = filled(route.path, things)
    if not where.startswith("/api/v1"):
        headers = {"Authorization": f"Bearer {person.token}" if person.token else ""}
        return await person.api.http.request(method, where, headers=headers)
    return await person.ask(method, where.removeprefix("/api/v1"), body, project)


def said(answer: Any, *names: str) -> tuple[int, str]:
    """An answer's status and body, without what differs from one request to the next."""
    text = answer.text
    for each in (*names, answer.headers["x-request-id"]):
        text = text.replace(each, "_")
    return answer.status_code, text


def code(answer: Any) -> str:
    is_problem = answer.headers.get("content-type", "").startswith("application/problem+json")
    return str(answer.json()["code"]) if is_problem else ""


async def everybody(api: Api, ours: House) -> dict[str, Person]:
    found = {"anonymous": Person(api, None)}
    for role in EVERY_ROLE:
        found[role] = await user(api, f"{role}@example.com")
        await member(api, ours.id, f"{role}@example.com", role)
    return found


@pytest.mark.timeout(180)
async def test_every_route_lets_in_whom_the_table_says(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = await furnished(api, "ours"), await furnished(api, "theirs")
    people = await everybody(api, ours)
    app: FastAPI = api.guard.app
    counted: Counter[str] = Counter()
    permitted: Counter[str] = Counter()
    for route in routes(app):
        declared = route.declared
        for role, person in people.items():
            place = f"{role}: {route.method} {route.path}"
            if isinstance(declared, Needs) and declared.permission[:13] != "installation:":
                in_path = declared.at is not None
                named = None if in_path else theirs.id
                foreign = await ask(person, route, theirs.things, named)
                unknown = "proj_00000000000000000000000000"
                nothing = await ask(
                    person, route, {**theirs.things, "project": unknown}, None if in_path else unknown
                )
                assert said(foreign, theirs.id) == said(nothing, unknown), place
                wanted = "request.unauthorized" if role == "anonymous" else "project.unknown"
                assert code(foreign) == wanted, place
                counted["foreign project"] += 1
            own = await ask(person, route, ours.things, ours.id)
            assert own.status_code < 500, (place, own.text)
            may = allowed(role, declared)
            if may:
                assert code(own) not in REFUSALS, (place, own.text)
                permitted[f"{route.method} {route.path}"] += own.status_code < 400
            else:
                refused = "request.unauthorized" if role == "anonymous" else "request.forbidden"
                assert (own.status_code, code(own)) == (
                    {"request.unauthorized": 401}.get(refused, 403),
                    refused,
                ), place
            counted["own project"] += 1
    with capsys.disabled():
        total = sum(counted.values())
        print(f"\n{len(routes(app))} routes x {len(people)} principals: {total} requests, {dict(counted)}")
    assert len(people) == 7


def allowed(role: str, declared: Any) -> bool:
    match declared:
        case Anyone():
            return True
        case SignedIn():
            return role != "anonymous"
        case Needs(permission=permission):
            return role != "anonymous" and permission in ROLES[role]  # type: ignore[index]
    raise AssertionError(declared)


async def test_a_foreign_id_in_ones_own_project_is_answered_like_one_that_does_not_exist(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = await furnished(api, "ours"), await furnished(api, "theirs")
    person = await user(api, "ann@example.com")
    await member(api, ours.id, "ann@example.com", "owner", "approver")
    nowhere = {
        "ref": "wf_00000000000000000000000000",
        "execution": "exec_00000000000000000000000000",
        "approval": "appr_00000000000000000000000000",
        "key": "key_00000000000000000000000000",
        "subscription": "sub_00000000000000000000000000",
        "schedule": "sched_00000000000000000000000000",
        "webhook": "hook_00000000000000000000000000",
        "trigger": "etrg_00000000000000000000000000",
        "name": "nowhere",
    }
    shown = api.bench.query("SELECT shown_hash FROM approval WHERE id = ?", theirs.things["approval"])[0][0]
    bodies = {
        "resolve": {"decision": "fail"},
        "decide": {"decision": "approve", "shown_hash": shown},
        "replace_schedule": {"config": {"every": 60}},
        "create_approval_link": {"user": "ann@example.com"},
    }
    BODIES.update(bodies)
    count = 0
    for route in routes(api.guard.app):
        parameters = re.findall(r"\{(\w+)\}", route.path)
        if not parameters or not isinstance(route.declared, Needs):
            continue
        assert parameters[0] in {*nowhere, *ELSEWHERE}, f"{route}: is {parameters[0]} of one project?"
        ids = [each for each in parameters if each in nowhere]
        if not ids or route.operation in MAKES:
            continue
        name = ids[0]
        foreign = await ask(person, route, theirs.things, ours.id)
        unknown = await ask(person, route, {**theirs.things, **nowhere}, ours.id)
        assert foreign.status_code == 404, (route, foreign.text)
        assert said(foreign, theirs.things[name]) == said(unknown, nowhere[name]), route
        count += 1
    for name in bodies:
        del BODIES[name]
    assert count > 20
    with capsys.disabled():
        print(f"\n{count} routes with ids: each answers a foreign one like none")


def test_a_route_that_says_nothing_keeps_the_api_from_starting(api: Api) -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/forgotten")
    async def forgotten() -> None: ...

    with pytest.raises(Undeclared, match="GET /forgotten declares no permission"):
        check(app)
    twice = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    both = [needs("workflow:read"), needs("workflow:write")]

    @twice.get("/twice", dependencies=both)
    async def said_twice() -> None: ...

    with pytest.raises(Undeclared):
        check(twice)
    check(create_app(api.settings, serves=False).app)


def test_a_plain_route_says_so_at_its_endpoint() -> None:
    @open_to_anyone("the address is the proof")
    async def arrive(request: Request) -> Response:
        return Response()

    async def forgotten(request: Request) -> Response:
        return Response()

    for prefix in ("", "/inner"):
        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        router = APIRouter()
        router.add_route("/hooks/{path:path}", arrive, methods=["GET", "POST"])
        app.include_router(router, prefix=prefix)
        check(app)
        assert {(each.method, each.path) for each in declarations(app)} >= {
            ("POST", f"{prefix}/hooks/{{path}}")
        }
        app.router.routes.append(PlainRoute("/other", arrive))
        check(app)
        app.router.routes.append(PlainRoute("/forgotten", forgotten))
        with pytest.raises(Undeclared, match="/forgotten"):
            check(app)


def test_what_frameworks_add_by_themselves_is_no_exception() -> None:
    with pytest.raises(Undeclared, match="openapi.json"):
        check(FastAPI(docs_url=None, redoc_url=None))


def test_every_permission_is_asked_for_somewhere(api: Api) -> None:
    declared = [each.declared for each in declarations(api.guard.app)]
    asked = {each.permission for each in declared if isinstance(each, Needs)}
    assert set(PERMISSIONS) - asked <= {"trigger:read", "trigger:manage"}
