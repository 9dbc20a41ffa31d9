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
