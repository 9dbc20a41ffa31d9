"""The examples of the API's description, played: each is sent, and what comes back looks like what is shown."""

from __future__ import annotations

from typing import Any

from api.examples import EXAMPLES
from api.permission import declarations
from celeriac import Json
from celeriac.client import Client, Refused
from tests.unit.api.conftest import Api
from tests.unit.api.people import PASSWORD, furnished, user


def shape(value: Json) -> Any:
    """The keys of a value, and those of the first of each list."""
    match value:
        case dict():
            return {key: shape(each) for key, each in value.items() if key not in ("executions", "details")}
        case [first, *_] if isinstance(first, dict):
            return [shape(first)]
    return None


async def test_what_is_shown_is_what_comes_back(api: Api) -> None:
    first = (await api.post("/users/invite-first")).json()
    shop = await furnished(api, "shop")
    ann = await user(api, "ann", owns=True)
    await api.http.put(f"/api/v1/projects/{shop.id}/members/ann", json={"roles": ["owner"]})
    other = (await api.post("/auth/login", {"name": "ann", "password": PASSWORD})).json()
    ((session,),) = [(await ann.get("/auth/sessions")).json()["data"][:1]]
    path = {**shop.things, "user": "ada@example.com", "session": session["id"], "name": "limit"}
    given: dict[str, Json] = {"first": first, "refresh": other["refresh_token"]}
    order = [*EXAMPLES]
    # what takes away what others need comes last, and a user is made before it is shown
    for late in ("remove_member", "remove_variable", "revoke_key", "delete_project", "update_user", "logout"):
        order.append(order.pop(order.index(late)))
    order.insert(0, order.pop(order.index("create_user")))
    order.insert(1, order.pop(order.index("put_member")))
    order.insert(2, order.pop(order.index("put_variable")))
    routes = {each.operation: each for each in declarations(api.guard.app) if each.operation}
    for operation in order:
        if operation in ("invite_first_user", "accept_invitation", "login"):
            continue
        example, route = EXAMPLES[operation], routes[operation]
        where = route.path.removeprefix("/api/v1")
        for name, value in path.items():
            where = where.replace(f"{{{name}}}", value)
        body = example.request
        if operation == "refresh":
            body = {"refresh_token": given["refresh"]}
        if operation == "create_project":
            body = {**dict(example.request), "name": "another"}  # type: ignore[arg-type]
        answer = await ann.ask(route.method, where, body, shop.id)
        assert answer.status_code == example.status, (operation, answer.text)
        told: Any = answer.json() if answer.content else None
        assert shape(told) == shape(example.answer), operation
        if operation == "create_user":
            given["invitation"] = told["invitation"]["token"]
    accepted = await api.post("/auth/accept", {"token": given["invitation"], "password": PASSWORD})
    assert (accepted.status_code, accepted.json()["code"]) == (403, "invitation.unusable")  # disabled above
    assert shape(first) == shape(EXAMPLES["invite_first_user"].answer)


async def test_every_example_is_of_an_operation(api: Api) -> None:
    named = {each.operation for each in declarations(api.guard.app) if each.operation}
    assert set(EXAMPLES) <= named


async def test_the_client_asks_for_everything(api: Api) -> None:
    async def client(token: str, project: str | None = None) -> Client:
        return Client("http://localhost", token, project=project, transport=api.http._transport)

    keeper = await client(api.token)
    await keeper.create_user("ada", PASSWORD, owns=True)
    invited = (await keeper.create_user("bob"))["invitation"]["token"]
    signed_in = await keeper.accept_invitation(invited, PASSWORD)
    renewed = await keeper.refresh(signed_in["refresh_token"])
    bob = await client(renewed["access_token"])
    assert (await bob.me())["name"] == "bob"
    made = await keeper.create_project("shop", settings={"budget_limit": 5}, owner="ada")
    await keeper.put_member("shop", "bob", ["admin"], ["finance"])
    changed = await keeper.update_project("shop", {"description": "Orders."})
    assert (changed["description"], (await bob.project("shop"))["id"]) == ("Orders.", made["id"])
    assert [each["name"] for each in (await bob.projects())["data"]] == ["shop"]
    assert [each["user"]["name"] for each in await bob.members("shop")] == ["ada", "bob"]
    assert (await bob.project_stats("shop"))["members"] == 2
    key = await bob.create_key("ci", ["variable:write"], 7)
    program = await client(key["key"])
    await program.put_variable("limit", [1])
    await program.remove_variable("limit")
    await program.put_variable("limit", 2)
    assert [each["value"] for each in await bob.variables()] == [2]
    assert ((await bob.keys())[0]["id"], (await bob.key(key["id"]))["name"]) == (key["id"], "ci")
    assert (await bob.revoke_key(key["id"]))["revoked_at"] is not None
    assert {each["name"] for each in (await bob.audit(action="variable:put"))["data"]} == {"bob/ci"}
    assert len((await keeper.audit_installation(actor="bob", limit=1))["data"]) == 1
    (session,) = await bob.sessions()
    assert await bob.csrf_token()
    await bob.change_password(PASSWORD, "another horse, another battery")
    again = await keeper.login("bob", "another horse, another battery")
    other = await client(again["access_token"])
    await other.end_session(session["id"])
    await other.logout()
    for gone in (bob, other):
        try:
            await gone.me()
        except Refused as error:
            assert error.status == 401  # noqa: PT017  both have to be refused
        else:
            raise AssertionError
    await keeper.update_user("bob", active=False)
    assert (await keeper.user("bob"))["active"] is False
    assert (await keeper.invite_user("ada"))["token"].startswith("cli_")
    assert len((await keeper.users(limit=1))["data"]) == 1
    await keeper.remove_member("shop", "bob")
    in_shop = await client(api.token, "shop")
    assert [each["value"] for each in await in_shop.variables()] == [2]
    await keeper.delete_project("shop")
