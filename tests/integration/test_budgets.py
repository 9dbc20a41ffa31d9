"""Budgets that many processes spend from at once, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from celeriac import Fail
from celeriac.usage import Usage
from engine.settings import DEFAULT_PROJECT, Settings
from engine.spending import Called, Payer, begin, settle
from engine.store.database import Connection
from tests.builders import Client

CALLS = 12


@pytest.fixture
def clients(store: Settings) -> Iterator[list[Client]]:
    made = [Client(store, poll=False) for _ in range(3)]
    yield made
    for each in made:
        each.close()


def budgeted(connection: Connection) -> None:
    for scope in ("project", "workflow:wf_0", "workflow:wf_1"):
        connection.run(
            "INSERT INTO budget (project_id, scope, period, most_cost, most_tokens, since, cost, tokens) "
            "VALUES (?, ?, 'total', NULL, ?, 0, 0, 0)",
            (DEFAULT_PROJECT, scope, 500),
        )


def test_a_budget_holds_however_many_spend_from_it_at_once(clients: list[Client]) -> None:
    ledger = clients[0].runtime.ledger
    ledger.ask_all([budgeted])
    barrier = Barrier(CALLS)

    def call(number: int) -> bool:
        at = clients[number % len(clients)].runtime
        payer = Payer(DEFAULT_PROJECT, f"wf_{number % 2}", f"exec_{number}", "ask", "")
        name, now = at.clock.mint("use"), at.clock.now()
        barrier.wait(20)
        (begun,) = at.ledger.ask_each(
            [lambda connection: begin(connection, payer, name, "openai", "gpt-4", Usage(50, 50), now)]
        )
        if isinstance(begun, Fail):
            return False
        assert isinstance(begun, Called)
        at.ledger.ask_all([lambda connection: settle(connection, begun, Usage(50, 50))])
        return True

    with ThreadPoolExecutor(CALLS) as pool:
        assert sum(pool.map(call, range(CALLS))) == 5
    (rows,) = ledger.ask_all(
        [lambda connection: connection.run("SELECT scope, tokens FROM budget ORDER BY scope")]
    )
    assert rows[0] == ("project", 500)
    assert rows[1][1] + rows[2][1] == 500
    (count,) = ledger.ask_all([lambda connection: connection.run("SELECT count(*), min(settled) FROM usage")])
    assert count == [(5, 1)]
