"""A society in which workflows change while they run, a schedule starts one, and clients ask again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from engine import admission, catalog
from engine import operations as op
from tests.builders import document, edges, node
from tests.chaos import checker
from tests.chaos.constructs import PEOPLE
from tests.chaos.drafts import Case
from tests.chaos.society import Society, Store
from tests.chaos.world import Accepting

EVERY = 5
CLOCKWORK = Case(
    document(
        [node("a", "set", {"values": {"n": "{{ k + 1 }}"}}), node("b", "wait", {"for": 0.5})],
        edges("a->b"),
        "clockwork",
        variables={},
        triggers=[
            {
                "id": "clock",
                "type": "schedule",
                "config": {
                    "every": EVERY,
                    "misfire": {"policy": "all", "max": 5, "grace": "15s"},
                    "overlap": "allow",
                    "payload": {"k": 1},
                },
            }
        ],
    ),
    {"k": 1},
    {},
)
"""What the clock starts."""

MOST = 3
"""Requests beside the first one of each definition, and new versions."""

_LATE = (
    "SELECT a.execution_id, a.id, a.shown_hash FROM approval a WHERE a.status IN ('approved', 'rejected') "
    "ORDER BY a.execution_id, a.segment, a.item"
)


def _limited(case: Case) -> bool:
    """Whether a definition says how many of its executions may be at work: then another may stand for one."""
    return bool({"concurrency", "rate", "triggers"} & case.document["definition"].keys())


class Town(Society):
    """A society with a clock and with clients."""

    def __init__(self, folder: Path, seed: int, store: Store = None) -> None:
        super().__init__(folder, seed, store)
        self._asked = self._edited = 0
        self.save(CLOCKWORK)

    def weights(self) -> dict[Callable[[], None], float]:
        return {**super().weights(), self._ask_again: 0.5, self._edit: 0.3, self._decide_late: 0.4}

    async def heal(self) -> bool:
        """Stop the clock first: nothing would come to rest with it."""
        self.actors[0].connection.run("UPDATE schedule SET due = NULL")
        return await super().heal()

    def _ask_again(self) -> None:
        """A client asks for an execution, or asks again because nobody has answered, and may go without an answer."""
        keys = [each.key for each in self.ops if not _limited(self._case_of(each.key))]
        if not keys:
            return
        key = self.rng.choice(keys)
        if self._asked < MOST and self.rng.random() < 0.5:
            self._asked += 1
            key = f"{key.partition('/')[0]}/{self._asked}"
        case, reader = self._case_of(key), self.actors[0].connection
        active = catalog.active(reader, self.workflows[case.document["name"]])
        at = cast("Any", Accepting(self.settings, self.clock))
        wish = admission.operation(at, admission.Request(active, case.payload, idempotency_key=key))
        self.ops.append(checker.Op(key, "info", None, self.clock.now()))
        (started,) = self._ask(wish)
        if started is not None:
            self.ops.append(checker.Op(key, "ok", started.execution, self.clock.now()))
            if started.send:
                self.messages.append((started.execution, 0, ""))

    def _case_of(self, key: str) -> Case:
        return self.cases.get(key.removeprefix("key-").partition("/")[0], CLOCKWORK)

    def _edit(self) -> None:
        """An author saves another version: what runs is not changed by that."""
        if self._edited >= MOST:
            return
        self._edited += 1
        name = self.rng.choice([each for each in self.cases if each.startswith("case-")])
        document = self.cases[name].document
        body = document["definition"]
        more = node(f"edited_{self._edited}", "set", {"values": {"n": self._edited}})
        changed = {**document, "definition": {**body, "nodes": [more, *body["nodes"]]}}
        self._ask(catalog.push(changed, self.registry, self.clock))

    def _decide_late(self) -> None:
        """Somebody says what he thinks of something that has been decided."""
        rows = self._rows(_LATE)
        if rows:
            execution, approval, shown = self.rng.choice(rows)
            said = {name for (name,) in self._rows("SELECT principal FROM approval_vote")}
            now, principal = self.clock.now(), self.rng.choice(sorted(set(PEOPLE) - said) or PEOPLE)
            decision = self.rng.choice(("approved", "rejected"))
            (answer,) = self._ask(
                op.Decide(execution, approval, principal, frozenset(), decision, shown, now)
            )
            self._send(execution, answer)
