"""What people ask, and what is let go of, on both databases."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from celeriac import Json
from engine import catalog, deletion, listing, queries, releases, retention, workflow_queries
from engine import operations as op
from engine.outside import connection_rows
from engine.outside.connections import make_connection
from engine.outside.sealing import SealingKeys
from engine.plan import OUTPUT
from engine.runtime import Runtime
from engine.settings import DEFAULT_PROJECT, Settings
from engine.states import ExecutionStatus
from engine.store.database import Connection, open_database
from engine.why import why
from tests.builders import Client, document, edges, node


@pytest.fixture
def client(store: Settings) -> Iterator[Client]:
    made = Client(store, poll=False)
    yield made
    made.close()


def finish(client: Client, execution: str, output: Json) -> None:
    """End an execution of one segment, as a worker would."""
    at = client.runtime
    now = at.clock.now()
    event = ("node.succeeded", "a", now, {"ms": 3})
    payload = op.Payload(text=json.dumps(output))
    entry = op.Entry(
        "a", "pack", output=op.Payload(text=json.dumps([["a", 1]])), started_at=now, ended_at=now
    )
    settle = op.Settle(
        execution, 0, "", 0, pure=True, now=now, entries=(entry,), events=(event,), output=payload, lease=1000
    )
    assert at.ledger.ask(settle).finished == "succeeded"


def test_workflows_are_listed_released_deleted_and_restored(client: Client, store: Settings) -> None:
    at = client.runtime
    read, now, ask = at.reader.ask, at.clock.now(), at.ledger.ask
    for name in ("order_a", "order_b", "parcel"):
        client.push(document([node("a")], name=name))
    inner = {"nodes": [node("x")]}
    client.push(document([node("call", "workflow", {"definition": inner})], name="order_b"))
    for by, names in (("name:desc", ["order_b", "order_a"]), ("enabled", ["order_a", "order_b"])):
        order = listing.order(by, workflow_queries.WORKFLOWS, "name")
        found: list[str] = []
        behind: Any = None
        while True:
            asked = partial(
                workflow_queries.workflows, limit=1, by=order, filters=["name:starts:order"], behind=behind
            )
            page = read(asked)
            found += [str(each["name"]) for each in page.rows]
            if page.following is None:
                break
            following: Any = page.following
            behind = following[1:]
        assert sorted(found) == sorted(names) if by == "enabled" else found == names
    assert [each["number"] for each in read(lambda c: workflow_queries.versions(c, "order_b", 1)).rows] == [2]
    ask(releases.name_version("order_b", "stable", 1, now))
    ask(releases.name_version("order_b", "stable", 2, now))
    seen = read(lambda c: releases.tag(c, "order_b"))
    released = ask(releases.publish("order_b", None, at.clock))
    assert (released.number, released.before) == (1, 2)
    assert read(lambda c: releases.tag(c, "order_b")) != seen
    name = ask(deletion.delete("order_b", now))
    assert read(lambda c: workflow_queries.workflows(c, 5, deleted=True)).rows[0]["id"] == name
    ask(deletion.restore(name, at.clock))
    assert read(lambda c: workflow_queries.workflow(c, "order_b"))["aliases"] == {"stable": 2}
    ask(deletion.delete("order_b", now))
    database = open_database(store)
    assert retention.purge(database, now + 1, now + 1).workflows == 1
    assert read(lambda c: c.run("SELECT count(*) FROM workflow")) == [(2,)]


def test_of_several_who_have_seen_the_same_one_changes_it(client: Client, store: Settings) -> None:
    """Each is a process of its own, with a ledger of its own."""
    others = [Client(store, poll=False) for _ in range(3)]
    try:
        client.push(document([node("a")], name="w"))
        for turn in range(5):
            seen = client.runtime.reader.ask(lambda c: releases.tag(c, "w"))

            def change(about: Client, number: int) -> bool:
                at, wanted = about.runtime, (seen,)  # noqa: B023  used before the next turn
                written = document([node(f"n{turn}_{number}")], name="w")  # noqa: B023
                push = catalog.push(written, at.registry, at.clock, into=_id(at))

                def guarded(connection: Connection) -> None:
                    releases.expect(connection, "w", wanted)
                    push(connection)

                try:
                    at.ledger.ask(guarded)
                except releases.WorkflowChanged:
                    return False
                return True

            with ThreadPoolExecutor(4) as pool:
                won = [*pool.map(change, [client, *others], range(4))]
            assert sum(won) == 1
    finally:
        for each in others:
            each.close()


def _id(at: Runtime) -> str:
    return at.reader.ask(lambda c: workflow_queries.workflow_id(c, "w"))


def test_why_it_does_not_go_on_is_told(client: Client) -> None:
    at = client.runtime
    active = client.push(document([node("a")], name="orders", mutex="one"))
    first, second = client.start(active, {}), client.start(active, {})
    now = at.clock.now()
    told = at.reader.ask(lambda c: why(c, second, now))
    assert told["status"] in ("created", "waiting")
    kinds = {each["kind"] for each in told["waits"]}  # type: ignore[index, union-attr, call-overload]  # a list of objects
    assert "limit" in kinds
    assert first in str(told["waits"])


def test_what_was_done_is_found_again_in_every_way_one_may_ask(client: Client) -> None:
    ask = client.runtime.reader.ask
    active = client.push(document([node("a"), node("b")], edges("a->b"), name="orders"))
    done = client.start(active, {"x": 1})
    client.do(asyncio.sleep(0.005))  # of two that are born in the same millisecond either is the newer one
    open_ = client.start(active, {"x": 2})
    finish(client, done, {"b": None})
    page = ask(lambda c: queries.executions(c, 1, reference="orders"))
    assert [each["id"] for each in page.rows] == [open_]
    before = page.following
    assert isinstance(before, tuple)
    rest = ask(lambda c: queries.executions(c, 5, reference="orders", before=before))
    assert ([each["id"] for each in rest.rows], rest.following) == ([done], None)
    succeeded = ask(lambda c: queries.executions(c, 5, status=ExecutionStatus.SUCCEEDED, before=before))
    assert [each["id"] for each in succeeded.rows] == [done]
    body = ask(lambda c: queries.execution(c, done, with_input=True))
    assert (body["status"], body["output"], body["input"]) == ("succeeded", {"b": None}, {"x": 1})
    found, final = ask(lambda c: queries.events(c, done, 1, 10))
    assert [each["type"] for each in found] == ["node.succeeded", "execution.succeeded"]
    assert final
    runs = {each.node.id: each.status for each in ask(lambda c: queries.nodes(c, done))}
    assert runs == {"a": "succeeded", "b": "skipped"}
    assert OUTPUT not in runs
    assert ask(lambda c: workflow_queries.workflows(c, 5)).rows[0]["name"] == "orders"
    assert len(ask(lambda c: workflow_queries.versions(c, "orders", 5)).rows) == 1
    assert ask(lambda c: queries.attention(c, 5, ("exec_0", 0, ""))).rows == []
    assert ask(lambda c: queries.again(c, done))[1] == {"x": 1}


def test_connections_are_stored_and_removed(client: Client) -> None:
    sealed = make_connection(
        connection_id="conn_1",
        project_id=DEFAULT_PROJECT,
        name="crm",
        kind="bearer",
        hosts=["api.example.com"],
        values={"token": "t0k3n"},
        kinds=client.runtime.registry.connections,
        keys=SealingKeys.of(b"k" * 32),
        now=1,
        random_bytes=lambda count: b"r" * count,
    )
    at = client.runtime
    at.ledger.ask(connection_rows.save(sealed, replace=False))
    again = dataclasses.replace(sealed, id="conn_2")
    at.ledger.ask(connection_rows.save(again, replace=True))
    assert [each.id for each in at.reader.ask(connection_rows.listing)] == ["conn_2"]
    at.ledger.ask(connection_rows.remove("crm"))
    assert at.reader.ask(connection_rows.listing) == []


def test_what_is_old_goes_with_its_large_values_while_others_write(client: Client, store: Settings) -> None:
    active = client.push(document([node("a")]))
    large = {"x": "x" * 40_000}
    for _ in range(3):
        finish(client, client.start(active, dict(large)), None)
    young = client.start(active, {"x": "y" * 40_000})
    now = client.runtime.clock.now() + 10_000
    gone = retention.purge(open_database(store), now, now)
    assert (gone.executions, gone.blobs) == (3, 1)
    assert client.query("SELECT id FROM execution") == [(young,)]
    assert client.query("SELECT count(*) FROM blob") == [(1,)]
    finish(client, young, None)
