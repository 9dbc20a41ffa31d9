"""The ledger of effects does what its URL says, and writes it down first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.sink import BROKEN_OFF, Book, Reply, Request, read


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    opened = Book(tmp_path / "sink.db")
    yield opened
    opened.close()


def post(
    script: str = "ok", key: str | None = "k1", body: str = '{"execution": "e", "node": "n", "value": 1}'
) -> Request:
    return Request("POST", f"/effect?node=n&script={script}", key, body.encode())


DONE = Reply(200, json.dumps({"done": "n", "value": 1}))


def test_a_known_key_gets_the_first_reply_and_changes_nothing(book: Book, tmp_path: Path) -> None:
    assert book.write([post(), post(), post(key="k2")], 5) == [DONE] * 3
    assert [(each.key, each.applied, each.behaviour) for each in read(tmp_path / "sink.db")] == [
        ("k1", True, "ok"),
        ("k1", False, "replayed"),
        ("k2", True, "ok"),
    ]


def test_a_known_key_with_another_body_is_a_conflict(book: Book, tmp_path: Path) -> None:
    book.write([post(), post(body='{"execution": "e", "node": "n", "value": 2}')], 5)
    assert [each.behaviour for each in read(tmp_path / "sink.db")] == ["ok", "conflict"]


def test_a_script_is_followed_word_by_word_and_its_last_word_stays(book: Book, tmp_path: Path) -> None:
    script = "500,lose,429,drop"
    replies = [book.write([post(script)], 5)[0].status for _ in range(6)]
    assert replies == [500, BROKEN_OFF, 429, BROKEN_OFF, 200, 200]
    assert [each.applied for each in read(tmp_path / "sink.db")] == [False, False, False, True, False, False]


def test_without_a_key_every_request_is_applied(book: Book, tmp_path: Path) -> None:
    book.write([post(key=None), post(key=None)], 5)
    assert [each.applied for each in read(tmp_path / "sink.db")] == [True, True]


def test_what_is_answered_is_in_the_file_before(book: Book, tmp_path: Path) -> None:
    book.write([post()], 1234)
    (effect,) = read(tmp_path / "sink.db")
    assert (effect.at, effect.execution, effect.node, effect.status) == (1234, "e", "n", 200)
