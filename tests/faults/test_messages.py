"""The broker forgets, dies, repeats, reorders and delays; the rows decide."""

from __future__ import annotations

import random
import sqlite3

import psycopg
import pytest

from tests.builders import document, edges, node
from tests.faults.conftest import BOUND, Site

pytestmark = pytest.mark.timeout(120)


def diamond(site: Site) -> dict[str, object]:
    return document(
        [
            site.call("a"),
            site.call("b", delay=0.05),
            node("c", "wait", {"for": 0.3}),
            node("d", "merge"),
            site.call("e"),
        ],
        edges("a->b->d", "a->c->d->e"),
    )


def test_a_flushed_broker_costs_nothing(site: Site) -> None:
    active = site.push(diamond(site), "flushed")
    executions = []
    for index in range(4):
        executions += site.accept_all(active, 15, f"flushed-{site.dialect}-{index}")
        site.valkey.flush()
        site.pause(0.2)
        site.valkey.flush()
    site.ended(executions, 20)
    site.judge(executions)


def test_a_broker_that_is_killed_and_comes_back_costs_nothing(site: Site) -> None:
    active = site.push(diamond(site), "restarted")
    executions = site.accept_all(active, 20, f"restarted-{site.dialect}-0")
    site.valkey.kill()
    executions += site.accept_all(active, 20, f"restarted-{site.dialect}-1")
    site.pause(0.7)
    site.valkey.restart()
    executions += site.accept_all(active, 20, f"restarted-{site.dialect}-2")
    site.ended(executions, 30)
    site.judge(executions)


def test_messages_that_come_often_late_and_in_any_order_start_nothing_twice(site: Site) -> None:
    active = site.push(diamond(site), "repeated")
    rng = random.Random(5)
    executions = site.accept_all(active, 20, f"repeated-{site.dialect}")
    for _ in range(15):
        references = [(each, number, "") for each in executions for number in range(8) if rng.random() < 0.4]
        references += [("exec_unknown", 0, ""), (executions[0], 999, ""), (executions[0], 0, "7")]
        rng.shuffle(references)
        site.send(references)
        site.pause(0.05)
    site.ended(executions, 20)
    site.send([(each, number, "") for each in executions for number in range(8)])
    site.pause(0.5)
    site.judge(executions)
    for each in executions:
        assert [site.applied(each, name) for name in "abe"] == [1, 1, 1]


def test_two_workers_that_race_at_a_join_start_what_follows_once(site: Site) -> None:
    names = [f"n{index}" for index in range(200)]
    wide = [
        node(each, "set", {"values": {"n": "{{ k }}"}}, queue=("default", "cpu")[index % 2])
        for index, each in enumerate(names)
    ]
    body = document(
        [node("first"), *wide, site.call("last")], edges(*(f"first->{each}->last" for each in names))
    )
    active = site.push(body, "race")
    executions = site.accept_all(active, 5, f"race-{site.dialect}")
    site.ended(executions, 40)
    site.judge(executions)
    assert [site.applied(each, "last") for each in executions] == [1] * 5
    assert [site.received(each, "last") for each in executions] == [1] * 5


def test_a_database_that_cannot_be_used_for_a_while_costs_nothing(site: Site) -> None:
    active = site.push(diamond(site), "cut")
    executions = site.accept_all(active, 20, f"cut-{site.dialect}")
    for _ in range(3):
        site.pause(0.1)
        if site.dialect == "postgresql":
            cut_every_connection(site)
        else:
            hold_the_file(site, 0.5)
    site.ended(executions, BOUND * 3)
    site.judge(executions)


def cut_every_connection(site: Site) -> None:
    with psycopg.connect(site.settings.database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def hold_the_file(site: Site, seconds: float) -> None:
    """Write for a long time without the lock that the engine's own writers wait in line for."""
    raw = sqlite3.connect(site.settings.sqlite_path, isolation_level=None, timeout=20)
    raw.execute("BEGIN IMMEDIATE")
    site.pause(seconds)
    raw.execute("ROLLBACK")
    raw.close()
