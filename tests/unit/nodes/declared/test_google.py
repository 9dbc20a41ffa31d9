"""Sheets, Calendar and Drive, against a server that hands out tokens and insists on them."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from celeriac import Fail, Json
from celeriac.testing import Outcome, run_node
from engine.outside.connections import ConnectionInvalid
from engine.outside.egress import OpenLink
from tests import vendors
from tests.loopback import serving
from tests.vendors import REGISTRY, Service, google_key, google_person, logged_in, opened_as


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as made:
        yield made


@pytest.fixture
async def google(stack: AsyncExitStack) -> tuple[Service, OpenLink]:
    service = vendors.google()
    server = await stack.enter_async_context(serving(service.handle))
    egress = vendors.loopback_egress()
    stack.push_async_callback(egress.aclose)
    return service, await logged_in(egress, "google", google_person(server.url))


async def run(google: tuple[Service, OpenLink], name: str, /, key: str = "key-1", **config: Any) -> Outcome:
    return await run_node(REGISTRY.get(name), config, connections={"google": google[1]}, idempotency_key=key)


ORDERS: dict[str, Any] = {"spreadsheet": "sheet1", "range": "Orders!A1:B"}


async def test_a_service_account_signs_for_its_token(stack: AsyncExitStack) -> None:
    service = vendors.google()
    server = await stack.enter_async_context(serving(service.handle))
    egress = vendors.loopback_egress()
    stack.push_async_callback(egress.aclose)
    values: dict[str, Json] = {
        "service_account": json.dumps(google_key()),
        "base_url": server.url,
        "token_url": f"{server.url}/token",
    }
    link = await logged_in(egress, "google", values)
    assert (await run((service, link), "sheets_read", **ORDERS)).kind == "output"

    other = {**google_key(), "client_email": "other@project.iam.gserviceaccount.com"}
    with pytest.raises(Fail, match="invalid_grant Bad grant") as caught:
        await logged_in(egress, "google", {**values, "service_account": json.dumps(other)})
    assert caught.value.code == "connection.refused"
    broken = {**google_key(), "private_key": "-----BEGIN PRIVATE KEY-----\nx\n"}
    with pytest.raises(Fail, match="no RSA key"):
        await logged_in(egress, "google", {**values, "service_account": json.dumps(broken)})


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"service_account": "no json"},
        {"service_account": "{}"},
        {"client_id": "x"},
        {
            **google_person("https://x.example"),
            "service_account": json.dumps({"client_email": 1, "private_key": 2}),
        },
    ],
)
def test_half_an_account_is_none(values: dict[str, Json]) -> None:
    with pytest.raises(ConnectionInvalid) as caught:
        opened_as("google", values)
    assert "s3cr3t" not in str(caught.value.message)


async def test_rows_are_appended_and_read(google: tuple[Service, OpenLink]) -> None:
    appended = await run(google, "sheets_append", **ORDERS, rows=[[1, "9.50"], [2, "=1+1"]], parse=False)
    assert appended.value == {"range": "Orders!A2:B3", "rows": 2}
    assert dict(google[0].calls[-1].query)["valueInputOption"] == "RAW"
    read: Any = (await run(google, "sheets_read", **ORDERS)).value
    assert read["rows"] == [["id", "total"], [1, "9.50"], [2, "=1+1"]]


async def test_an_event_is_made_once_a_key(google: tuple[Service, OpenLink]) -> None:
    when: dict[str, Any] = {
        "start": {"date": "2031-05-02"},
        "end": {"date": "2031-05-03"},
        "attendees": [{"email": "a@b.c"}],
    }
    first: Any = (await run(google, "calendar_create", summary="Review", **when)).value
    again: Any = (await run(google, "calendar_create", summary="Review", **when)).value
    await run(google, "calendar_create", "key-2", summary="Review", **when)
    assert (first["id"], first["url"], again["url"]) == (again["id"], "https://calendar.example/e", None)
    assert google[0].count() == 2
    assert google[0].effects[0]["attendees"] == [{"email": "a@b.c"}]
    assert "location" not in google[0].effects[0]


async def test_events_are_listed_page_after_page_changed_and_deleted(
    google: tuple[Service, OpenLink],
) -> None:
    found: Any = (await run(google, "calendar_list", most=4)).value
    assert ([each["id"] for each in found["items"]], found["more"]) == (["e0", "e1", "e2", "e3"], True)
    changed = await run(google, "calendar_update", event="e1", summary="Later")
    assert changed.value == {"id": "e1", "summary": "Later"}
    for name in ("e1", "gone"):
        assert (await run(google, "calendar_delete", event=name)).value == {"deleted": True}
    missing = await run(google, "calendar_delete", event="e9")
    assert (missing.kind, missing.code) == ("failed", "http.client_error")


async def test_a_file_goes_up_and_comes_down_as_it_was(google: tuple[Service, OpenLink]) -> None:
    data = bytes(range(256))
    content: Json = {"base64": base64.b64encode(data).decode(), "media_type": "application/pdf"}
    uploaded: Any = (await run(google, "drive_upload", name="a.pdf", content=content, folder="d1")).value
    assert uploaded == {"id": "f1", "name": "a.pdf", "parents": ["d1"]}
    down: Any = (await run(google, "drive_download", file="f1")).value
    assert (base64.b64decode(down["content"]["base64"]), down["media_type"]) == (data, "application/pdf")
    await run(google, "drive_upload", name="a.csv", content="a,b\n", media_type="text/csv")
    text: Any = (await run(google, "drive_download", file="f1")).value
    assert text == {"content": "a,b\n", "media_type": "text/csv"}
    listed: Any = (await run(google, "drive_list", query="trashed = false")).value
    assert listed == {"items": [{"id": "f1", "name": "a.csv"}], "more": False}


async def test_a_deleted_file_is_gone_however_often_it_is_deleted(google: tuple[Service, OpenLink]) -> None:
    for _ in range(2):
        assert (await run(google, "drive_delete", file="f0")).value == {"deleted": True}
    assert google[0].count() == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (
            (429, {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Quota"}}, {}),
            "try_again",
        ),
        (
            (403, {"error": {"message": "Limit", "errors": [{"reason": "userRateLimitExceeded"}]}}, {}),
            "try_again",
        ),
        ((403, {"error": {"message": "No", "errors": [{"reason": "forbidden"}]}}, {}), "failed"),
        ((403, {"error": {"message": "No"}}, {}), "failed"),
    ],
)
async def test_googles_limits_are_kept(google: tuple[Service, OpenLink], reply: Any, kind: str) -> None:
    google[0].refuses.append(reply)
    assert (await run(google, "sheets_append", **ORDERS, rows=[[1]])).kind == kind
    assert google[0].count() == 0
