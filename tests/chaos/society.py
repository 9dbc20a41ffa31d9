"""A world with people and programs in it: they publish events, decide what they are asked, and call the addresses of waits."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine import admission, bases
from engine import operations as op
from engine.settings import DEFAULT_PROJECT, Settings
from engine.store.database import Database, PostgresDatabase
from tests.chaos.constructs import EVENTS, EVERYBODY, PEOPLE
from tests.chaos.world import World, settings_for
from tests.kept import KeptDatabase

Store = str | KeptDatabase | None
"""Where a world keeps everything: the URL of a PostgreSQL database, a file that others have used before it, or a new one."""

MOST = 12
"""So many executions are started in a world at most."""

FORKS = 2
"""So many executions go on after all have ended, where forks are wanted."""

_ASKED = (
    "SELECT a.execution_id, a.id, a.shown_hash FROM approval a WHERE a.status = 'open' "
    "ORDER BY a.execution_id, a.segment, a.item"
)
_CALLABLE = (
    "SELECT execution_id, segment, item, name FROM subscription WHERE kind = 'callback' "
    "ORDER BY execution_id, segment, item, name"
)
_STATUS = "SELECT w.name, e.version_id, e.status FROM execution e JOIN workflow w ON w.id = e.workflow_id WHERE e.id = ?"
_DEFINED = (
    "SELECT w.name, e.version_id FROM execution e JOIN workflow w ON w.id = e.workflow_id WHERE e.id = ?"
)


class Society(World):
    """A world with people in it, on a new file or in the place it is given."""

    forks = False
    """Whether some executions are forked after all have ended."""

    def __init__(self, folder: Path, seed: int, store: Store = None) -> None:
        self._store = store
        self._said = 0
        super().__init__(folder, seed)

    def weights(self) -> dict[Callable[[], None], float]:
        return {
            **super().weights(),
            self._publish: 0.6,
            self._decide: 1.5,
            self._call_back: 0.5,
            self._submit_again: 0.3,
        }

    def _storage(self, folder: Path) -> tuple[Settings, Database]:
        if self._store is None:
            return super()._storage(folder)
        if isinstance(self._store, KeptDatabase):
            return settings_for(self._store.url, folder), self._store
        return settings_for(self._store, folder), PostgresDatabase(self._store)

    def _payload(self) -> op.Payload:
        """Something that nobody has said before."""
        self._said += 1
        return op.Payload(json.dumps({"said": self._said}))

    def _submit_again(self) -> None:
        """Somebody starts a workflow again that says how many may be at work."""
        limited = [
            each
            for each in self.cases.values()
            if {"concurrency", "rate"} & each.document["definition"].keys()
        ]
        if limited and len(self.ops) < MOST:
            self.submit(self.rng.choice(limited), f"again-{len(self.ops)}", self._ask)

    def goes_on(self) -> bool:
        """Somebody wants executions that have ended to go on from their failure, or from one of their nodes."""
        known = self._known() if self.forks else []
        for name in self.rng.sample(known, min(FORKS, len(known))):
            self._fork(name)
        return bool(known)

    def _fork(self, name: str) -> None:
        ((workflow, _, status),) = self._rows(_STATUS, name)
        nodes = [each["id"] for each in self.cases[workflow].document["definition"]["nodes"]]
        again = None if status != "succeeded" else (self.rng.choice(nodes),)
        now, connection = self.clock.now(), self.actors[0].connection
        wanted = bases.Wanted(again)
        found = bases.prepare(connection, self.programs.plan, name, wanted, now, self.settings.limits)
        key = f"fork-{len(self.ops)}"
        request = admission.Request(
            found.active, found.payload, idempotency_key=key, base=name, fork=found.start
        )
        self.ask_to_start(request, key, self._ask)

    def _publish(self) -> None:
        """Somebody outside publishes an event."""
        now = self.clock.now()
        about = self.rng.choice((EVERYBODY, self._any()))
        payload = self._payload()
        event = op.Publish(
            f"evt_{self._said}", DEFAULT_PROJECT, self.rng.choice(EVENTS), about, now, now + 10**9, payload
        )
        (answer,) = self._ask(event)
        if answer is not None:
            self.messages += [(execution, segment, item) for execution, (segment, item, _) in answer.ready]

    def _decide(self) -> None:
        """Somebody says what he thinks of something: he may not be asked, and may have said so before."""
        rows = self._rows(_ASKED)
        if rows:
            execution, approval, shown = self.rng.choice(rows)
            decision = self.rng.choice(("approved", "approved", "rejected"))
            principal = self.rng.choice(PEOPLE)
            (answer,) = self._ask(
                op.Decide(execution, approval, principal, frozenset(), decision, shown, self.clock.now())
            )
            self._send(execution, answer)

    def _call_back(self) -> None:
        """Somebody calls the address of a wait, which may not have begun."""
        rows = [*self._rows(_CALLABLE), *self._not_begun()]
        if rows:
            execution, segment, item, name = self.rng.choice(rows)
            now, payload = self.clock.now(), self._payload()
            (answer,) = self._ask(op.Signal(execution, segment, item, name, "callback", now, payload))
            self._send(execution, answer)

    def _not_begun(self) -> list[tuple[str, int, str, str]]:
        """Waits for a call, of some execution, whose address somebody may have had from the beginning."""
        execution = self._any()
        ((name, version),) = self._rows(_DEFINED, execution)
        plan = self.programs.plan(version, self.actors[0].connection)
        waits = [each for each in self.cases[name].document["definition"]["nodes"] if each["type"] == "wait"]
        return [
            (execution, plan.segment_of[each["id"]], "", one.get("name", "callback"))
            for each in waits
            for one in each["config"].get("any_of", [each["config"]])
            if "callback" in one and plan.region_of(each["id"]).kind == "whole"
        ]

    def _send(self, execution: str, answer: op.Decided | op.Signalled | None) -> None:
        if answer is not None:
            self.messages += [(execution, segment, item) for segment, item, _ in answer.ready]

    def _rows(self, sql: str, *values: str) -> Sequence[tuple[Any, ...]]:
        return self.actors[0].connection.run(sql, values)


class Forking(Society):
    """A society in which executions are forked after their end."""

    forks = True
