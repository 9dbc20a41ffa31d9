from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

from api import pages
from engine.errors import Invalid
from engine.listing import Page


def request(path: str = "/api/v1/things", query: str = "limit=2") -> Request:
    keys = {"cursor": b"k" * 32}
    app = SimpleNamespace(state=SimpleNamespace(celeriac=SimpleNamespace(key=keys.__getitem__)))
    headers = [(b"host", b"localhost")]
    scope = {"type": "http", "path": path, "query_string": query.encode(), "headers": headers, "app": app}
    return Request(scope)


ASKED = request()


def answered(page: Page) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(bytes(pages.answer(ASKED, page).body))
    return body


def cursor(position: Any) -> str:
    return str(answered(Page([], position))["next_cursor"])


def test_the_last_page_says_so() -> None:
    assert answered(Page([{"id": "a"}], None)) == {
        "data": [{"id": "a"}],
        "next_cursor": None,
        "has_more": False,
    }


def test_a_page_links_to_the_next_with_all_that_was_asked() -> None:
    answer = pages.answer(ASKED, Page([], "x"))
    assert answer.headers["link"] == f'</api/v1/things?limit=2&cursor={cursor("x")}>; rel="next"'


@pytest.mark.parametrize("name", ["a", "ü/ö", '"', "x" * 200])
def test_a_cursor_by_name_comes_back_as_it_went(name: str) -> None:
    assert pages.by_name(ASKED, cursor(name)) == name


def test_other_cursors_come_back_as_they_went() -> None:
    assert pages.by_birth(ASKED, cursor((7, "exec_x"))) == (7, "exec_x")
    assert pages.by_number(ASKED, cursor(7)) == 7
    assert pages.by_order(ASKED, cursor(["name:asc", "b", "wf_x"]), "name:asc") == ("b", "wf_x")


def test_no_cursor_is_the_beginning() -> None:
    assert (pages.by_name(ASKED, None), pages.by_birth(ASKED, None)) == ("", None)
    assert (pages.by_number(ASKED, None), pages.by_order(ASKED, None, "name:asc")) == (None, None)


def test_a_cursor_of_another_order_is_refused() -> None:
    with pytest.raises(Invalid):
        pages.by_order(ASKED, cursor(["name:asc", "b", "wf_x"]), "name:desc")


def test_a_cursor_is_good_for_its_own_list_only() -> None:
    with pytest.raises(Invalid):
        pages.by_name(request("/api/v1/others"), cursor("a"))


def test_a_cursor_that_was_changed_is_refused() -> None:
    raw = base64.urlsafe_b64decode(cursor("aaaa") + "==")
    forged = base64.urlsafe_b64encode(raw.replace(b"aaaa", b"bbbb")).decode().rstrip("=")
    with pytest.raises(Invalid):
        pages.by_name(ASKED, forged)


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(b"m" * 16 + json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "made_up", ["", "!", "abc", "\u00e4", encoded({}), encoded([1]), encoded([7, "x"]), encoded(None)]
)
def test_a_cursor_that_no_list_gave_out_is_refused(made_up: str) -> None:
    with pytest.raises(Invalid):
        pages.by_birth(ASKED, made_up)


@pytest.mark.parametrize("position", [[1], ["x", 1], [True, 1], "x"])
def test_a_cursor_of_another_form_is_refused(position: Any) -> None:
    with pytest.raises(Invalid):
        pages.by_birth(ASKED, cursor(position))
