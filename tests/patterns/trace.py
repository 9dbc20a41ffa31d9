"""Histories of executions, and the small language in which a pattern says which of them it allows.

A trace is an object:

- `status`, `output`: how the execution ends. Without `output` any will do.
- `runs`: how often each task succeeds, exactly (`2`) or between two bounds (`[1, 3]`). One that is not named never begins.
- `stopped`: tasks that may begin, and do not succeed more often than `runs` says.
- `order`: `a < b` (every `a` has ended before any `b` begins), `a b < c` (both have), `1 of a b < c` (so many of them have),
  `a ~ b` (every `a` ends before any `b` ends). `@end` is the end of the execution. Inside maps and loops, runs of different
  items are not compared.
- `apart`: groups of tasks of which no two are ever under way at once, whatever their items.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from engine.store.database import Connection

END = "@end"
_RELATION = re.compile(r"(?:(\d+) of )?([\w@ ]+?) ([<~]) ([\w@]+)")
_SUCCEEDED = "node.succeeded"
_ENDS = {f"execution.{each}" for each in ("succeeded", "failed", "cancelled", "timed_out")}


@dataclass(frozen=True, slots=True)
class Mark:
    """A task begins, or has ended well: at which place in its execution's history, or at what time."""

    execution: str
    kind: Literal["begin", "end"]
    node: str
    item: str
    at: int


@dataclass(frozen=True, slots=True)
class History:
    """What became of one execution."""

    marks: Sequence[Mark]
    status: str
    output: Any

    def of(self, kind: str, nodes: Iterable[str]) -> list[Mark]:
        """The marks of some nodes."""
        wanted = set(nodes)
        return [each for each in self.marks if each.kind == kind and each.node in wanted]


def begun(connection: Connection, execution: str, node: str, item: str) -> Mark:
    """Note that a task begins now: after everything that is committed."""
    ((seq,),) = connection.run("SELECT seq FROM execution WHERE id = ?", (execution,))
    return Mark(execution, "begin", node, item, seq)


def events(connection: Connection, execution: str) -> Iterator[tuple[int, list[Any]]]:
    """Yield every event of an execution with its place."""
    rows = connection.run("SELECT seq, body FROM event WHERE execution_id = ? ORDER BY seq", (execution,))
    for seq, body in rows:
        yield from enumerate(json.loads(body), seq)


def read(connection: Connection, execution: str) -> list[Mark]:
    """Return what has ended, by its place in the history."""
    found = []
    for seq, (kind, node, _, more) in events(connection, execution):
        if kind == _SUCCEEDED:
            found.append(Mark(execution, "end", node, more.get("item", ""), seq))
        elif kind in _ENDS:
            found.append(Mark(execution, "begin", END, "", seq))
            found.append(Mark(execution, "end", END, "", seq))
    return found


def read_by_time(connection: Connection, execution: str) -> list[Mark]:
    """Return what has begun and ended well, by the clocks of those who did it."""
    found = []
    for _, (kind, node, at, more) in events(connection, execution):
        if kind == _SUCCEEDED:
            item = more.get("item", "")
            found.append(Mark(execution, "begin", node, item, at - more["ms"]))
            found.append(Mark(execution, "end", node, item, at))
        elif kind in _ENDS:
            found.append(Mark(execution, "begin", END, "", at))
            found.append(Mark(execution, "end", END, "", at))
    return found


def ended(connection: Connection, execution: str, marks: Sequence[Mark]) -> History:
    """Return the history of an execution that has ended."""
    ((status, output),) = connection.run(
        "SELECT e.status, coalesce(e.output, b.body) FROM execution e LEFT JOIN blob b ON b.hash = e.output_blob "
        "WHERE e.id = ?",
        (execution,),
    )
    return History(marks, status, None if output is None else json.loads(output))


@dataclass(frozen=True, slots=True)
class Relation:
    """One line of `order`."""

    text: str
    count: int | None
    before: tuple[str, ...]
    begins: bool
    after: str

    @classmethod
    def parse(cls, text: str) -> Relation:
        """Read it. Raises `ValueError`."""
        found = _RELATION.fullmatch(text)
        if found is None:
            message = f"{text!r} is no relation"
            raise ValueError(message)
        count, before, sign, after = found.groups()
        return cls(text, int(count) if count else None, tuple(before.split()), sign == "<", after)

    @property
    def nodes(self) -> set[str]:
        """The nodes it is about."""
        return {*self.before, self.after} - {END}

    def holds(self, history: History) -> bool:
        """Whether a history keeps it everywhere."""
        return all(self._met(history))

    def shows(self, history: History) -> bool:
        """Whether there is a place where a history keeps it."""
        return any(self._met(history))

    def _met(self, history: History) -> Iterator[bool]:
        ends = history.of("end", self.before)
        for later in history.of("begin" if self.begins else "end", [self.after]):
            near = [each for each in ends if _together(each.item, later.item)]
            before = sum(each.at <= later.at for each in near)
            yield before >= (len(near) if self.count is None else self.count)


@dataclass(frozen=True, slots=True)
class Trace:
    """The histories that are allowed."""

    status: str
    output: Any = ...
    runs: Mapping[str, int | Sequence[int]] = field(default_factory=dict)
    stopped: Sequence[str] = ()
    order: Sequence[Relation] = ()
    apart: Sequence[Sequence[str]] = ()

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Trace:
        """Read it. Raises `ValueError` or `TypeError`."""
        return cls(**{**body, "order": tuple(map(Relation.parse, body.get("order", ())))})

    @property
    def nodes(self) -> set[str]:
        """The nodes it is about."""
        found = {*self.runs, *self.stopped, *(each for group in self.apart for each in group)}
        return found.union(*(each.nodes for each in self.order))

    def complaints(self, history: History, tasks: Iterable[str]) -> list[str]:
        """Return what of a history is not allowed."""
        found = []
        if history.status != self.status:
            found.append(f"it is {history.status}")
        if self.output is not ... and history.output != self.output:
            found.append(f"it came to {json.dumps(history.output)}")
        found += self._counted(history, tasks)
        found += [f"not {each.text}" for each in self.order if not each.holds(history)]
        found += [text for group in self.apart for text in _overlaps(history, group)]
        return found

    def _counted(self, history: History, tasks: Iterable[str]) -> Iterator[str]:
        successes = Counter((each.node, each.item) for each in history.of("end", self.nodes | {*tasks}))
        yield from (f"{node} succeeded twice at {item!r}" for (node, item), n in successes.items() if n > 1)
        counts = Counter(node for node, _ in successes)
        for node in dict.fromkeys([*tasks, *self.runs]):
            wanted = self.runs.get(node, 0)
            low, high = (wanted, wanted) if isinstance(wanted, int) else wanted
            if not low <= counts[node] <= high:
                yield f"{node} succeeded {counts[node]} times"
            if high == 0 and node not in self.stopped and history.of("begin", [node]):
                yield f"{node} has begun"


def _together(first: str, second: str) -> bool:
    """Whether one item is the other, or around it."""
    short, long = sorted((first, second), key=len)
    return not short or long == short or long.startswith(f"{short}.")


def _overlaps(history: History, group: Sequence[str]) -> Iterator[str]:
    spans = sorted(
        (
            min(each.at for each in history.of("begin", [end.node]) if each.item == end.item),
            end.at,
            end.node,
        )
        for end in history.of("end", group)
    )
    for (_, ended_at, first), (began_at, _, second) in pairwise(spans):
        if began_at < ended_at:
            yield f"{first} and {second} were under way at once"
