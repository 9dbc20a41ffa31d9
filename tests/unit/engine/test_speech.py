"""What a node says on its way: in pieces of some size, without secrets, readable by those who have the keys."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import speech
from engine.clock import SystemClock
from engine.outside.scrub import forms_of, safe_length, scrub
from engine.outside.sealing import SealingKeys
from engine.settings import Limits
from engine.snapshots import Facts
from engine.speech import Piece, Speaking, Speech, State, read, written

KEYS = SealingKeys.of(b"k" * 32)
OTHERS = SealingKeys.of(b"o" * 32)
PIECE = Piece("proj_a", "wf_a", "exec_a", {"type": "node.saying", "text": "Once upon a time"})
Told = tuple[str, int, State]


class Listener:
    """Keeps what a speech tells, and lets everything be told at once unless `limits` say otherwise."""

    def __init__(self, secrets: frozenset[str] = frozenset(), **limits: int) -> None:
        self.told: list[Told] = []
        made = replace(Limits(), **limits)
        self.speech = Speech(lambda *piece: self.told.append(piece), lambda: secrets, made)

    @property
    def text(self) -> str:
        return "".join(text for text, _, _ in self.told)


async def test_what_comes_at_once_is_one_piece_and_the_end_says_that_it_is_whole() -> None:
    listener = Listener(piece_ms=5)
    for word in ("Once ", "upon ", "a "):
        listener.speech.say(word)
    assert listener.told == []
    while not listener.told:
        await asyncio.sleep(0.001)
    listener.speech.say("time")
    listener.speech.end(whole=True)
    assert listener.told == [("Once upon a ", 0, "going"), ("time", 12, "whole")]


async def test_what_breaks_off_says_so_and_tells_no_more() -> None:
    listener = Listener(piece_characters=4)
    listener.speech.say("Once ")
    listener.speech.say("upo")
    listener.speech.end(whole=False)
    assert listener.told == [("Once", 0, "going"), (" ", 4, "going"), ("", 5, "broken")]


async def test_no_piece_is_longer_than_it_may_be() -> None:
    listener = Listener(piece_characters=10)
    listener.speech.say("x" * 25)
    listener.speech.end(whole=True)
    assert [len(text) for text, _, _ in listener.told] == [10, 10, 5, 0]
    assert [offset for _, offset, _ in listener.told] == [0, 10, 20, 25]


async def test_who_says_too_much_is_not_told_any_further_but_to_the_end() -> None:
    listener = Listener(piece_characters=10, said_characters=20)
    for _ in range(9):
        listener.speech.say("x" * 10)
    listener.speech.end(whole=True)
    assert listener.told[1:] == [("x" * 10, 10, "going"), ("", 20, "whole")]


async def test_nothing_is_told_after_the_end() -> None:
    listener = Listener(piece_ms=1)
    listener.speech.say("Once")
    listener.speech.end(whole=True)
    await asyncio.sleep(0.02)
    assert listener.told == [("Once", 0, "whole")]


SECRET = "sk-abcabcabd"
PARTS = ["sk-", "sk-abc", "abc", "abd", SECRET, SECRET[:-1], "c2stYWJj", "***", " ", "a", "\n"]


@given(st.lists(st.sampled_from(PARTS), max_size=12), st.data())
def test_no_piece_shows_a_secret_however_the_text_comes(parts: list[str], data: st.DataObject) -> None:
    text, secrets = "".join(parts), frozenset({SECRET})
    cuts = sorted({0, len(text), *data.draw(st.lists(st.integers(0, len(text)), max_size=8))})
    listener = Listener(secrets, piece_characters=1)
    for start, end in pairwise(cuts):
        listener.speech.say(text[start:end])
    listener.speech.end(whole=True)
    assert listener.text == scrub(text, secrets)
    assert not any(form in listener.text for form in forms_of(secrets))


@given(st.text("abcdefg", min_size=6, max_size=9), st.text("abcdefg", max_size=60), st.integers(0, 60))
def test_no_secret_reaches_over_the_place_up_to_which_is_told(secret: str, text: str, place: int) -> None:
    forms = forms_of({secret})
    begun = text[:place]
    told = begun[: safe_length(begun, forms)]
    for form in forms:
        at = text.find(form)
        while at >= 0:
            assert not at < len(told) < at + len(form)
            at = text.find(form, at + 1)


def test_words_that_are_no_beginning_of_a_secret_are_not_held_back() -> None:
    assert safe_length("The answer is 42", forms_of({SECRET})) == 16
    assert safe_length("The key is sk-ab", forms_of({SECRET})) == 11
    assert safe_length("", forms_of({SECRET})) == safe_length("", ()) == 0


def test_a_secret_that_is_learnt_in_the_midst_is_kept_from_then_on() -> None:
    secrets: set[str] = set()
    told: list[str] = []
    made = Speech(lambda text, *_: told.append(text), lambda: secrets, replace(Limits(), piece_characters=1))
    made.say("open ")
    secrets.add(SECRET)
    made.say(SECRET)
    made.end(whole=True)
    assert "".join(told) == "open ***"


def test_a_piece_is_read_by_who_has_the_keys_and_by_nobody_else() -> None:
    text = written(PIECE, KEYS, os.urandom)
    assert "Once" not in text
    sealed = read(text)
    assert sealed is not None
    assert (sealed.project, sealed.workflow, sealed.execution) == ("proj_a", "wf_a", "exec_a")
    assert sealed.opened(KEYS) == PIECE
    assert sealed.opened(OTHERS) is None


@pytest.mark.parametrize("name", ["project", "workflow", "execution"])
def test_a_piece_that_is_brought_to_another_place_is_not_read(name: str) -> None:
    sealed = read(written(PIECE, KEYS, os.urandom))
    assert sealed is not None
    changed: Any = {name: "other"}
    assert replace(sealed, **changed).opened(KEYS) is None


@pytest.mark.parametrize(
    "text",
    ["", "exec_1", "a b c", "a b c d e", "a b c *", "a b c \u00fc", "a b c " + "A" * 1_000_000],
    ids=lambda text: text[:12],
)
def test_what_is_no_piece_is_none(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize("sealed", ["", "AAAA", "AQ==" + "A" * 400])
def test_what_was_not_sealed_by_us_is_not_opened(sealed: str) -> None:
    found = read(f"a b c {sealed}")
    assert found is None or found.opened(KEYS) is None


async def test_a_piece_says_whose_it_is_and_which_try_it_is_of() -> None:
    sent: list[str] = []
    facts = cast("Facts", Named())
    speaking = Speaking(KEYS, sent.append, SystemClock(1_900_000_000_000), Limits())
    speak = speaking.of(facts, "answer", "2", 3)
    for _ in range(2):
        made = speak("answer", "gpt-4o", frozenset)
        made.say("Once")
        made.end(whole=True)
    first, second = [opened(each) for each in sent]
    assert first["speech"] != second["speech"]
    assert {**first, "speech": "", "at": 0} == {
        "execution_id": "exec_a",
        "workflow_id": "wf_a",
        "type": speech.KIND,
        "at": 0,
        "node": "answer",
        "item": "2",
        "attempt": 3,
        "step": "answer",
        "model": "gpt-4o",
        "speech": "",
        "offset": 0,
        "text": "Once",
        "state": "whole",
    }


class Named:
    project, workflow, execution = "proj_a", "wf_a", "exec_a"


def opened(text: str) -> dict[str, Any]:
    sealed = read(text)
    assert sealed is not None
    piece = sealed.opened(KEYS)
    assert piece is not None
    return piece.told
