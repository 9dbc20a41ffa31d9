"""The feed on both databases: every event once and in one order, whoever commits in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest

from celeriac import Json
from engine import admission, catalog, feed
from engine import operations as op
from engine.errors import Invalid
from engine.feed import BEGINNING, Place
from engine.settings import Settings
from tests.builders import Client, document, node


@pytest.fixture
def client(store: Settings) -> Iterator[Client]:
    made = Client(store, poll=False)
    yield made
    made.close()


def begin(client: Client, active: catalog.Active) -> str:
    """Start an execution that nobody carries."""
    ledger = client.runtime.ledger
    started: op.Started = ledger.ask(admission.operation(client.runtime, admission.Request(active, {})))
    return started.execution


def stop(client: Client, execution: str) -> None:
    client.runtime.ledger.ask(op.Cancel(execution, client.runtime.clock.now(), "enough"))


def begun(client: Client, count: int) -> list[str]:
    active = client.push(document([node("a")], name="w"))
    return [begin(client, active) for _ in range(count)]


def look(client: Client, after: Place, limit: int) -> list[feed.Entry]:
    return client.runtime.reader.ask(lambda connection: feed.read(connection, after, limit))


def whole(client: Client, limit: int = 2) -> list[tuple[Json, Json]]:
    """Read from the beginning in small parts, each from the end of the one before."""
    place, found = BEGINNING, []
    while entries := look(client, place, limit):
        found += [(event["execution_id"], event["seq"]) for each in entries for event in each.events]
        place = entries[-1].end
    assert place == client.runtime.reader.ask(feed.end)
    return found


def test_parts_put_together_are_everything_once_and_in_order(client: Client) -> None:
    executions = begun(client, 5)
    for each in executions:
        stop(client, each)
    found = whole(client)
    assert len(found) == len(set(found))
    for each in executions:
        numbers = [seq for execution, seq in found if execution == each]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= 2


def test_within_a_row_it_goes_on_behind_any_event(client: Client) -> None:
    (execution,) = begun(client, 1)
    stop(client, execution)
    entries = look(client, BEGINNING, 100)
    events = [(each, index) for each in entries for index in range(len(each.events))]
    for count, (entry, index) in enumerate(events, 1):
        rest = look(client, entry.behind(index), 100)
        assert sum(len(each.events) for each in rest) == len(events) - count


def test_nothing_appears_in_front_of_a_place_that_was_reached(client: Client, store: Settings) -> None:
    """A transaction that began before others and commits after them is told after them, or they wait for it."""
    if store.sqlite:
        pytest.skip("SQLite has one writer: no transaction is open beside another.")
    (first,) = begun(client, 1)
    with psycopg.connect(store.database_url) as slow:
        slow.execute(
            "INSERT INTO event (execution_id, project_id, seq, count, epoch, at, body) "
            "VALUES (%s, 'proj_default', 900, 1, 0, 1, '[[\"node.log\", \"a\", 1, {}]]')",
            (first,),
        )
        (second,) = begun(client, 1)
        before = whole(client)
        assert second not in {execution for execution, _ in before}
        slow.commit()
    after = whole(client)
    assert after[: len(before)] == before
    assert {(first, 900), (second, 1)} <= set(after[len(before) :])


@pytest.mark.parametrize("text", ["", "1.2", "a.b.c", "-1.2.3", "1.2.3.4", f"{2**63}.1.1", "1.1." + "9" * 12])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        feed.place(text)


def test_a_place_is_read_as_it_is_written() -> None:
    assert feed.place(str(Place(7, 8, 9))) == Place(7, 8, 9)


def test_many_writers_and_one_reader_who_misses_nothing(client: Client, store: Settings) -> None:
    active = client.push(document([node("a")], name="w"))
    others = [Client(store, poll=False) for _ in range(3)]
    seen: list[tuple[Json, Json]] = []
    ended = threading.Event()

    def follow() -> None:
        place = BEGINNING
        while True:
            last = ended.is_set()
            entries = look(client, place, 5)
            seen.extend((event["execution_id"], event["seq"]) for each in entries for event in each.events)
            place = entries[-1].end if entries else place
            if last and not entries:
                return

    reader = threading.Thread(target=follow)
    reader.start()

    def write(other: Client) -> None:
        for _ in range(20):
            stop(other, begin(other, active))

    writers = [threading.Thread(target=write, args=(each,)) for each in others]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    ended.set()
    reader.join(30)
    assert sorted(map(str, seen)) == sorted(map(str, whole(client, 100)))
    for each in others:
        each.close()
