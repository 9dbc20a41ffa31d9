from __future__ import annotations

import pytest
from fastapi import Request

from api import preferences
from engine.errors import Invalid


def request(**headers: str) -> Request:
    raw = [
        (name.lower().replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()
    ]
    return Request({"type": "http", "headers": raw})


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=10", 10),
        ("respond-async, WAIT = 7", 7),
        ('return=minimal; wait="3"', 3),
        ("wait=999999", preferences.LONGEST_WAIT),
        ("wait=-1", 0),
        ("wait=soon", 0),
        ("await=5", 0),
        ("", 0),
    ],
)
def test_a_wish_to_wait_is_read_and_bounded(prefer: str, seconds: int) -> None:
    assert preferences.wait(request(Prefer=prefer)) == seconds


def test_without_the_header_nobody_waits() -> None:
    assert preferences.wait(request()) == 0


def test_a_key_is_taken_as_it_is() -> None:
    assert preferences.idempotency_key(request(Idempotency_Key="a-1")) == "a-1"
    assert preferences.idempotency_key(request()) is None


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ü"])
def test_a_key_that_cannot_be_kept_is_refused(key: str) -> None:
    with pytest.raises(Invalid):
        preferences.idempotency_key(request(Idempotency_Key=key))


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ('"a"', ('"a"',)),
        ('"a", W/"b" ,"c"', ('"a"', 'W/"b"', '"c"')),
        ("*", ("*",)),
        ('""', ('""',)),
    ],
)
def test_entity_tags_are_read_one_by_one(text: str, tags: tuple[str, ...]) -> None:
    assert preferences.tags(request(If_Match=text), "if-match") == tags


def test_without_the_header_no_state_is_meant() -> None:
    assert preferences.tags(request(), "if-match") is None


@pytest.mark.parametrize("text", ["", "a", '"a', '"a" "b"', '"a b"', '"a", b', "**", '"ü"'])
def test_what_is_no_list_of_entity_tags_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        preferences.tags(request(If_Match=text), "if-match")


def test_entity_tags_may_be_as_long_as_is_said_and_no_longer() -> None:
    longest = f'"{"x" * (preferences.LONGEST_TAGS - 2)}"'
    assert preferences.tags(request(If_Match=longest), "if-match") == (longest,)
    with pytest.raises(Invalid):
        preferences.tags(request(If_Match=f'"x{longest[1:]}'), "if-match")
