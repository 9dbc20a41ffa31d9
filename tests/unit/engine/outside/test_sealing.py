from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.outside.sealing import (
    Place,
    SealBroken,
    SealedWithOtherKey,
    SealingKey,
    SealingKeys,
    open_sealed,
    rewrapped,
    seal,
    sealed_under,
)

KEY = SealingKey.of(random.Random(1).randbytes(32))
OTHER = SealingKey.of(random.Random(2).randbytes(32))
KEYS = SealingKeys(KEY)
PLACE = Place("proj_a", "conn_a", "credential")


def sealed(plain: bytes = b"hunter2", seed: int = 3) -> bytes:
    return seal(plain, PLACE, KEYS, random.Random(seed).randbytes)


@settings(deadline=None)
@given(st.binary(max_size=2000), st.integers())
def test_what_was_sealed_opens(plain: bytes, seed: int) -> None:
    assert open_sealed(sealed(plain, seed), PLACE, KEYS) == plain


def test_the_same_randomness_gives_the_same_seal_and_other_randomness_another() -> None:
    assert sealed(seed=3) == sealed(seed=3)
    assert sealed(seed=3) != sealed(seed=4)


def test_the_sealed_form_shows_nothing_of_the_text() -> None:
    assert b"hunter2" not in sealed()


def test_every_draw_of_randomness_is_as_long_as_it_must_be() -> None:
    asked: list[int] = []

    def draw(count: int) -> bytes:
        asked.append(count)
        return bytes(range(len(asked), len(asked) + count))

    seal(b"x", PLACE, KEYS, draw)

    assert asked == [32, 12, 12]


@pytest.mark.parametrize("field", ["project", "connection", "field"])
def test_a_text_moved_elsewhere_does_not_open(field: str) -> None:
    with pytest.raises(SealBroken):
        open_sealed(sealed(), replace(PLACE, **{field: "other"}), KEYS)


def test_places_with_separators_in_their_names_are_told_apart() -> None:
    names = ["a", "a|b", 'a", "b', "b", ""]
    places = [Place(*each) for each in itertools.product(names, repeat=3)]

    assert len({each.bound("text") for each in places}) == len(places)


def test_another_key_is_told_from_an_altered_text() -> None:
    with pytest.raises(SealedWithOtherKey):
        open_sealed(sealed(), PLACE, SealingKeys(OTHER))


def test_a_key_with_a_forged_id_opens_nothing() -> None:
    with pytest.raises(SealBroken):
        open_sealed(sealed(), PLACE, SealingKeys(SealingKey(KEY.id, OTHER.key)))


def test_no_bit_can_be_changed() -> None:
    text = sealed(b"x")
    opened = []
    for at in range(len(text)):
        changed = bytearray(text)
        changed[at] ^= 1
        try:
            open_sealed(bytes(changed), PLACE, KEYS)
        except (SealBroken, SealedWithOtherKey):
            continue
        opened.append(at)

    assert opened == []


@pytest.mark.parametrize("size", [0, 1, 8, 9, 69, 96])
def test_a_text_that_was_cut_off_does_not_open(size: int) -> None:
    with pytest.raises((SealBroken, SealedWithOtherKey)):
        open_sealed(sealed(b"")[:size], PLACE, KEYS)


def test_keys_do_not_show_in_a_repr() -> None:
    assert repr(KEY.key) not in repr(KEY)


def test_a_key_follows_from_the_secret_alone() -> None:
    secret = random.Random(1).randbytes(32)

    assert SealingKey.of(secret) == KEY
    assert KEY.id != OTHER.id
    assert KEY.key != secret


def test_a_text_is_rewrapped_under_the_next_key_and_is_the_same_text() -> None:
    both = SealingKeys(OTHER, (KEY,))
    text = rewrapped(sealed(), PLACE, both, random.Random(9).randbytes)

    assert (sealed_under(sealed(), OTHER), sealed_under(text, OTHER)) == (False, True)
    assert open_sealed(text, PLACE, SealingKeys(OTHER)) == b"hunter2"
    with pytest.raises(SealedWithOtherKey):
        open_sealed(text, PLACE, KEYS)


def test_what_no_key_opens_is_not_rewrapped() -> None:
    with pytest.raises(SealedWithOtherKey):
        rewrapped(sealed(), PLACE, SealingKeys(OTHER), random.Random(9).randbytes)
    with pytest.raises(SealBroken):
        rewrapped(
            sealed(), replace(PLACE, project="other"), SealingKeys(OTHER, (KEY,)), random.Random(9).randbytes
        )
