"""Random definitions of the whole language, carried out among faults on both databases, agree with the reference."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.checking import problems
from engine.registry import Registry
from nodes import NODE_TYPES
from tests.builders import document, edge, edges, node, prepared
from tests.chaos.agree import TOGETHER, Cast, Place, constructs, drawn, number, play
from tests.chaos.drafts import Case
from tests.chaos.world import beat
from tests.servers import Postgres

WITH_BEATS = Registry([*NODE_TYPES, beat])
SEED = int(os.environ.get("CELERIAC_TEST_SEED", "1"))
WORLDS = int(os.environ.get("CELERIAC_TEST_SEEDS", "60")) // TOGETHER
BLOCKS = 2

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_random_definitions_agree_with_the_reference_on_a_file(tmp_path: Path, block: int) -> None:
    for world in range(block, WORLDS, BLOCKS):
        _, report = play(Place(tmp_path), number(SEED, world), drawn(SEED, world))
        assert not report, f"python3 dev.py agree --stack sqlite --seed {SEED} --world {world}\n{report}"


@pytest.mark.parametrize("block", range(BLOCKS))
def test_random_definitions_agree_with_the_reference_on_a_server(
    tmp_path: Path, postgres: Postgres, block: int
) -> None:
    template = postgres.template("agreement", lambda url: _migrate(tmp_path, url))
    (folder := tmp_path / "worlds").mkdir()
    place = Place(folder, lambda: postgres.database(template))
    for world in range(WORLDS + block, WORLDS + WORLDS // 2, BLOCKS):
        _, report = play(place, number(SEED, world), drawn(SEED, world))
        assert not report, f"python3 dev.py agree --stack postgresql --seed {SEED} --world {world}\n{report}"


def _migrate(folder: Path, url: str) -> None:
    prepared({"CELERIAC_DATA": str(folder), "DATABASE_URL": url, "BROKER_URL": "memory://"})


def test_every_construct_is_drawn() -> None:
    found = sum((constructs(drawn(SEED, world)) for world in range(40)), start=constructs(Cast({}, {})))
    wanted = {
        "set", "transform", "if", "switch", "merge", "noop", "log", "fail", "wait", "http_request", "emit", "approval",
        "workflow", "exit", "scope", "for_each", "loop", "catch", "finally", "compensate", "cancel_rest", "mutex",
        "concurrency", "rate", "retry", "timeout", "on_error", "a circle", "a each",
        "respond", "enabled_while", "collect", "beat", "timeout.queue", "timeout.heartbeat",
        "concurrency of executions", "rate of executions",
    }  # fmt: skip
    assert wanted <= {name for name, count in found.items() if count}


@pytest.mark.parametrize("block", range(BLOCKS))
def test_what_is_drawn_may_be_written(block: int) -> None:
    for world in range(block, 40, BLOCKS):
        for case in drawn(SEED, world).cases.values():
            assert [one for one in problems.check(case.document, WITH_BEATS) if one.severity == "error"] == []


COLLECTS = {"mode": "all", "collect": "map"}
COUNT = "(nodes.a.output | default(0)) + 1"
SLOW = node("slow", "wait", {"for": 5})
QUICK = node("quick", "wait", {"for": 0.1})
ITEM = node("x", "transform", {"expression": "item * 2"})


def told(name: str, **change: Any) -> Callable[[dict[str, Any]], None]:
    """Change a node of the definition that is judged, not of the one that was carried out."""

    def change_it(body: dict[str, Any]) -> None:
        (found,) = [each for each in body["nodes"] if each["id"] == name]
        found.update(change)

    return change_it


def _dropped(body: dict[str, Any]) -> None:
    body["edges"].pop()


WRONG: dict[str, tuple[dict[str, Any], Callable[[dict[str, Any]], None]]] = {
    "a join that stops the rest, judged as one that does not": (
        document(
            [SLOW, QUICK, node("j", join={"mode": "any", "cancel_rest": True})], edges("slow->j", "quick->j")
        ),
        told("j", join="any"),
    ),
    "a join that waits for one, judged as one that waits for all": (
        document([SLOW, QUICK, node("j", join="any")], edges("slow->j", "quick->j")),
        told("j", join="all"),
    ),
    "an edge for errors, judged as none": (
        document(
            [node("a", "fail", {"message": "no", "code": "x.y"}), node("b")], [edge("a", "b", on="error")]
        ),
        _dropped,
    ),
    "an exit, judged as nothing": (
        document([SLOW, node("e", "exit", {"value": 7})]),
        told("e", type="set", config={"values": 7}),
    ),
    "an event, judged as another": (
        document(
            [
                node("e", "emit", {"event": "paid", "correlation": "a"}),
                node("w", "wait", {"event": {"type": "paid", "correlation": "a"}, "timeout": 3}),
            ],
            edges("e->w"),
        ),
        told("w", config={"event": {"type": "paid", "correlation": "b"}, "timeout": 3}),
    ),
    "a rest, judged as a longer one": (document([QUICK]), told("quick", config={"for": 60})),
    "two at a time, judged as one": (
        document(
            [
                {**SLOW, "concurrency": {"key": "k", "limit": 2}},
                {**SLOW, "id": "other", "concurrency": {"key": "k", "limit": 2}},
            ]
        ),
        lambda body: [each.update(concurrency={"key": "k", "limit": 1}) for each in body["nodes"]],  # type: ignore[dict-item]
    ),
    "a map that tolerates failures, judged as one that does not": (
        document(
            [
                node(
                    "m",
                    "fail",
                    {"message": "no"},
                    for_each={"items": "[1, 2]", "on_item_error": "null"},
                )
            ]
        ),
        told("m", for_each={"items": "[1, 2]"}),
    ),
    "a loop, judged as a longer one": (
        document([{**ITEM, "loop": {"while": "index < 2", "initial": 1}}]),
        told("x", loop={"while": "index < 3", "initial": 1}),
    ),
    "a circle, judged as one that goes round more often": (
        document(
            [node("a", "transform", {"expression": COUNT}), node("b")],
            [*edges("a->b"), edge("b", "a", when="nodes.a.output < 2")],
        ),
        lambda body: body["edges"][1].update(when="nodes.a.output < 3"),
    ),
    "an edge out of a circle, judged as one that no round took": (
        document(
            [node("a", "transform", {"expression": COUNT}), node("b")],
            [edge("a", "a", when="nodes.a.output < 2"), edge("a", "b", when="nodes.a.output == 1")],
        ),
        lambda body: body["edges"][1].update(when="nodes.a.output == 3"),
    ),
    "a join for each edge, judged as one for all": (
        document([QUICK, SLOW, node("j", join="each"), node("k")], edges("quick->j", "slow->j", "j->k")),
        told("j", join="all"),
    ),
    "what came by one edge, judged as what came by another": (
        document(
            [
                node("p", "transform", {"expression": "1"}),
                node("q", "transform", {"expression": "2"}),
                node("j", "transform", {"expression": "item"}, join="each"),
            ],
            edges("p->j", "q->j"),
        ),
        lambda body: body["edges"].reverse(),
    ),
    "what met at a join, judged as what meets at another": (
        document(
            [node("p"), node("q"), node("j", "transform", {"expression": "joined"}, join=COLLECTS)],
            edges("p->j", "q->j"),
        ),
        lambda body: body["edges"].pop(0),
    ),
    "an answer, judged as another": (
        document([node("r", "respond", {"body": 1}), node("s", "respond", {"body": 2})], edges("r->s")),
        told("r", config={"body": 3}),
    ),
    "what did not begin any more, judged as what may begin at any time": (
        document([QUICK, SLOW, node("n", enabled_while={"not_ended": "quick"})], edges("slow->n")),
        lambda body: body["nodes"][2].pop("enabled_while"),
    ),
    "what began late, judged as what does not begin any more": (
        document([QUICK, SLOW, node("n")], edges("slow->n")),
        told("n", enabled_while={"not_ended": "quick"}),
    ),
    "what was skipped at the end of one node, judged as at that of another": (
        document([QUICK, SLOW, node("n", "wait", {"for": 9}, enabled_while={"not_ended": "quick"})]),
        told("n", enabled_while={"not_ended": "slow"}),
    ),
    "three at once, judged as one a minute": (
        document([node(name, rate={"key": "k", "limit": 3, "period": "60s"}) for name in "abc"]),
        lambda body: [each.update(rate={"key": "k", "limit": 1, "period": "60s"}) for each in body["nodes"]],  # type: ignore[dict-item]
    ),
    "heartbeats, judged as more of them": (
        document([node("b", "beat", {"count": 3})]),
        told("b", config={"count": 4}),
    ),
    "a call, judged as one with another input": (
        document([node("c", "workflow", {"workflow": "countdown", "input": {"k": 1}})]),
        told("c", config={"workflow": "countdown", "input": {"k": 2}}),
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_difference_between_what_is_written_and_what_was_done_is_seen(tmp_path: Path, what: str) -> None:
    body, change = WRONG[what]
    case = Case({**body, "name": "w"}, {"k": 1}, {})
    cast = Cast({"w": case}, drawn(SEED, 0, 0).called)
    assert play(Place(tmp_path), 1, cast, calm=True) == ([], "")
    other = copy.deepcopy(body)
    change(other["definition"])
    found, _ = play(
        Place(tmp_path), 1, cast, calm=True, judged={"w": Case({**other, "name": "w"}, {"k": 1}, {})}
    )
    assert {each.invariant for each in found} & {"I4", "I17", "I20"}, found
