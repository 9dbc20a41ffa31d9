from __future__ import annotations

from tests.unit.api.conftest import Api


async def test_node_types_are_listed_with_what_can_be_said_of_all_their_nodes(api: Api) -> None:
    found = {each["name"]: each for each in (await api.get("/node-types")).json()["data"]}
    assert [*found] == sorted(found)
    assert (found["wait"]["waits"], found["wait"]["version"]) == (True, 1)
    assert found["fail"]["ports"] == ["out"]
    assert {each["effect"] for each in found.values()} == {"none", "read", "keyed", "once", None}


async def test_a_node_type_is_shown_with_the_schema_of_its_config(api: Api) -> None:
    for name in ("fail", "fail@1"):
        found = (await api.get(f"/node-types/{name}")).json()
        assert (found["name"], found["config"]["type"]) == ("fail", "object")
        assert "message" in found["config"]["properties"]


async def test_one_that_is_not_installed_is_told_the_nearest(api: Api) -> None:
    unknown = await api.get("/node-types/fial")
    assert (unknown.status_code, unknown.json()["hint"]) == (404, "Did you mean fail?")
    for name in ("fail@9", "fail@x"):
        assert (await api.get(f"/node-types/{name}")).status_code == 404
