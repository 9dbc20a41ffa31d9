"""A process that stands still in the midst of a transaction is ended by the server, whatever it has sent before."""

from __future__ import annotations

import time
from contextlib import closing

import psycopg
import pytest

from engine.store.database import PostgresDatabase
from engine.store.sql import Batched, columns
from tests.builders import wait_until

LOCK = "SELECT id FROM thing WHERE id = ? FOR UPDATE"
CHANGE = Batched(
    "UPDATE thing SET size = r.size FROM {rows} WHERE thing.id = r.id", columns("id size", size="bigint")
)
STALL = 500


@pytest.mark.parametrize("statements", ["rows", "rows and none", "none"])
def test_who_stands_still_in_a_transaction_is_ended_by_the_server(postgres_url: str, statements: str) -> None:
    database = PostgresDatabase(postgres_url, STALL)
    with closing(database.connect()) as other, closing(database.connect()) as stalled:
        other.run("CREATE TABLE thing (id text PRIMARY KEY, size bigint)")
        other.run("INSERT INTO thing VALUES ('a', 1)")
        stalled.begin()
        if statements != "none":
            stalled.run(LOCK, ("a",))
        if statements != "rows":
            stalled.batch(CHANGE, [("a", 2)])
        began = time.monotonic()
        look = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL"
        wait_until(lambda: other.run(look) == [(1,)], 10, "the end of the transaction")
        if statements != "none":
            assert time.monotonic() - began > STALL / 1000 * 0.9
            with pytest.raises(psycopg.Error) as caught:
                stalled.run(LOCK, ("a",))
            assert database.judge(caught.value) == "lost"
        assert other.run("SELECT size FROM thing") == [(1,)]
        stalled.rollback()
