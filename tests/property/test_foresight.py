"""What validation foresees, against every run there can be: small graphs are carried out in each way they can go."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings

from engine.checking import problems
from engine.checking.chart import Chart
from engine.checking.flow import Flow, Held, Readings
from engine.checking.outline import Outline
from engine.checking.presence import Presence
from engine.registry import Registry
from tests.chaos import dags
from tests.chaos.reference import interpret

REGISTRY = Registry.load(["nodes"])
PORTS = {"if": ("true", "false"), "noop": ("out",), "fail": ()}
Body = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One way a graph can go: the exit of every node, and the edges whose conditions hold."""

    body: Body
    exits: dict[str, str]
    true: frozenset[int]

    def carried_out(self, stuck: str | None = None) -> tuple[set[str], set[str], set[str], bool]:
        """Return the nodes that start, that end well, and that are done or skipped, when one gets stuck on its way; and
        whether all of it can go on to the end.
        """
        started: set[str] = set()
        decided: dict[int, bool] = {}
        ended: set[str] = set()
        survives = True
        known: set[str] = set()
        for node in self.body["nodes"]:
            name = node["id"]
            entering = [each for each, edge in enumerate(self.body["edges"]) if edge["to"] == name]
            goes = _goes(node, [decided.get(each) for each in entering])
            if goes is None:
                continue
            if goes:
                started.add(name)
            if goes and name == stuck:
                continue
            known.add(name)
            outcome = self.exits[name]
            if goes and outcome != "error":
                ended.add(name)
            caught = any(_fails(edge) for edge in self.body["edges"] if edge["from"] == name)
            if goes and outcome == "error" and not caught:
                survives = False
            for number, edge in enumerate(self.body["edges"]):
                if edge["from"] == name:
                    decided[number] = goes and self._takes(number, edge, outcome)
        return started, ended, known, survives

    def _takes(self, number: int, edge: Body, outcome: str) -> bool:
        if "when" in edge and number not in self.true:
            return False
        if outcome == "error":
            return _fails(edge) or edge.get("on") == "any"
        return not _fails(edge) and edge.get("port") in (None, outcome)


def _fails(edge: Body) -> bool:
    return edge.get("on") == "error"


def _goes(node: Body, arrived: list[bool | None]) -> bool | None:
    """Whether a node starts; None when that is not decided."""
    if not arrived:
        return True
    join = node.get("join", "all")
    needed = 1 if join in ("all", "any") else join["count"]
    taken = sum(each is True for each in arrived)
    if join != "all" and taken >= needed:
        return True
    if None in arrived:
        return None
    return join == "all" and taken > 0


def runs(body: Body) -> Iterator[Run]:
    """Every way a graph can go."""
    caught = {edge["from"] for edge in body["edges"] if _fails(edge)}
    exits = [
        [*PORTS[each["type"]], *(["error"] if each["id"] in caught or each["type"] == "fail" else [])]
        for each in body["nodes"]
    ]
    asked = [number for number, edge in enumerate(body["edges"]) if "when" in edge]
    names = [each["id"] for each in body["nodes"]]
    for chosen in itertools.product(*exits):
        for size in range(len(asked) + 1):
            for true in itertools.combinations(asked, size):
                yield Run(body, dict(zip(names, chosen, strict=True)), frozenset(true))


def graph(rng: random.Random) -> Body:
    """Draw a graph of a few nodes, with an end to the number of ways it can go."""
    nodes: list[Body] = []
    edges: list[Body] = []
    asked = 0
    for number in range(rng.randint(2, 7)):
        name = f"n{number}"
        kind = rng.choices(("noop", "if", "fail"), (6, 3, 1))[0]
        node: Body = {"id": name, "type": kind}
        if kind == "if":
            node["config"] = {"condition": f"c_{name}"}
        if kind == "fail":
            node["config"] = {"message": "On purpose."}
        entering = 0
        for source in rng.sample(nodes, min(len(nodes), rng.choice((0, 1, 1, 2, 2, 3)))):
            edge: Body = {"from": source["id"], "to": name}
            if source["type"] == "if" and rng.random() < 0.8:
                edge["port"] = rng.choice(("true", "false"))
            elif rng.random() < 0.15 or (source["type"] == "fail" and rng.random() < 0.5):
                edge["on"] = rng.choice(("error", "any"))
            if asked < 3 and rng.random() < 0.2:
                edge["when"] = f"w_{asked}"
                asked += 1
            edges.append(edge)
            entering += 1
        if entering > 1 and rng.random() < 0.4:
            node["join"] = rng.choice(("any", "any", {"mode": "n", "count": rng.randint(1, entering)}))
        nodes.append(node)
    return {"nodes": nodes, "edges": edges}


def foreseen(body: Body) -> set[tuple[str, str]]:
    """The nodes with what may be missing for them: each node before them, and each for the end."""
    outline = Outline({"name": "x", "definition": body}, REGISTRY)
    chart = Chart(outline.whole, outline)
    names = [each["id"] for each in body["nodes"]]
    presence = Presence(
        Flow(chart, Readings([chart]), Held()), [frozenset([(each, "output")]) for each in names]
    )
    found = {
        (reader, name)
        for reader in names
        for name in names
        if outline.whole.graph.precedes(name, reader) and presence.at(reader, frozenset([(name, "output")]))
    }
    return found | {("", name) for name in names if presence.at_the_end(frozenset([(name, "output")]))}


def missing(body: Body) -> set[tuple[str, str]]:
    """The same, found by carrying out everything."""
    outline = Outline({"name": "x", "definition": body}, REGISTRY)
    chart = Chart(outline.whole, outline)
    last = {each.id for each in map(chart.vertices.__getitem__, chart.last) if each is not None}
    names = [each["id"] for each in body["nodes"]]
    before = {
        (reader, name) for reader in names for name in names if outline.whole.graph.precedes(name, reader)
    }
    found: set[tuple[str, str]] = set()
    for run in runs(body):
        started, ended, _, survives = run.carried_out()
        if not survives:
            continue
        found |= {(reader, name) for reader, name in before if reader in started and name not in ended}
        found |= {("", name) for name in names if name not in ended}
        for name in started & ended:
            early, _, decided, _ = run.carried_out(stuck=name)
            found |= {(reader, other) for reader, other in before if other == name and reader in early}
            if last <= decided:
                found.add(("", name))
    return found


def waits(body: Body) -> bool:
    """Whether every node waits until all edges to it are decided."""
    return not any("join" in each for each in body["nodes"])


@settings(max_examples=400, deadline=None)
@given(dags.orders())
def test_what_may_be_missing_is_what_is_missing_in_some_run(rng: random.Random) -> None:
    body = graph(rng)
    found, expected = foreseen(body), missing(body)
    assert expected <= found
    if waits(body):
        assert found == expected


@settings(max_examples=150, deadline=None)
@given(dags.cases(dags.Taste(sink="http://127.0.0.1:9", once=True)))
def test_nothing_that_runs_well_is_refused(case: dags.Case) -> None:
    found = problems.check(case.document, REGISTRY)
    assert [each for each in found if each.severity == "error"] == []
    assert interpret(case.document, case.payload, case.answers).status in ("succeeded", "failed")
