"""The files of patterns: a definition, and cases of it with their inputs, what is done meanwhile, and the traces allowed."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.patterns.trace import History, Relation, Trace

FOLDER = Path(__file__).parent

NAMES = {
    1: "Sequence",
    2: "Parallel split",
    3: "Synchronization",
    4: "Exclusive choice",
    5: "Simple merge",
    6: "Multi-choice",
    7: "Structured synchronizing merge",
    8: "Multi-merge",
    9: "Structured discriminator",
    10: "Arbitrary cycles",
    11: "Implicit termination",
    12: "Multiple instances without synchronization",
    13: "Multiple instances, count known at design time",
    14: "Multiple instances, count known at run time",
    15: "Multiple instances, count unknown",
    16: "Deferred choice",
    17: "Interleaved parallel routing",
    18: "Milestone",
    19: "Cancel task",
    20: "Cancel case",
    21: "Structured loop",
    22: "Recursion",
    23: "Transient trigger",
    24: "Persistent trigger",
    25: "Cancel region",
    26: "Cancel multiple instance task",
    27: "Complete multiple instance task",
    29: "Cancelling discriminator",
    30: "Structured partial join",
    32: "Cancelling partial join",
    34: "Static partial join for multiple instances",
    35: "Cancelling partial join for multiple instances",
    36: "Dynamic partial join for multiple instances",
    37: "Local synchronizing merge",
    39: "Critical section",
    40: "Interleaved routing",
    43: "Explicit termination",
}
"""The control-flow patterns that are aimed at, of the 43 of Russell, ter Hofstede, van der Aalst and Mulyar (2006)."""


@dataclass(frozen=True, slots=True)
class Deed:
    """Something the driver does when a task has begun or ended: `{"after": "begin a", "do": "cancel"}`."""

    after: tuple[str, str]
    word: str


@dataclass(frozen=True, slots=True)
class Case:
    """One input, what is done meanwhile, and what may come of it.

    `seen` are orders that have to show in some run at least: that nothing waits for what it need not.
    """

    input: Any
    meanwhile: Sequence[Deed]
    traces: Sequence[Trace]
    seen: Sequence[Relation]

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Case:
        """Read it. A misspelt key is a `TypeError`."""
        return cls(
            **{
                **body,
                "input": body.get("input"),
                "meanwhile": [
                    Deed((kind, node), each["do"])
                    for each in body.get("meanwhile", ())
                    for kind, node in [each["after"].split()]
                ],
                "traces": [Trace.parse(each) for each in body["traces"]],
                "seen": [Relation.parse(each) for each in body.get("seen", ())],
            }
        )

    def complaints(self, history: History, tasks: Sequence[str]) -> list[str]:
        """Return why a history is none of those allowed; nothing when it is one."""
        found = [each.complaints(history, tasks) for each in self.traces]
        return [] if [] in found else [text for each in found for text in each]


@dataclass(frozen=True, slots=True)
class Pattern:
    """One file. `wrong` are changes to nodes, each of which the traces have to find out."""

    number: int
    name: str
    says: str
    definition: Mapping[str, Any]
    cases: Sequence[Case]
    wrong: Sequence[Mapping[str, Mapping[str, Any]]]

    @classmethod
    def read(cls, path: Path) -> Pattern:
        """Read a file."""
        body = json.loads(path.read_text(encoding="utf-8"))
        cases = [Case.parse(each) for each in body.pop("cases")]
        return cls(**{"wrong": (), **body, "cases": cases})

    @property
    def document(self) -> dict[str, Any]:
        """What is pushed."""
        return {"name": self.label, "definition": self.definition}

    @property
    def label(self) -> str:
        """The name the pattern is known under."""
        return f"WCP-{self.number}"

    @property
    def tasks(self) -> list[str]:
        """The ids of all tasks, those in bodies included."""
        return [each["id"] for each in _nodes(self.definition) if each["type"] == "task"]

    def changed(self, change: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Return the document with some nodes changed: a key that is null goes."""
        document = copy.deepcopy(self.document)
        for node in _nodes(document["definition"]):
            for key, value in change.get(node["id"], {}).items():
                if value is None:
                    del node[key]
                else:
                    node[key] = value
        return document


def _nodes(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for node in body["nodes"]:
        yield node
        handlers = [each["body"] for each in node.get("catch", ())]
        for inner in (node.get("body"), node.get("finally"), *handlers):
            if inner is not None:
                yield from _nodes(inner)


FILES = sorted(FOLDER.glob("wcp-*.json"))
PATTERNS = [Pattern.read(each) for each in FILES]
