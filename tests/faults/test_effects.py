"""Some of what `dev.py chaos --nodes` does with every node type: a worker dies at the worst moments of an effect."""

from __future__ import annotations

import asyncio

import pytest

from celeriac import Effect
from tests.chaos import effects
from tests.chaos.effects import BEFORE_ANSWER, KILLS, ONCE, UNCERTAIN, Row

CHOSEN = {"quarantine_ip", "send_email"}


@pytest.mark.timeout(120)
def test_whatever_a_worker_dies_at_an_effect_is_done_once_or_uncertain() -> None:
    with effects.grounds() as at:
        chosen = [each for each in effects.cases(at.registry) if each.type in CHOSEN]
        rows = asyncio.run(effects.endure_all(at, chosen, 3, lambda _: None))
    assert {(each.name, each.kill) for each in rows} == {(name, kill) for name in CHOSEN for kill in KILLS}
    assert [each for each in rows if not each.is_good] == []
    assert {each.outcome for each in rows if each.name == "quarantine_ip"} == {ONCE}
    assert {each.outcome for each in rows if each.name == "send_email"} == {UNCERTAIN}


def test_the_table_points_at_what_should_not_be() -> None:
    rows = [
        Row("pay", Effect.KEYED, BEFORE_ANSWER, UNCERTAIN),
        Row("send", Effect.ONCE, BEFORE_ANSWER, "succeeded, and done 2 times"),
        Row("tell", Effect.ONCE, BEFORE_ANSWER, UNCERTAIN),
    ]
    assert [each.is_good for each in rows] == [False, False, True]
    lines = effects.table(rows).splitlines()
    assert [("WRONG" in each) for each in lines] == [False, True, True, False]


def test_every_node_type_with_an_effect_is_put_through_it() -> None:
    from engine.registry import Registry

    registry = Registry.load(["nodes"])
    effectful = {
        each.name for each in registry if each.effect not in (Effect.NONE, Effect.READ)
    } - effects.OWN
    assert {each.type for each in effects.cases(registry)} == effectful
