"""Random graphs, forked: what is kept is never done again, and a fork comes to what an undisturbed execution comes to."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import Context, Fail, Route
from tests.builders import document
from tests.theatre import STAGE, Theatre, theatre
from tests.unit.engine.test_bases import fork, prepared, words

SEEDS = range(60)


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Theatre]:
    made = theatre(tmp_path)
    yield made
    STAGE.acts.clear()
    made.close()


def graph(rng: random.Random, *, hasty: bool = True) -> dict[str, Any]:
    """A random graph of pure nodes, effects, choices and joins."""
    count = rng.randint(3, 12)
    nodes: list[dict[str, Any]] = []
    edges: list[dict[str, Any]] = []
    for index in range(count):
        kind = rng.choice(["pure", "keyed", "keyed", "forks"])
        made: dict[str, Any] = {"id": f"n{index}", "type": kind, "config": {"text": rng.randint(0, 9)}}
        sources = rng.sample(range(index), min(index, rng.choice([0, 1, 1, 2, 3])))
        if hasty and len(sources) > 1 and rng.random() < 0.2:
            made["join"] = "any"
        for source in sources:
            way: dict[str, Any] = {"from": f"n{source}", "to": f"n{index}"}
            if nodes[source]["type"] == "forks":
                way["port"] = rng.choice(["true", "false"])
            elif rng.random() < 0.2:
                way["when"] = rng.choice(["k == 1", "k == 2"])
            edges.append(way)
        nodes.append(made)
    return document(nodes, edges)


def play(body: dict[str, Any], rng: random.Random, broken: str | None = None) -> None:
    """Let choices be what they are, every time the same, and one node fail."""
    for each in body["definition"]["nodes"]:
        name = each["id"]
        port = "true" if (int(name[1:]) + each["config"]["text"]) % 2 else "false"

        def act(_: Context, name: str = name, port: str = port, kind: str = each["type"]) -> Any:
            if name == broken:
                raise Fail("x.broken", "It broke.")
            return Route((port,), name) if kind == "forks" else name

        STAGE.tell(name, act)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_fork_from_the_failure_comes_to_what_an_undisturbed_execution_comes_to(
    at: Theatre, seed: int
) -> None:
    rng = random.Random(seed)
    body = graph(rng)
    play(body, rng)
    STAGE.calls.clear()
    whole = await at.run(body, {"k": 1})
    calls = list(STAGE.calls)
    assert at.status(whole) == "succeeded"
    broken = rng.choice(calls)
    play(body, rng, broken)
    STAGE.calls.clear()
    failed = await at.run(body, {"k": 1})
    assert at.status(failed) == "failed"
    before = [each for each in STAGE.calls if each != broken]
    kept = {name for name, word in words(prepared(at, failed, failure=True)).items() if word == "kept"}
    play(body, rng)
    made = await fork(at, failed, failure=True)
    assert (at.status(made), at.output(made)) == ("succeeded", at.output(whole))
    assert not kept & set(STAGE.calls)
    assert set(before) & kept | set(STAGE.calls) >= set(calls)
    assert len(STAGE.calls) == len(set(STAGE.calls))


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_fork_from_any_nodes_does_these_and_what_follows_and_nothing_else(
    at: Theatre, seed: int
) -> None:
    rng = random.Random(seed)
    body = graph(rng)
    play(body, rng)
    STAGE.calls.clear()
    whole = await at.run(body, {"k": 1})
    calls = set(STAGE.calls)
    again = rng.sample(sorted(calls), min(len(calls), rng.randint(1, 2)))
    found = words(prepared(at, whole, *again))
    made = await fork(at, whole, *again)
    assert (at.status(made), at.output(made)) == ("succeeded", at.output(whole))
    assert set(STAGE.calls) == {name for name in calls if found[name] == "again"}
    assert set(again) <= set(STAGE.calls)


def edited(rng: random.Random, body: dict[str, Any]) -> dict[str, Any]:
    """The same definition after an author has changed a thing or two."""
    made: dict[str, Any] = json.loads(json.dumps(body))
    inside = made["definition"]
    for _ in range(rng.randint(1, 3)):
        nodes, ways = inside["nodes"], inside["edges"]
        match rng.choice(["config", "edge", "node", "cut"]):
            case "config":
                rng.choice(nodes)["config"]["text"] += 1
            case "cut" if ways:
                ways.pop(rng.randrange(len(ways)))
            case "node":
                source = rng.choice(nodes)
                nodes.append({"id": f"n{len(nodes)}", "type": "keyed", "config": {"text": 0}})
                port = {"port": "true"} if source["type"] == "forks" else {}
                ways.append({"from": source["id"], "to": nodes[-1]["id"], **port})
            case "edge":
                first, second = sorted(rng.sample(range(len(nodes)), 2))
                ends = {"from": nodes[first]["id"], "to": nodes[second]["id"]}
                if nodes[first]["type"] != "forks" and not any(ends.items() <= each.items() for each in ways):
                    ways.append(ends)
    return made


@pytest.mark.parametrize("seed", range(120))
async def test_a_fork_in_an_edited_version_comes_to_what_that_version_comes_to(
    at: Theatre, seed: int
) -> None:
    rng = random.Random(seed)
    body = graph(rng, hasty=False)
    play(body, rng)
    STAGE.calls.clear()
    await at.run(body, {"k": 1})
    broken = rng.choice([*STAGE.calls, None])
    play(body, rng, broken)
    base = await at.run(body, {"k": 1})
    new = edited(rng, body)
    play(new, rng)
    STAGE.calls.clear()
    fresh = await at.run(new, {"k": 1})
    calls = set(STAGE.calls)
    assert at.status(fresh) == "succeeded"
    kept = {name for name, word in words(prepared(at, base, version="latest")).items() if word == "kept"}
    made = await fork(at, base, version="latest")
    assert (at.status(made), at.output(made)) == ("succeeded", at.output(fresh))
    assert set(STAGE.calls) == calls - kept
