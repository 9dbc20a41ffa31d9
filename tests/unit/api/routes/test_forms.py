from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from tests.builders import node
from tests.unit.api.conftest import Api

FIELDS = {
    "name": {"type": "string", "minLength": 2, "title": "Your name", "description": "As on the card."},
    "mail": {"type": "string", "format": "email"},
    "story": {"type": "string", "maxLength": 2000},
    "age": {"type": "integer", "minimum": 18},
    "weight": {"type": ["number", "null"]},
    "news": {"type": "boolean"},
    "size": {"enum": ["S", "M", 7]},
    "days": {"type": "array", "items": {"enum": ["Mon", "Tue"]}},
    "more": {"type": "object"},
}
INPUTS = {"type": "object", "required": ["name", "age"], "properties": FIELDS}


class Page(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def named(self, name: str) -> dict[str, str | None]:
        return next(attributes for _, attributes in self.tags if attributes.get("name") == name)


async def asked(api: Api, inputs: Any = None, **config: Any) -> str:
    """A workflow with a form; the path of its page."""
    trigger = {"type": "form", "id": "ask", "config": config}
    body = {"nodes": [node("a", "transform", {"expression": "trigger.payload"})], "inputs": inputs or INPUTS}
    answer = await api.post("/workflows", {"name": "w", "definition": {**body, "trigger": trigger}})
    assert answer.status_code == 201, answer.text
    (issued,) = answer.json()["webhooks"]
    assert "secret" not in issued
    return str(issued["url"]).partition("8321")[2]


async def shown(api: Api, path: str) -> tuple[httpx2.Response, Page]:
    answer = await api.http.get(path, headers={"Authorization": ""})
    return answer, Page(answer.text)


async def send(api: Api, path: str, fields: Any, **headers: str) -> httpx2.Response:
    sent = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": "", **headers}
    return await api.http.post(path, content=urlencode(fields, doseq=True).encode(), headers=sent)


async def filled(api: Api, path: str, **fields: Any) -> httpx2.Response:
    """Fill a form in as a browser does."""
    _, page = await shown(api, path)
    token = page.named("@form")["value"]
    return await send(api, path, {"@form": token, **fields})


def executions(api: Api) -> int:
    return int(api.bench.query("SELECT count(*) FROM execution")[0][0])


async def test_a_form_has_a_field_for_each_key_of_the_payload(api: Api) -> None:
    path = await asked(api, title="Order", description="Two & two", submit="Buy")
    answer, page = await shown(api, path)
    assert answer.status_code == 200
    assert "<h1>Order</h1>" in answer.text
    assert "Two &amp; two" in answer.text
    kinds = {name: page.named(name).get("type") for name in ("name", "mail", "age", "weight", "news")}
    assert kinds == {"name": "text", "mail": "email", "age": "number", "weight": "number", "news": "checkbox"}
    assert ("required" in page.named("age"), "required" in page.named("weight")) == (True, False)
    assert [tag for tag, attributes in page.tags if attributes.get("name") in ("story", "more")] == [
        "textarea",
        "textarea",
    ]
    options = [attributes["value"] for tag, attributes in page.tags if tag == "option"]
    assert options == ["", "S", "M", "7"]


async def test_a_page_has_no_script_and_a_policy_that_allows_none(api: Api) -> None:
    answer, page = await shown(api, await asked(api))
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "form-action 'self'; base-uri 'none'; frame-ancestors 'none'" in policy
    (style,) = re.findall("<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    assert {tag for tag, _ in page.tags} & {"script", "img", "iframe", "link", "object"} == set()
    assert [
        name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"
    ] == []
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == "no-store"


async def test_a_filled_in_form_starts_an_execution(api: Api) -> None:
    path = await asked(api, thanks="We call you.")
    fields = {"name": "Ada", "mail": "a@b.c", "story": "x\r\ny", "age": "36", "weight": "61.5"}
    more = {"news": "on", "size": "7", "days": ["Mon", "Tue"], "more": '{"a": 1}'}
    answer = await filled(api, path, **fields, **more)
    assert answer.status_code == 200, answer.text
    assert "We call you." in answer.text
    ((execution, event),) = api.bench.query("SELECT id, trigger_event FROM execution")
    assert '"type": "form"' in event
    await api.carry(execution)
    assert (await api.get(f"/executions/{execution}")).json()["output"] == {
        "a": {
            "name": "Ada",
            "mail": "a@b.c",
            "story": "x\ny",
            "age": 36,
            "weight": 61.5,
            "news": True,
            "size": 7,
            "days": ["Mon", "Tue"],
            "more": {"a": 1},
        }
    }


async def test_what_was_left_empty_is_left_out(api: Api) -> None:
    path = await asked(api)
    await filled(api, path, name="Ada", mail="", age="20", weight="", size="", more="")
    ((text,),) = api.bench.query("SELECT input FROM execution")
    assert text == '{"name":"Ada","age":20,"news":false,"days":[]}'


async def test_what_is_wrong_stands_beside_its_field_and_nothing_is_lost(api: Api) -> None:
    path = await asked(api)
    answer = await filled(api, path, name="A", age="x<y", story="once", more="{}")
    assert answer.status_code == 422
    page = Page(answer.text)
    assert page.named("name")["aria-invalid"] == page.named("age")["aria-invalid"] == "true"
    assert "aria-invalid" not in page.named("mail")
    assert (page.named("name")["value"], page.named("age")["value"]) == ("A", "x<y")
    assert "once</textarea>" in answer.text
    assert executions(api) == 0
    bad = await filled(api, path, name="Ada", age="20", more="{")
    assert (bad.status_code, "This is no JSON." in bad.text) == (422, True)
    # The same page, corrected: what started nothing counts as new.
    token = page.named("@form")["value"]
    assert (await send(api, path, {"@form": token, "name": "Ada", "age": "20"})).status_code == 200


async def test_a_page_that_is_sent_twice_counts_once(api: Api) -> None:
    path = await asked(api)
    _, page = await shown(api, path)
    fields = {"@form": page.named("@form")["value"], "name": "Ada", "age": "20"}
    assert [(await send(api, path, fields)).status_code for _ in range(3)] == [200] * 3
    assert executions(api) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"name=Ada&age=20",
        b"@form=&name=Ada",
        b"%40form=" + b"x" * 300,
        b"\xff",
        b"%40form=%ff",
        b"&".join([b"a=1"] * 2_000),
        b"%40form=a%00b&name=Ada&age=20",
        b"%40form=x&%40form=y&name=Ada&age=20",
    ],
)
async def test_what_no_page_sends_is_refused(api: Api, body: bytes) -> None:
    path = await asked(api)
    sent = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": ""}
    answer = await api.http.post(path, content=body, headers=sent)
    assert answer.status_code == 422, answer.text


