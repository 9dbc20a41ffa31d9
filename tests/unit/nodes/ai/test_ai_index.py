from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celeriac import Json
from celeriac.testing import Outcome, run_node
from engine.matrix import Matrices
from engine.outside.egress import OpenLink
from engine.passages import Shelf
from engine.settings import DEFAULT_PROJECT
from nodes.ai.ai_index import BATCH, ai_index
from nodes.ai.ai_search import ai_search
from tests.builders import Client, environment, prepared
from tests.loopback import Asked, Server, always, answer, serving
from tests.models import embeddings, meaning

Link = Callable[[Server], OpenLink]


@pytest.fixture
def faq(tmp_path: Path) -> Iterator[Shelf]:
    client = Client(prepared(environment(tmp_path, "memory://")), poll=False)
    at = client.runtime
    yield Shelf(at.ledger, at.reader, at.clock, Matrices(), DEFAULT_PROJECT, "faq")
    client.close()


async def embed(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(embeddings(*map(meaning, json.loads(asked.body)["input"])))


class Faq:
    """A collection, and the server of its vectors."""

    def __init__(self, shelf: Shelf, server: Server, link: OpenLink) -> None:
        self.shelf, self.server = shelf, server
        self.link = {"openai": link}

    async def index(self, documents: Json, steps: dict[str, Json] | None = None, **config: Json) -> Outcome:
        named: dict[str, Json] = {"model": "openai/words", "collection": "faq", "documents": documents}
        return await run_node(
            ai_index, named | config, connections=self.link, collections={"faq": self.shelf}, steps=steps
        )

    async def search(self, query: str, **config: Json) -> Outcome:
        named: dict[str, Json] = {"collection": "faq", "query": query}
        return await run_node(
            ai_search, named | config, connections=self.link, collections={"faq": self.shelf}
        )

    @property
    def asked(self) -> list[list[str]]:
        return [json.loads(each.body)["input"] for each in self.server.asked]


@pytest.fixture
async def texts(faq: Shelf, link: Link) -> object:
    async with serving(embed) as server:
        yield Faq(faq, server, link(server))


REFUNDS: Json = {"id": "refunds", "text": "How to get your money back.", "data": {"lang": "en"}}
LOGIN: Json = {"id": 7, "text": "I forgot my password.", "data": {"lang": "en"}}


async def test_what_is_put_in_is_found_by_what_it_means(texts: Faq) -> None:
    put = await texts.index([REFUNDS, LOGIN])
    assert put.value == {"documents": 2, "passages": 2, "embedded": 2, "removed": 0}
    found = await texts.search("My password does not work", limit=1)
    assert found.value == {
        "found": [
            {"id": "7", "part": 0, "text": "I forgot my password.", "data": {"lang": "en"}, "score": 1.0}
        ]
    }
    assert (await texts.search("password", where={"lang": "de"})).value == {"found": []}
    assert (await texts.search("login", min_score=0.9)).value == {"found": []}
    assert [each.model for each in put.paid] == ["words"]
    assert [each.model for each in found.paid] == ["words"]


async def test_what_is_there_as_it_is_costs_nothing(texts: Faq) -> None:
    await texts.index([REFUNDS, LOGIN])
    changed: Json = {"id": 7, "text": "I forgot my login."}
    again = await texts.index([REFUNDS, changed])
    assert again.value == {"documents": 2, "passages": 2, "embedded": 1, "removed": 0}
    assert texts.asked == [["How to get your money back.", "I forgot my password."], ["I forgot my login."]]
    assert (await texts.index([REFUNDS])).paid == ()


async def test_long_documents_are_cut_into_passages(texts: Faq) -> None:
    long: Json = {"id": "long", "text": "About parcels.\n\n" + "My parcel is late. " * 20, "data": {"n": 1}}
    put = await texts.index([long], size=200, overlap=20)
    assert isinstance(put.value, dict)
    assert put.value["passages"] == len(texts.asked[0]) == 3
    found = await texts.search("parcel late", limit=10)
    assert isinstance(found.value, dict)
    passages: list[dict[str, Json]] = found.value["found"]  # type: ignore[assignment]
    assert {(each["id"], each["part"]) for each in passages} == {("long", 0), ("long", 1), ("long", 2)}
    assert all(each["data"] == {"n": 1} for each in passages)


async def test_documents_are_removed_by_id_and_when_they_say_nothing_any_more(texts: Faq) -> None:
    await texts.index([REFUNDS, LOGIN])
    put = await texts.index([{"id": "7", "text": " "}], remove=["refunds", "nobody"])
    assert put.value == {"documents": 1, "passages": 0, "embedded": 0, "removed": 2}
    assert (await texts.search("password", min_score=-1)).value == {"found": []}


async def test_batches_that_were_done_are_not_done_again(texts: Faq) -> None:
    documents: list[Json] = [{"id": n, "text": f"money {n}"} for n in range(BATCH + 1)]
    put = await texts.index(documents, steps={"batch 0": BATCH})
    assert isinstance(put.value, dict)
    assert put.value["embedded"] == BATCH + 1
    assert texts.asked == [[f"money {BATCH}"]]


async def test_a_document_with_many_passages_is_one_step_and_several_requests(texts: Faq) -> None:
    long: Json = {"id": "long", "text": "My parcel is late, very late, and nobody answers. " * 200}
    put = await texts.index([REFUNDS, long], size=100, overlap=0)
    assert [*put.steps] == ["batch 0", "batch 1"]
    assert [len(each) for each in texts.asked][:2] == [1, BATCH]
    assert len(texts.asked) == 3


async def test_another_model_is_refused_before_it_is_paid(texts: Faq) -> None:
    await texts.index([REFUNDS])
    outcome = await texts.index([LOGIN], model="openai/others")
    assert (outcome.code, outcome.paid) == ("collection.other_model", ())


async def test_a_collection_that_is_not_there_is_named(texts: Faq) -> None:
    assert (await texts.search("x")).code == "collection.unknown"


async def test_a_provider_that_fails_leaves_what_there_was(texts: Faq, link: Link) -> None:
    await texts.index([REFUNDS])
    async with serving(always(answer("{}", "500 Oops"))) as broken:
        texts.link = {"openai": link(broken)}
        outcome = await texts.index([{"id": "refunds", "text": "something else"}])
    assert outcome.kind == "try_again"
    texts.link = {"openai": link(texts.server)}
    found = await texts.search("money")
    assert isinstance(found.value, dict)
    assert [each["text"] for each in found.value["found"]] == ["How to get your money back."]  # type: ignore[union-attr, index, call-overload]


@pytest.mark.parametrize(
    "config",
    [
        {"collection": "a b", "model": "m"},
        {"collection": "a", "model": "m", "documents": [REFUNDS, REFUNDS]},
        {"collection": "a", "model": "m", "size": 99},
        {"collection": "a", "model": "m", "size": 100, "overlap": 26},
        {"collection": "a", "model": "m", "documents": [{"id": "", "text": "x"}]},
        {"collection": "a", "model": "m", "documents": [{"id": True, "text": "x"}]},
        {"collection": "a", "documents": []},
    ],
)
async def test_a_config_that_says_nothing_sensible_is_refused(config: dict[str, Json]) -> None:
    assert (await run_node(ai_index, config)).code == "node.config_invalid"
