from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.http.events import Events

STREAM = (
    b": a comment\n"
    b"event: greeting\n"
    b"data: one\n\n"
    b"id: 7\r\ndata:two\r\ndata: lines\r\n\r\n"
    b"data:  indented\r\r"
    b"event: without data\n\n" + "data: \u00fc \u2028 \U0001f600\n\n".encode() + b"data: without an end\n"
)
EXPECTED = ["one", "two\nlines", " indented", "\u00fc \u2028 \U0001f600"]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_events_are_the_same_however_their_bytes_come(cuts: list[int]) -> None:
    places = sorted({0, len(STREAM), *cuts})
    events, found = Events(), []
    for start, end in pairwise(places):
        found += events.feed(STREAM[start:end])
    assert found == EXPECTED


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_line_ends_in_each_of_three_ways(end: bytes) -> None:
    events = Events()
    assert events.feed(b"data: a" + end + end + b"data: b" + end + end + b":") == ["a", "b"]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert Events().feed(b"data: \xff\n\n") == ["\ufffd"]
