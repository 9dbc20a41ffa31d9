from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from api import pages
from engine.errors import Invalid
from engine.queries import Page


def answered(page: Page) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(bytes(pages.answer(page).body))
    return body


def test_the_last_page_says_so() -> None:
    assert answered(Page([{"id": "a"}], None)) == {
        "data": [{"id": "a"}],
        "next_cursor": None,
        "has_more": False,
    }


@pytest.mark.parametrize("name", ["a", "ü/ö", '"', "x" * 200])
def test_a_cursor_by_name_comes_back_as_it_went(name: str) -> None:
    assert pages.by_name(answered(Page([], name))["next_cursor"]) == name


def test_a_cursor_by_birth_comes_back_as_it_went() -> None:
    assert pages.by_birth(answered(Page([], (7, "exec_x")))["next_cursor"]) == (7, "exec_x")


def test_no_cursor_is_the_beginning() -> None:
    assert (pages.by_name(None), pages.by_birth(None)) == ("", None)


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "cursor", ["!", "abc", encoded({}), encoded([1]), encoded(["x", 1]), encoded([True, 1]), encoded(None)]
)
def test_a_cursor_that_no_list_gave_out_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid):
        pages.by_birth(cursor)
