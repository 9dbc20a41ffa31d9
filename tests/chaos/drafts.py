"""Definitions in the making: what is known of the graph so far, and expressions over it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

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
    regions: float = 0.0
    """The share of containers among the nodes; less of them further inside."""
    depth: int = 2
    handled: bool = True
    """Whether a repeated scope may have handlers of its own. The engine carries them out; validation wants them nested."""
    rich: float = 0.0
    """The share of nodes that wait, call, decide, exit and the like, and of limits, time limits and joins that cancel."""
    limited: bool = True
    """Whether such nodes may have limits. What is called may not: it would wait for what its caller holds."""
    keys: int = 1
    """How many keys of limits there are for each level."""
    turns: float = 0.0
    """The share of definitions with limits of their own."""
    beats: bool = False
    """Whether there are calls that say how far they are."""
    library: tuple[str, ...] = ()
    """Workflows that may be called; each takes the payload of a case and comes to an object with a number `n`."""


@dataclass(slots=True)
class Draft:
    """A graph in the making. What all graphs of a definition share is handed on to those inside."""

    rng: random.Random
    taste: Taste
    fatal: bool
    prefix: str = "n"
    depth: int = 0
    outside: set[str] = field(default_factory=set)
    atoms: tuple[str, ...] = ()
    nodes: list[Body] = field(default_factory=list)
    edges: list[Body] = field(default_factory=list)
    known: dict[str, set[str]] = field(default_factory=dict)
    reads: dict[str, set[str]] = field(default_factory=dict)
    """Of those `known` to a node what is one value there, and no list of what came after a join `each`."""
    failing: set[str] = field(default_factory=set)
    answers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    kinds: dict[str, str] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    """Where a container's output has its number."""
    ports: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The exits of nodes that have several."""
    exits: tuple[str, ...] = ("branch", "workflow")
    """What may be ended from here."""
    exited: set[str] = field(default_factory=set)
    """What is ended from here, by name."""

    def inside(self, prefix: str, outside: set[str], *atoms: str, fatal: bool) -> Draft:
        """Return a graph inside this one, which sees what its container does. A repetition hides the item around it."""
        seen = tuple(each for each in self.atoms if each != "item") if atoms else self.atoms
        return replace(
            self,
            fatal=fatal,
            prefix=prefix,
            depth=self.depth + 1,
            outside=outside,
            atoms=(*seen, *atoms),
            nodes=[],
            edges=[],
            known={},
            reads={},
            failing=set(),
            exited=set(),
        )

    def arriving(self) -> Draft:
        """Return it as a node sees it that comes after a join `each`: with an item and an index of its own."""
        return replace(self, atoms=(*(each for each in self.atoms if each != "item"), "index"))

    def kind(self, name: str) -> str:
        return self.kinds[name]


def number(draft: Draft, known: set[str]) -> str:
    """An expression for a whole number."""
    rng = draft.rng
    atoms = [str(rng.randint(0, 9)), "k", "trigger.payload.k", "vars.v", *draft.atoms]
    for name in rng.sample(sorted(known), min(len(known), 3)):
        path = {
            "set": "output.n",
            "http_request": "output.body.value",
            "transform": "output",
            "compute": "output",
            "scope": draft.paths.get(name),
            "workflow": draft.paths.get(name),
        }.get(draft.kind(name))
        if path is not None and name not in draft.open:
            atoms += [f"(nodes.{name}.{path} | default({rng.randint(0, 9)}))"] * 2
    left, right = rng.choice(atoms), rng.choice(atoms)
    return rng.choice((left, f"{left} + {right}", f"{left} * 3 % 7", f"({left} - {right}) * 2"))


def truth(draft: Draft, known: set[str]) -> str:
    """An expression that is true or false."""
    rng = draft.rng
    simple = rng.choice(
        (f"({number(draft, known)}) % 2 == 0", f"({number(draft, known)}) < {rng.randint(1, 60)}")
    )
    return f"{simple} and s != 'y'" if rng.random() < 0.2 else simple


def braced(expression: str) -> str:
    return f"{{{{ {expression} }}}}"