async def test_hostile_text_is_text(api: Api) -> None:
    evil = '"><script>alert(1)</script>'
    inputs = {
        "type": "object",
        "required": ["a"],
        "properties": {evil: {"type": "string", "title": evil, "description": evil}, "a": {"enum": [evil]}},
    }
    path = await asked(api, inputs, title=evil, description=evil, submit=evil)
    answer, _ = await shown(api, path)
    assert "<script" not in answer.text
    again = await filled(api, path, **{evil: evil})
    assert again.status_code == 422
    assert "<script" not in again.text
    assert {tag for tag, _ in Page(again.text).tags} & {"script"} == set()


async def test_nobody_finds_a_form_without_its_address(api: Api) -> None:
    path = await asked(api)
    for url in (path[:-1], f"{path}/x", "/forms/x/y", path.replace("/forms/", "/webhooks/")):
        answer = await api.http.get(url)
        assert answer.status_code == 404, url
    assert (
        "Nothing" in (await api.http.get(path[:-1])).text or "nothing" in (await api.http.get(path[:-1])).text
    )


async def test_a_page_of_another_site_cannot_send_one(api: Api) -> None:
    path = await asked(api)
    answer = await send(api, path, {"@form": "x", "name": "Ada", "age": "20"}, Origin="https://evil.example")
    assert answer.status_code == 403
    link = await api.http.get(path, headers={"Sec-Fetch-Site": "cross-site"})
    assert link.status_code == 200
    assert executions(api) == 0


async def test_a_form_of_a_disabled_workflow_is_not_accepted(api: Api) -> None:
    path = await asked(api)
    await api.post("/workflows/w/disable")
    assert (await filled(api, path, name="Ada", age="20")).status_code == 409
    listed = (await api.get("/webhooks")).json()["data"][0]
    assert (listed["kind"], listed["url"]) == ("form", None)
    tried = await api.post(f"/webhooks/{listed['id']}/test", {})
    assert tried.status_code == 422


async def test_a_form_that_cannot_be_is_told_when_it_is_saved(api: Api) -> None:
    for inputs in (
        None,
        {"type": "object"},
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {f"f{n}": {} for n in range(101)}},
    ):
        body = {"nodes": [node("a")], "trigger": {"type": "form"}, **({"inputs": inputs} if inputs else {})}
        answer = await api.post("/workflows", {"name": "w", "definition": body})
        assert answer.status_code == 422, inputs
        assert [each["code"] for each in answer.json()["errors"]] == ["definition.bad_config"]
