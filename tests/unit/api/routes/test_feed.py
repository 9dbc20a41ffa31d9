from __future__ import annotations

from typing import Any

import pytest

from api.main import create_app
from tests.builders import node
from tests.unit.api.conftest import Api


async def test_parts_of_the_feed_lead_on_from_cursor_to_cursor(api: Api) -> None:
    await api.push(node("a"))
    names = [await api.execute({}) for _ in range(3)]
    await api.carry(*names)
    found: list[Any] = []
    cursor, more = None, True
    while more:
        page = (await api.get("/events", params={"limit": 2} | ({"after": cursor} if cursor else {}))).json()
        found += page["data"]
        cursor, more = page["cursor"], page["has_more"]
    for each in names:
        mine = [event["seq"] for event in found if event["execution_id"] == each]
        assert mine == list(range(1, len(mine) + 1))
    assert len({(each["execution_id"], each["seq"]) for each in found}) == len(found)


async def test_a_topic_and_types_choose(api: Api) -> None:
    await api.push(node("a"))
    await api.push(node("a"), name="other")
    mine, other = await api.execute({}), await api.execute({}, "other")
    await api.carry(mine, other)
    of_workflow = (await api.get("/events", params={"topic": "workflows/other"})).json()["data"]
    assert {each["execution_id"] for each in of_workflow} == {other}
    of_execution = (
        await api.get("/events", params={"topic": f"executions/{mine}", "types": "execution.*"})
    ).json()
    assert [each["type"] for each in of_execution["data"]] == ["execution.created", "execution.succeeded"]


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"topic": "everything"}, 422),
        ({"topic": "workflows/"}, 422),
        ({"topic": "workflows/nothing"}, 404),
        ({"topic": "executions/exec_nothing"}, 404),
        ({"after": "soon"}, 422),
        ({"limit": 0}, 422),
        ({"types": ",".join(["a"] * 21)}, 422),
    ],
)
async def test_what_cannot_be_followed_is_said(api: Api, params: dict[str, Any], status: int) -> None:
    answer = await api.get("/events", params=params)
    assert answer.status_code == status
    assert answer.json()["code"]


def test_there_is_a_feed_in_the_document_of_the_api(api: Api) -> None:
    paths = create_app(api.settings, serves=False).app.openapi()["paths"]
    assert {"get", "post"} <= paths["/api/v1/events"].keys()
