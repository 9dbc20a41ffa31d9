"""Texts that are found by what they mean, as rows: the same on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from celeriac import Fail, Json, TryAgain
from celeriac.passages import Found, Passage, Source
from engine import passages
from engine.errors import NotFound
from engine.matrix import Matrices
from engine.passages import Shelf
from engine.settings import DEFAULT_PROJECT, Settings
from tests.builders import Client
from tests.models import meaning

SOURCE = Source("words")
TEXTS = {
    "refunds": "How to get your money back: ask for a refund.",
    "parcels": "My parcel is late.",
    "login": "I forgot the password for my login.",
}


@pytest.fixture
def client(store: Settings) -> Iterator[Client]:
    made = Client(store, poll=False)
    yield made
    made.close()


def shelf(client: Client, name: str = "faq", project: str = DEFAULT_PROJECT) -> Shelf:
    at = client.runtime
    return Shelf(at.ledger, at.reader, at.clock, Matrices(), project, name)


def passage(document: str, text: str, part: int = 0, **data: Json) -> Passage:
    return Passage(document, part, text, data, meaning(text))


def filled(client: Client) -> Shelf:
    made = shelf(client)
    client.do(made.put(SOURCE, [passage(name, text, lang="en") for name, text in TEXTS.items()]))
    return made


def found(
    client: Client, at: Shelf, text: str, most: int = 5, least: float = 0.5, **where: Json
) -> list[str]:
    return [each.document for each in client.do(at.nearest(meaning(text), most, least, where))]


def test_the_nearest_are_found_the_nearest_first(client: Client) -> None:
    faq = filled(client)
    assert client.do(faq.source()) == SOURCE
    assert found(client, faq, "money refund", least=-1.0)[0] == "refunds"
    assert found(client, faq, "the login") == ["login"]
    (hit,) = client.do(faq.nearest(meaning("parcel late"), 1, 0.0, {}))
    assert hit == Found("parcels", 0, TEXTS["parcels"], {"lang": "en"}, hit.score)
    assert hit.score == pytest.approx(1.0, abs=1e-6)
    assert len(found(client, faq, "refund parcel login", most=2, least=-1)) == 2
    assert found(client, faq, "the login", lang="de") == []
    assert found(client, faq, "the login", lang="en", other=1) == []


def test_a_document_takes_the_place_of_what_there_was_of_it(client: Client) -> None:
    faq = filled(client)
    longer = [passage("login", "Your login", 0), passage("login", "Parcel, late", 1)]
    client.do(faq.put(SOURCE, longer))
    assert found(client, faq, "parcel late", most=2) == ["login", "parcels"]
    client.do(faq.put(SOURCE, longer[:1]))
    assert found(client, faq, "parcel late", most=2) == ["parcels"]
    assert found(client, faq, "login") == ["login"]
    assert client.query("SELECT count(*) FROM passage")[0][0] == 3


def test_what_has_the_same_text_keeps_its_vector(client: Client) -> None:
    faq = filled(client)
    same = replace(passage("login", TEXTS["login"], seen=True), vector=None)
    other = replace(passage("parcels", "My money"), vector=None)
    assert client.do(faq.unchanged([same, other])) == {("login", 0)}
    client.do(faq.put(SOURCE, [same]))
    assert found(client, faq, "login", seen=True) == ["login"]
    with pytest.raises(TryAgain) as refused:
        client.do(faq.put(SOURCE, [replace(same, data={"lost": True}), other]))
    assert refused.value.code == "collection.changed"
    assert found(client, faq, "login", lost=True) == []


def test_putting_twice_is_putting_once(client: Client) -> None:
    filled(client)
    before = client.query("SELECT document, part, text, data FROM passage ORDER BY document")
    filled(client)
    assert client.query("SELECT document, part, text, data FROM passage ORDER BY document") == before


def test_documents_are_taken_out(client: Client) -> None:
    faq = filled(client)
    assert client.do(faq.remove(["login", "nobody"])) == 1
    assert client.do(faq.remove(["login"])) == 0
    assert found(client, faq, "the login", least=-1) != []
    assert "login" not in found(client, faq, "the login", least=-1)


def test_another_worker_finds_what_was_put_meanwhile(client: Client) -> None:
    faq, elsewhere = filled(client), shelf(client)
    assert found(client, elsewhere, "password") == ["login"]
    client.do(faq.put(SOURCE, [passage("second", "password password")]))
    assert found(client, elsewhere, "password", most=1) == ["second"]


def test_a_collection_has_one_model_and_one_length(client: Client) -> None:
    faq = filled(client)
    for source, vector, code in (
        (Source("others"), meaning("x"), "collection.other_model"),
        (Source("words", "elsewhere"), meaning("x"), "collection.other_model"),
        (SOURCE, [1.0], "collection.other_length"),
    ):
        with pytest.raises(Fail) as refused:
            client.do(faq.put(source, [Passage("x", 0, "x", {}, vector)]))
        assert refused.value.code == code
    with pytest.raises(Fail) as refused:
        client.do(faq.nearest([1.0, 2.0], 1, 0, {}))
    assert refused.value.code == "collection.other_length"


@pytest.mark.parametrize(
    ("passage", "code"),
    [
        (Passage("x" * 501, 0, "x", {}, [1.0]), "collection.bad_passage"),
        (Passage("", 0, "x", {}, [1.0]), "collection.bad_passage"),
        (Passage("x", 0, "x" * 20_001, {}, [1.0]), "collection.bad_passage"),
        (Passage("x", 0, "a\0b", {}, [1.0]), "collection.bad_passage"),
        (Passage("x", 0, "\ud800", {}, [1.0]), "collection.bad_passage"),
        (Passage("x", 0, "x", {"a": "x" * 8_185}, [1.0]), "collection.bad_passage"),
        (Passage("x", 0, "x", {}, [0.0, 0.0]), "collection.bad_vector"),
        (Passage("x", 0, "x", {}, [float("nan")]), "collection.bad_vector"),
        (Passage("x", 0, "x", {}, [float("inf")]), "collection.bad_vector"),
        (Passage("x", 0, "x", {}, []), "collection.bad_vector"),
        (Passage("x", 0, "x", {}, [1.0] * 4097), "collection.bad_vector"),
    ],
)
def test_what_cannot_be_kept_is_refused(client: Client, passage: Passage, code: str) -> None:
    with pytest.raises(Fail) as refused:
        client.do(shelf(client).put(SOURCE, [passage]))
    assert refused.value.code == code
    assert client.query("SELECT count(*) FROM collection")[0][0] == 0


def test_the_largest_that_can_be_kept_is(client: Client) -> None:
    largest = Passage("x" * 500, 0, "x" * 20_000, {"a": "x" * 8_184}, [1.0] * 4096)
    client.do(shelf(client).put(SOURCE, [largest]))
    assert client.do(shelf(client).nearest([1.0] * 4096, 1, 0, {}))[0].document == "x" * 500


def test_a_full_collection_takes_no_more(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passages, "LARGEST", 3)
    faq = filled(client)
    with pytest.raises(Fail) as refused:
        client.do(faq.put(SOURCE, [passage("more", "money")]))
    assert refused.value.code == "collection.full"
    assert client.query("SELECT count(*) FROM passage")[0][0] == 3
    client.do(faq.put(SOURCE, [passage("login", "money")]))


def test_projects_do_not_see_each_others_collections(client: Client) -> None:
    filled(client)
    other = shelf(client, project="proj_other")
    assert client.do(other.source()) is None
    with pytest.raises(Fail) as refused:
        client.do(other.nearest(meaning("login"), 1, 0, {}))
    assert refused.value.code == "collection.unknown"
    client.do(other.put(SOURCE, [passage("login", "theirs: login")]))
    (hit,) = client.do(shelf(client).nearest(meaning("login"), 1, 0.3, {}))
    assert hit.text == TEXTS["login"]


def test_collections_are_listed_and_removed_with_all_that_is_in_them(client: Client) -> None:
    faq = filled(client)
    client.do(faq.put(SOURCE, [passage("login", "a", 0), passage("login", "b", 1)]))
    (listed,) = client.runtime.reader.ask(lambda c: passages.listing(c, DEFAULT_PROJECT))
    assert listed.pop("updated_at")
    assert listed == {
        "name": "faq",
        "model": "words",
        "connection": None,
        "dimensions": 6,
        "documents": 3,
        "passages": 4,
    }
    assert found(client, faq, "refund") == ["refunds"]
    client.runtime.ledger.ask(passages.drop(DEFAULT_PROJECT, "faq"))
    assert client.query("SELECT count(*) FROM passage")[0][0] == 0
    with pytest.raises(NotFound):
        client.runtime.ledger.ask(passages.drop(DEFAULT_PROJECT, "faq"))
    client.do(faq.put(Source("others"), [Passage("new", 0, "refund", {}, meaning("refund"))]))
    assert found(client, faq, "refund") == ["new"]


def test_many_put_at_once_and_nothing_is_lost(client: Client, store: Settings) -> None:
    others = [Client(store, poll=False) for _ in range(2)]

    def put(number: int) -> None:
        at = others[number % 2]
        at.do(shelf(at).put(SOURCE, [passage(f"d{number}", "refund", part) for part in range(3)]))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(16)))
    for each in others:
        each.close()
    assert client.query("SELECT count(*) FROM passage")[0][0] == 48
    assert len(found(client, shelf(client), "refund", most=100)) == 48


@pytest.mark.parametrize("name", ["", "-x", "a b", "x" * 101, "a/b"])
def test_what_cannot_be_a_name_is_refused(client: Client, name: str) -> None:
    with pytest.raises(Fail) as refused:
        shelf(client, name)
    assert refused.value.code == "collection.invalid"
