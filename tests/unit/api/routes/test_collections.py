from __future__ import annotations

from celeriac.passages import Passage, Source
from engine import passages
from engine.settings import DEFAULT_PROJECT
from tests.unit.api.conftest import Api


async def test_collections_are_listed_and_removed(api: Api) -> None:
    rows = [passages.stored(Passage("a", 0, "Hello", {}, [1.0, 2.0]))]
    place = (DEFAULT_PROJECT, "faq")
    api.bench.ask(lambda connection: passages.put(connection, place, Source("words"), rows, 0))
    (listed,) = (await api.get("/collections")).json()["data"]
    assert (listed["name"], listed["model"], listed["documents"]) == ("faq", "words", 1)
    assert (await api.http.delete("/api/v1/collections/faq")).status_code == 204
    assert (await api.get("/collections")).json() == {"data": []}
    again = await api.http.delete("/api/v1/collections/faq")
    assert (again.status_code, again.json()["code"]) == (404, "request.not_found")
    assert (await api.http.delete("/api/v1/collections/a%20b")).json()["code"] == "collection.invalid"
