from __future__ import annotations

import pytest

from engine.errors import Conflict, NotFound
from engine.outside import connection_rows
from engine.outside.connections import SealedConnection, make_connection
from engine.outside.sealing import SealingKeys
from engine.settings import DEFAULT_PROJECT
from nodes import CONNECTION_TYPES
from tests.workbench import NOW, Workbench


def sealed(number: int = 1) -> SealedConnection:
    return make_connection(
        connection_id=f"conn_{number}",
        project_id=DEFAULT_PROJECT,
        name="crm",
        kind="bearer",
        hosts=["api.example.com"],
        values={"token": "t0k3n"},
        kinds={each.name: each for each in CONNECTION_TYPES},
        keys=SealingKeys.of(b"k" * 32),
        now=NOW,
        random_bytes=lambda count: b"r" * count,
    )


def test_a_saved_connection_is_found_and_listed_without_its_secret(bench: Workbench) -> None:
    bench.ask(connection_rows.save(sealed(), replace=False))
    assert connection_rows.find(bench.connection, "crm") == sealed()
    (listed,) = connection_rows.listing(bench.connection)
    assert listed == sealed()
    assert "t0k3n" not in str(listed.to_json())


def test_a_name_that_is_taken_is_only_replaced_when_that_is_said(bench: Workbench) -> None:
    bench.ask(connection_rows.save(sealed(), replace=False))
    with pytest.raises(Conflict):
        bench.ask(connection_rows.save(sealed(number=2), replace=False))
    bench.ask(connection_rows.save(sealed(number=2), replace=True))
    assert [each.id for each in connection_rows.listing(bench.connection)] == ["conn_2"]


def test_a_removed_connection_is_gone_and_an_unknown_one_is_told(bench: Workbench) -> None:
    bench.ask(connection_rows.save(sealed(), replace=False))
    bench.ask(connection_rows.remove("crm"))
    assert connection_rows.listing(bench.connection) == []
    with pytest.raises(NotFound):
        bench.ask(connection_rows.remove("crm"))
