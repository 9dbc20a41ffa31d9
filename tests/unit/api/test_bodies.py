from __future__ import annotations

from typing import Any

import pytest
from fastapi import Request

from api import bodies
from api.bodies import NotJson
from engine.checking.source import MAX_DEPTH
from engine.errors import Invalid, TooLarge


def request(body: bytes) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    return Request({"type": "http", "headers": []}, receive)


async def test_a_body_means_its_value_and_none_means_null() -> None:
    assert await bodies.read(request(b'{"a": [1, "x", null]}')) == {"a": [1, "x", None]}
    assert await bodies.read(request(b"")) is None


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff",
        b'{"a": NaN}',
        b"[Infinity]",
        b'{"a": 1, "a": 2}',
        b"[" * 100_000,
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b"1" * 10_000,
        b'["\\ud800"]',
        b'{"\\udfff": 1}',
    ],
)
async def test_what_is_no_strict_json_is_refused(body: bytes) -> None:
    with pytest.raises(NotJson):
        await bodies.read(request(body))


async def test_a_body_may_be_as_large_as_the_limit_and_no_larger() -> None:
    assert await bodies.read(request(b"[1]"), 3) == [1]
    with pytest.raises(TooLarge):
        await bodies.read(request(b"[12]"), 3)


async def test_an_object_has_no_keys_that_mean_nothing() -> None:
    assert await bodies.read_object(request(b'{"input": 1}'), "input") == {"input": 1}
    assert await bodies.read_object(request(b""), "input") == {}
    with pytest.raises(Invalid) as refused:
        await bodies.read_object(request(b'{"imput": 1}'), "input")
    assert refused.value.hint == "Did you mean input?"


@pytest.mark.parametrize(
    ("body", "kind"), [(b"[1]", "a list"), (b'"x"', "a text"), (b"7", "a number"), (b"true", "a truth value")]
)
async def test_what_is_no_object_is_told_what_it_is(body: bytes, kind: str) -> None:
    with pytest.raises(Invalid) as refused:
        await bodies.read_object(request(body), "input")
    assert refused.value.message == f"The body is {kind}; an object is wanted."


@pytest.mark.parametrize("text", [r'{"a": "\ud800"}', r'{"\uDC00": 1}', r'["\ud83d x"]'])
async def test_half_of_a_surrogate_pair_is_no_text(text: str) -> None:
    with pytest.raises(bodies.NotJson, match="surrogate"):
        await bodies.read(request(text.encode()))


async def test_a_whole_pair_is_one() -> None:
    assert await bodies.read(request(rb'["\ud83d\ude00 \\ud800"]')) == ["\U0001f600 \\ud800"]


async def test_a_text_with_nul_is_refused_by_its_key() -> None:
    with pytest.raises(Invalid, match="`a` holds the character NUL"):
        await bodies.read_object(request(rb'{"a": "x\u0000"}'), "a")
