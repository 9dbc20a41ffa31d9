"""What people have agreed to and what is kept with a version, on both databases."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator

import pytest

from celeriac import Json
from engine import agreement, catalog
from engine.clock import SystemClock
from engine.registry import Registry
from engine.settings import DEFAULT_PROJECT, Settings
from engine.store.database import Connection, open_database

REGISTRY = Registry.load(["nodes"])
PLAN: Json = {"name": "p", "definition": {"steps": [{"action": "log", "params": {"message": "x"}}]}}


@pytest.fixture
def connection(store: Settings) -> Iterator[Connection]:
    made = open_database(store).connect()
    yield made
    made.close()


def ask(connection: Connection, name: str, show: Json, voice: str | None, *, blob: bool, at: int) -> None:
    """Write an approval as the pen does, and one voice."""
    text = json.dumps({"title": "t", "description": "", "show": show, "form": None})
    hash_ = hashlib.sha256(text.encode()).hexdigest()
    if blob:
        connection.run(
            "INSERT INTO blob (hash, size, body, created_at) VALUES (?, ?, ?, ?)",
            (hash_, len(text), text, at),
        )
    connection.run(
        "INSERT INTO approval (id, project_id, execution_id, segment, item, node, title, body, blob, shown_hash, approvers, "
        "quorum, rule, status, created_at, decided_at) "
        "VALUES (?, ?, 'e', ?, '', 'n', 't', ?, ?, ?, '{}', 1, 'reject_wins', ?, ?, ?)",
        (
            *(name, DEFAULT_PROJECT, at, None if blob else text, hash_ if blob else None, hash_),
            *(voice or "timed_out", at, at),
        ),
    )
    if voice is not None:
        connection.run(
            "INSERT INTO approval_vote (approval_id, principal, decision, shown_hash, at) VALUES (?, 'ann', ?, ?, ?)",
            (name, voice, hash_, at),
        )


def test_what_people_decided_is_read_with_their_voices_however_large_it_was(connection: Connection) -> None:
    assert agreement.decided(connection, "e") == []
    connection.begin()
    ask(connection, "c", PLAN, None, blob=False, at=3)
    ask(connection, "a", PLAN, "rejected", blob=False, at=1)
    ask(connection, "b", {"definition": PLAN}, "approved", blob=True, at=2)
    connection.commit()
    found = agreement.decided(connection, "e")
    assert [[vote.decision for vote in each.votes] for each in found] == [["rejected"], ["approved"], []]
    assert agreement.agreed(found, "", PLAN)
    assert not agreement.agreed(found[:1], "", PLAN)
    connection.begin()
    connection.run("UPDATE approval_vote SET shown_hash = 'other' WHERE approval_id = 'b'")
    connection.commit()
    assert not agreement.agreed(agreement.decided(connection, "e"), "", PLAN)


def test_what_two_keep_at_the_same_time_is_kept_once(store: Settings) -> None:
    database = open_database(store)
    assert isinstance(PLAN, dict)
    clock = SystemClock()

    def save(change: object) -> catalog.Pushed:
        connection = database.connect()
        connection.begin()
        found: catalog.Pushed = change(connection)  # type: ignore[operator]  # it is a change
        connection.commit()
        connection.close()
        return found

    around = save(catalog.push({**PLAN, "name": "around"}, REGISTRY, clock)).version
    found: list[catalog.Pushed] = []

    def keep() -> None:
        change = catalog.keep(around, "@@kept-x", PLAN["definition"], REGISTRY, clock, DEFAULT_PROJECT)
        found.append(save(change))

    threads = [threading.Thread(target=keep) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 4
    assert len({each.version for each in found}) == 1
    assert [each.created for each in found].count(True) == 1
