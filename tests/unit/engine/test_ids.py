from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from engine.ids import encode

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
TIMES = st.integers(0, 2**48 - 1)
ENTROPY = st.binary(min_size=10, max_size=10)


def number_of(text: str) -> int:
    number = 0
    for each in text.partition("_")[2]:
        number = number * 32 + ALPHABET.index(each)
    return number


@given(now=TIMES, entropy=ENTROPY)
def test_an_id_is_a_uuid_of_version_7_that_holds_its_time_and_its_randomness(
    now: int, entropy: bytes
) -> None:
    text = encode("exec", now, entropy)
    assert re.fullmatch(r"exec_[0-9a-hjkmnp-tv-z]{26}", text)
    number = number_of(text)
    assert number >> 80 == now
    assert number >> 76 & 0xF == 7
    assert number >> 62 & 0b11 == 0b10
    random = int.from_bytes(entropy, "big")
    assert number >> 64 & 0xFFF == random >> 68
    assert number & (1 << 62) - 1 == random & (1 << 62) - 1


@given(earlier=TIMES, later=TIMES, one=ENTROPY, two=ENTROPY)
def test_ids_sort_by_birth(earlier: int, later: int, one: bytes, two: bytes) -> None:
    if earlier < later:
        assert encode("wf", earlier, one) < encode("wf", later, two)
