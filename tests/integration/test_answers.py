"""Of answers that several processes write at the same time one counts, on both databases; who waits finds it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from engine import operations as op
from engine import queries
from engine.retention import purge
from engine.settings import Settings
from engine.store.database import Connection, open_database
from engine.watch import Watcher
from tests.builders import Client, document, node

NAMES = ("a", "b", "c")


@pytest.fixture
def clients(store: Settings) -> Iterator[list[Client]]:
    made = [Client(store, poll=False) for _ in NAMES]
    yield made
    for each in made:
        each.close()


def begun(client: Client, name: str) -> tuple[str, dict[str, int]]:
    """An execution whose nodes are ready, each alone in its segment."""
    active = client.push(document([node(each, "respond", {"body": each}) for each in NAMES], name=name))
    execution = client.start(active)
    now = client.runtime.clock.now()
    first = op.Settle(execution, 0, "", 0, pure=True, now=now, taken=(True,) * len(NAMES))
    settled = client.runtime.ledger.ask(first)
    return execution, {each: number for each, (number, _, _) in zip(NAMES, settled.ready, strict=True)}


def seen(client: Client, execution: str) -> tuple[Any, list[Any]]:
    """An execution as people see it, and its history."""

    def look(connection: Connection) -> tuple[Any, list[Any]]:
        return queries.execution(connection, execution), queries.events(connection, execution, 0, 100)[0]

    return client.runtime.reader.ask(look)


def test_of_answers_at_the_same_time_one_counts(clients: list[Client]) -> None:
    for turn in range(8):
        execution, numbers = begun(clients[0], f"w{turn}")
        barrier = Barrier(len(NAMES))

        def settle(index: int, execution: str = execution, numbers: dict[str, int] = numbers) -> op.Settled:
            client, name = clients[index], NAMES[index]
            answer = op.Payload(f'{{"status": 200, "headers": {{}}, "body": "{name}"}}')
            barrier.wait(20)  # noqa: B023  it is of this turn
            now = client.runtime.clock.now()
            made = op.Settle(
                execution, numbers[name], "", 0, pure=True, now=now, taken=(True,), answer=answer
            )
            settled: op.Settled = client.runtime.ledger.ask(made)
            return settled

        with ThreadPoolExecutor(len(NAMES)) as pool:
            answers = list(pool.map(settle, range(len(NAMES))))
        (winner,) = [name for name, each in zip(NAMES, answers, strict=True) if each.answered]
        shown, told = seen(clients[0], execution)
        assert shown["answer"]["body"] == winner
        counts = [each["counts"] for each in told if each["type"] == "node.responded"]
        assert sorted(counts) == [False, False, True]

        async def waited(execution: str = execution) -> bool:
            watcher = Watcher(clients[0].runtime.reader)
            try:
                return await watcher.told(execution, 10, answers=True)
            finally:
                await watcher.close()

        assert clients[0].do(waited())


def test_a_large_answer_goes_with_its_execution(clients: list[Client], store: Settings) -> None:
    execution, numbers = begun(clients[0], "large")
    ledger, now = clients[0].runtime.ledger, clients[0].runtime.clock.now()
    blob = op.Blob("sha256-of-it", '"large"')
    answer = op.Payload(blob=blob.hash)
    ledger.ask(
        op.Settle(
            execution,
            numbers["a"],
            "",
            0,
            pure=True,
            now=now,
            taken=(True,),
            answer=answer,
            blobs=(blob,),
        )
    )
    assert clients[0].query("SELECT answer_blob FROM execution WHERE id = ?", execution) == [(blob.hash,)]
    ledger.ask(op.Cancel(execution, now))
    assert purge(open_database(store), now + 1_000, now + 1_000).blobs == 1
    assert clients[0].query("SELECT * FROM blob") == []
