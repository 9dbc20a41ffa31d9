"""Random definitions: every shape of graph, choice, join and failure that the reference interpreter knows.

Drawn from a `random.Random`, so that a seed is a definition; `cases` makes a hypothesis strategy of the same.

Two rules keep their meaning independent of the order in which things happen, and of how often a call is repeated after
a crash: a node reads only nodes that are decided whenever it starts, and a call either succeeds before its tries are
spent or fails for ever.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """A definition, its input, and the words its calls are answered with."""

    document: Body
    payload: Body
    answers: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Taste:
    """What may be drawn. Without a `sink` no node has an effect; `waits` are seconds; `fatal` is a share of cases.

    `once` allows effects that cannot be repeated. Whether one of them came about is left open, and nothing depends on it.
    """

    sink: str | None = None
    nodes: int = 30
    waits: float = 1.0
    delay: float = 0.0
    computes: bool = False
    once: bool = False
    fatal: float = 0.12


@dataclass(slots=True)
class _Draft:
    rng: random.Random
    taste: Taste
    fatal: bool
    nodes: list[Body] = field(default_factory=list)
    edges: list[Body] = field(default_factory=list)
    known: dict[str, set[str]] = field(default_factory=dict)
    answers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)

    def kind(self, name: str) -> str:
        found: str = next(each["type"] for each in self.nodes if each["id"] == name)
        return found


def draw(rng: random.Random, taste: Taste, name: str = "random") -> Case:
    """Draw a definition with its input."""
    draft = _Draft(rng, taste, rng.random() < taste.fatal)
    count = 1 + int(taste.nodes * rng.random() ** 1.7)
    shape = rng.choice(("chain", "wide", "mixed", "mixed", "layers"))
    for index in range(count):
        _add(draft, f"n{index}", _sources(draft, index, shape))
    _settle_failures(draft)
    body: Body = {"nodes": draft.nodes, "edges": draft.edges, "variables": {"v": rng.randint(0, 9)}}
    if rng.random() < 0.3:
        everything = {each["id"] for each in draft.nodes}
        body["outputs"] = {"total": _braced(_number(draft, everything)), "k": "{{ trigger.payload.k }}"}
    if rng.random() < 0.1:
        body["queue"] = "cpu"
    payload = {"k": rng.randint(0, 99), "s": rng.choice(("x", "y", "long text"))}
    return Case({"name": name, "definition": body}, payload, draft.answers)


def cases(taste: Taste) -> st.SearchStrategy[Case]:
    """The same, drawn by hypothesis: a seed, and a size that shrinks."""
    sizes = st.integers(1, taste.nodes).map(lambda nodes: replace(taste, nodes=nodes))
    return st.builds(draw, orders(), sizes)


def orders() -> st.SearchStrategy[random.Random]:
    """What decides an order, drawn by hypothesis. One number each: a draw for every choice would take minutes."""
    return st.integers(0, 2**32 - 1).map(random.Random)


def _sources(draft: _Draft, index: int, shape: str) -> list[str]:
    """The nodes that lead to the next one."""
    rng, names = draft.rng, [each["id"] for each in draft.nodes]
    if not names:
        return []
    if shape == "chain" and rng.random() < 0.85:
        return [names[-1]]
    if shape == "wide" and rng.random() < 0.7:
        return [names[0]]
    if shape == "layers":
        size = max(1, len(names) // 3)
        return rng.sample(names[-size:], min(size, rng.randint(1, 3)))
    if rng.random() < 0.08:
        return []
    several = rng.random() < 0.4
    return rng.sample(names, min(len(names), rng.randint(2, 4) if several else 1))


def _add(draft: _Draft, name: str, sources: Sequence[str]) -> None:
    rng = draft.rng
    entering = [each for source in sources for each in _edges(draft, source, name)]
    made: Body = {"id": name}
    known = [draft.known[each] | {each} for each in sources]
    joined = set[str]().union(*known)
    if len(entering) > 1 and rng.random() < 0.4:
        count = rng.randint(1, len(entering))
        made["join"] = rng.choice(("any", {"mode": "any"}, {"mode": "n", "count": count}))
        joined = set[str].intersection(*known)
    elif len(entering) > 1 and rng.random() < 0.2:
        made["join"] = "all"
    draft.known[name] = joined
    made |= _work(draft, name, joined)
    if rng.random() < 0.05:
        made["queue"] = rng.choice(("default", "cpu"))
    draft.nodes.append(made)
    draft.edges += entering


def _edges(draft: _Draft, source: str, target: str) -> list[Body]:
    """One or two edges between two nodes."""
    rng, kind = draft.rng, draft.kind(source)
    made: Body = {"from": source, "to": target}
    if source in draft.failing and rng.random() < 0.5:
        return [made | rng.choice(({"on": "error"}, {"port": "error"}, {"on": "any"}))]
    if kind == "if" and rng.random() < 0.85:
        if rng.random() < 0.15:
            return [made | {"port": "true"}, made | {"port": "false"}]
        return [made | {"port": rng.choice(("true", "false"))}]
    if kind == "switch" and rng.random() < 0.85:
        return [made | {"port": rng.choice(("low", "high", "rest"))}]
    if rng.random() < 0.12:
        return [made | {"when": _truth(draft, draft.known[source])}]
    if rng.random() < 0.06:
        return [made | {"on": rng.choice(("any", "success"))}]
    return [made]


def _work(draft: _Draft, name: str, known: set[str]) -> Body:
    """What a node does."""
    rng, taste = draft.rng, draft.taste
    kinds = {"set": 3.0, "transform": 3.0, "if": 1.5, "switch": 1.0, "merge": 0.7, "noop": 0.7, "log": 0.5}
    kinds |= {"fail": 0.5, "wait": 0.7 if taste.waits else 0.0, "compute": 0.3 if taste.computes else 0.0}
    kinds["http_request"] = 5.0 if taste.sink else 0.0
    kind = rng.choices(list(kinds), list(kinds.values()))[0]
    number = _braced(_number(draft, known))
    match kind:
        case "set":
            return {"type": kind, "config": {"values": {"n": number, "s": "{{ s }}-{{ trigger.payload.k }}"}}}
        case "transform":
            return {"type": kind, "config": {"expression": _number(draft, known)}}
        case "if":
            return {"type": kind, "config": {"condition": _truth(draft, known)}}
        case "switch":
            cases_ = [{"name": each, "when": _truth(draft, known)} for each in ("low", "high")]
            more = {"mode": rng.choice(("first", "all"))}
            return {"type": kind, "config": {"cases": cases_, "default": "rest", **more}}
        case "log":
            return {"type": kind, "config": {"message": "k is {{ k }}"}}
        case "wait":
            return {"type": kind, "config": {"for": round(taste.waits * rng.random(), 3)}}
        case "compute":
            return {"type": kind, "config": {"seconds": 0.05, "value": number}}
        case "fail":
            draft.failing.add(name)
            config = {"message": "On purpose.", "code": "test.on_purpose"}
            return {"type": kind, "config": config, **_retry(rng, rng.randint(1, 2))}
        case "http_request":
            if taste.once and rng.random() < 0.2:
                return {"type": kind, **_call_once(draft, name, number)}
            return {"type": kind, **_call(draft, name, number)}
    return {"type": kind}


def _call(draft: _Draft, name: str, number: str) -> Body:
    """A keyed effect, and how the sink answers it."""
    rng, taste = draft.rng, draft.taste
    failures = rng.choice((0, 0, 0, 1, 1, 2, 3))
    words = [rng.choice(("500", "429", "drop", "lose")) for _ in range(failures)] + ["ok"]
    if rng.random() < 0.08:
        words = [rng.choice(("400", "500"))]
        draft.failing.add(name)
    draft.answers[name] = tuple(words)
    query = f"node={name}&script={','.join(words)}"
    if taste.delay and rng.random() < 0.5:
        query += f"&delay={taste.delay * rng.random():.3f}"
    config = {
        "method": "POST",
        "url": f"{taste.sink}/effect?{query}",
        "idempotent": True,
        "body": {"execution": "{{ execution.id }}", "node": name, "value": number},
    }
    return {"config": config, **_retry(rng, len(words) + rng.randint(0, 2) if failures else 2)}


def _call_once(draft: _Draft, name: str, number: str) -> Body:
    """An effect that cannot be repeated; after a crash nobody knows of it, and the execution goes on without."""
    draft.open.add(name)
    config = {
        "method": "POST",
        "url": f"{draft.taste.sink}/effect?node={name}&script={draft.rng.choice(('ok', 'drop', 'lose'))}",
        "body": {"execution": "{{ execution.id }}", "node": name, "value": number},
    }
    return {"config": config, "on_uncertain": "fail", "on_error": "continue"}


def _retry(rng: random.Random, tries: int) -> Body:
    return {"retry": {"max_attempts": tries, "delay": round(0.1 * rng.random(), 3), "backoff": "constant"}}


def _settle_failures(draft: _Draft) -> None:
    """Say what follows a failure that no edge leads away from."""
    rng = draft.rng
    caught = {
        each["from"] for each in draft.edges if each.get("on") == "error" or each.get("port") == "error"
    }
    for each in draft.nodes:
        if each["id"] in draft.failing - caught and not draft.fatal:
            each["on_error"] = rng.choice(("continue", {"default": {"n": rng.randint(0, 9)}}))


def _number(draft: _Draft, known: set[str]) -> str:
    """An expression for a whole number."""
    rng = draft.rng
    atoms = [str(rng.randint(0, 9)), "k", "trigger.payload.k", "vars.v"]
    for name in rng.sample(sorted(known), min(len(known), 3)):
        path = {
            "set": "output.n",
            "http_request": "output.body.value",
            "transform": "output",
            "compute": "output",
        }.get(draft.kind(name))
        if path is not None and name not in draft.open:
            atoms += [f"(nodes.{name}.{path} | default({rng.randint(0, 9)}))"] * 2
    left, right = rng.choice(atoms), rng.choice(atoms)
    return rng.choice((left, f"{left} + {right}", f"{left} * 3 % 7", f"({left} - {right}) * 2"))


def _truth(draft: _Draft, known: set[str]) -> str:
    """An expression that is true or false."""
    rng = draft.rng
    simple = rng.choice(
        (f"({_number(draft, known)}) % 2 == 0", f"({_number(draft, known)}) < {rng.randint(1, 60)}")
    )
    return f"{simple} and s != 'y'" if rng.random() < 0.2 else simple


def _braced(expression: str) -> str:
    return f"{{{{ {expression} }}}}"
