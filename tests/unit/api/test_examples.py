"""The examples of the API's description, taken down once more; and what the client asks about who may."""

from __future__ import annotations

import json
import re

import pytest

from api.examples import FILE
from celeriac.client import Client, Refused
from tests.unit.api.conftest import Api
from tests.unit.api.people import PASSWORD
from tests.unit.api.tour import recorded


@pytest.mark.timeout(120)
async def test_what_is_shown_is_what_comes_back(api: Api) -> None:
    """`python -m tests.unit.api.tour` writes the examples anew."""
    assert await recorded(api) == json.loads(FILE.read_text(encoding="utf-8"))


def test_no_example_shows_a_secret() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert re.findall(r"\bcl[a-z]_[A-Za-z0-9_-]{8,}|whsec_[A-Za-z0-9+/=]{8,}", text) == []


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
