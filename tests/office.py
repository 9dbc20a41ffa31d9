"""One process of the engine with its own way out and sealed connections, under the hand of a test: for whole workflows over
real servers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

from celeriac import Json
from engine.outside import connection_rows
from engine.outside.connections import make_connection
from engine.outside.sealing import SealingKeys
from engine.outside.surroundings import Models, Outside
from engine.settings import DEFAULT_PROJECT
from tests.builders import document, edges
from tests.people import decide
from tests.workbench import NOW, Workbench
from worker.children import Children

KEYS = SealingKeys.of(b"k" * 32)


@dataclasses.dataclass
class Office:
    """The process, and its connections."""

    bench: Workbench
    outside: Outside
    children: Children

    def keep(self, name: str, kind: str, values: Mapping[str, Json]) -> None:
        """Store a connection."""
        sealed = make_connection(
            connection_id=f"conn_{name}",
            project_id=DEFAULT_PROJECT,
            name=name,
            kind=kind,
            hosts=[],
            values=values,
            kinds=self.bench.registry.connections,
            keys=KEYS,
            now=NOW,
            random_bytes=lambda count: b"r" * count,
        )
        self.bench.ask(connection_rows.save(sealed, replace=False))

    def ask_by_default(self, model: str) -> None:
        """Have the project ask a model where a node names none."""
        settings = json.dumps({"default_model": model})

        def change(connection: Any) -> None:
            connection.run("UPDATE project SET settings = ? WHERE id = ?", (settings, DEFAULT_PROJECT))

        self.bench.ask(change)

    async def finish(self, whole: Mapping[str, Any], payload: Json = None, people: str = "approved") -> str:
        """Push and start a workflow, and carry it to its end, with people who decide; return the execution."""
        execution = self.bench.start(self.bench.push(whole), payload)
        worker = self.bench.executor(children=self.children, around=self.outside)
        await self.bench.carry(worker)
        while self.bench.query("SELECT id FROM approval WHERE status = 'open'"):
            decide(self.bench, people)
            await self.bench.carry(worker)
        return execution

    async def run(self, nodes: list[dict[str, Any]], ways: str, payload: Json = None) -> Any:
        """Push and start a workflow of nodes, carry it, and return what it comes to."""
        execution = await self.finish(document(nodes, edges(ways)), payload)
        assert self.bench.status(execution) == "succeeded", self.bench.error(execution)
        return self.bench.output(execution)


@contextlib.asynccontextmanager
async def office(folder: Path, models: Models | None = None) -> AsyncIterator[Office]:
    """A process for the block, which reaches loopback and nothing else."""
    async with AsyncExitStack() as stack:
        bench = stack.enter_context(contextlib.closing(Workbench(folder)))
        files = folder / "files"
        files.mkdir(exist_ok=True)
        settings = dataclasses.replace(bench.settings, egress_allow="127.0.0.1", files_folder=files)
        at = cast("Any", bench)
        outside = Outside(settings, at, at, bench.clock, bench.registry.connections, KEYS, models)
        stack.push_async_callback(outside.end)
        children = Children(settings)
        stack.push_async_callback(children.end)
        yield Office(bench, outside, children)
