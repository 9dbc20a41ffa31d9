"""The world in which a pattern is played: tasks end when chance says so, and a driver does meanwhile what is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from celeriac import Context, Effect, Json, Retry, node
from engine import operations as op
from engine.settings import Settings
from engine.store.database import Database, PostgresDatabase
from tests.chaos import checker
from tests.chaos.world import ACTOR, Actor, World, settings_for
from tests.nodes import Task
from tests.patterns.pattern import Deed
from tests.patterns.trace import END, History, Mark, begun, ended, read


class Stage(World):
    """A world with tasks, on a file or on a PostgreSQL database."""

    def __init__(self, folder: Path, seed: int, database_url: str | None = None) -> None:
        self._database_url = database_url
        self._tasks_under_way: list[tuple[Actor, asyncio.Future[None]]] = []
        self.marks: list[Mark] = []
        self.deeds: list[tuple[str, Deed]] = []
        super().__init__(folder, seed)

    def meanwhile(self, execution: str, deeds: Sequence[Deed]) -> None:
        """Note what is to be done to an execution when its time has come."""
        self.deeds += [(execution, each) for each in deeds]

    def history(self, execution: str) -> History | None:
        """What became of an execution; nothing when it has not ended."""
        connection = self.actors[0].connection
        marks = [each for each in self.marks if each.execution == execution]
        found = ended(connection, execution, [*marks, *read(connection, execution)])
        return found if any(each.node == END for each in found.marks) else None

    def left_over(self) -> list[str]:
        """Return what is left of executions that have ended."""
        found = checker.read(self.settings.database_url)
        return [violation.text for each in found for violation in checker._leftovers(each)]

    def _storage(self, folder: Path) -> tuple[Settings, Database]:
        if self._database_url is None:
            return super()._storage(folder)
        return settings_for(self._database_url, folder), PostgresDatabase(self._database_url)

    def _types(self) -> Sequence[Any]:
        @node("task", effect=Effect.KEYED, retry=Retry(3, delay=0.1))
        async def task(config: Task, ctx: Context) -> Json:
            """Take as long as the world likes."""
            actor = ACTOR.get()
            assert actor is not None
            self.marks.append(begun(actor.connection, ctx.execution_id, ctx.node_id, ctx.item))
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if config.ends:
                self._tasks_under_way.append((actor, future))
            await future
            return config.result(ctx)

        return (task,)

    def _carry_call(self) -> None:
        """Let some task end."""
        if not self._tasks_under_way:
            return
        actor, future = self._tasks_under_way.pop(self.rng.randrange(len(self._tasks_under_way)))
        if not actor.dead and not future.done():
            future.set_result(None)

    def _deliver(self) -> None:
        self._drive()
        super()._deliver()

    def _drive(self) -> None:
        """Do what the time has come for, as soon as somebody lives who can."""
        actor = next((each for each in self.actors if not each.dead), None)
        for execution, deed in self.deeds.copy() if actor else ():
            kind, node = deed.after
            marks = [*self.marks, *read(self.actors[0].connection, execution)]
            if actor and (execution, kind, node) in {
                (each.execution, each.kind, each.node) for each in marks
            }:
                self.deeds.remove((execution, deed))
                self._do(actor, execution, deed.word)

    def _do(self, actor: Actor, execution: str, word: str) -> None:
        if word != "cancel":
            message = f"the driver cannot {word}"
            raise ValueError(message)
        actor.ask_all([op.Cancel(execution, self.clock.now(), "no longer needed")])

    def _cancel(self) -> None:
        """Nobody cancels but the driver."""

    def _under_way(self) -> bool:
        """Whether something is left to do: what was withdrawn has to stop, too."""
        moving = "SELECT count(*) FROM segment WHERE status IN ('ready', 'running', 'waiting', 'backing_off')"
        return super()._under_way() or bool(self.actors[0].connection.run(moving)[0][0])
