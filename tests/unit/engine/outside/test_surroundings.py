"""The way out of a process: what a project has stored is opened for one call. What may be reached is egress's to test."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from celeriac import Fail
from engine.outside import connection_rows
from engine.outside.connections import SealedConnection, make_connection
from engine.outside.sealing import SealingKeys
from engine.outside.surroundings import USE_NOTED_EVERY, Outside
from engine.settings import DEFAULT_PROJECT
from nodes import CONNECTION_TYPES
from tests.workbench import NOW, Workbench

SECRET = b"k" * 32
KINDS = {each.name: each for each in CONNECTION_TYPES}


def sealed(secret: bytes = SECRET, name: str = "crm") -> SealedConnection:
    return make_connection(
        connection_id=f"conn_{name}",
        project_id=DEFAULT_PROJECT,
        name=name,
        kind="bearer",
        hosts=["api.example.com"],
        values={"token": "t0k3n-t0k3n"},
        kinds=KINDS,
        keys=SealingKeys.of(secret),
        now=NOW,
        random_bytes=lambda count: b"r" * count,
    )


@pytest.fixture
async def outside(bench: Workbench) -> AsyncIterator[Outside]:
    settings = dataclasses.replace(bench.settings, egress_allow="127.0.0.1")
    at = cast("Any", bench)
    made = Outside(settings, at, at, bench.clock, KINDS, SealingKeys.of(SECRET))
    yield made
    await made.end()


async def test_a_connection_is_opened_with_its_secrets_named(bench: Workbench, outside: Outside) -> None:
    bench.ask(connection_rows.save(sealed(), replace=False))
    link, secrets = await outside.connect(DEFAULT_PROJECT, "crm")
    assert "t0k3n-t0k3n" in secrets
    assert link.http is not outside.client()


async def test_a_connection_that_is_not_there_is_a_failure_that_names_the_nearest(
    bench: Workbench, outside: Outside
) -> None:
    bench.ask(connection_rows.save(sealed(), replace=False))
    with pytest.raises(Fail, match="Did you mean 'crm'") as caught:
        await outside.connect(DEFAULT_PROJECT, "crn")
    assert caught.value.code == "connection.unknown"


async def test_a_project_does_not_reach_into_another(bench: Workbench, outside: Outside) -> None:
    bench.ask(connection_rows.save(sealed(), replace=False))
    with pytest.raises(Fail) as caught:
        await outside.connect("proj_other", "crm")
    assert caught.value.code == "connection.unknown"
    assert "crm'?" not in caught.value.message


async def test_what_was_sealed_under_another_key_stays_closed(bench: Workbench, outside: Outside) -> None:
    bench.ask(connection_rows.save(sealed(b"o" * 32), replace=False))
    with pytest.raises(Fail) as caught:
        await outside.connect(DEFAULT_PROJECT, "crm")
    assert caught.value.code == "connection.sealed_with_other_key"


async def test_a_connection_of_another_kind_is_refused(bench: Workbench, outside: Outside) -> None:
    bench.ask(connection_rows.save(sealed(), replace=False))
    assert (await outside.connect(DEFAULT_PROJECT, "crm", ("bearer",)))[0].kind == "bearer"
    with pytest.raises(Fail, match="smtp or sqlite") as caught:
        await outside.connect(DEFAULT_PROJECT, "crm", ("smtp", "sqlite"))
    assert caught.value.code == "connection.wrong_kind"


async def test_the_use_of_a_connection_is_noted_once_a_minute(bench: Workbench, outside: Outside) -> None:
    bench.ask(connection_rows.save(sealed(), replace=False))

    def noted() -> int | None:
        return connection_rows.listing(bench.connection)[0].last_used_at

    await outside.connect(DEFAULT_PROJECT, "crm")
    assert noted() == NOW
    bench.clock.move(USE_NOTED_EVERY / 1000 - 1)
    await outside.connect(DEFAULT_PROJECT, "crm")
    assert noted() == NOW
    bench.clock.move(1)
    await outside.connect(DEFAULT_PROJECT, "crm")
    assert noted() == NOW + USE_NOTED_EVERY


async def test_every_call_has_a_client_of_its_own(outside: Outside) -> None:
    assert outside.client() is not outside.client()
