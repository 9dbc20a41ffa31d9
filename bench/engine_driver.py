"""Submits to the engine in its own process: what an embedding program does, or the API without HTTP."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from typing import Any

from api.replies import Replies
from bench.protocol import PATIENCE, Order, Report, serve
from bench.shapes import SHAPES
from engine import admission, catalog, runtime, settings
from engine.store.database import Connection
from engine.watch import Watcher

_LOOK = 0.02
"""How long to wait for the end of many before looking again, as a share of the time so far: the error of the figure."""

_FIRST_LOOK = 0.02
"""Seconds before the first look at an execution one waits for: the worker's word is quicker, as in the API."""

_BREATH = 0.005
"""Seconds between executions that are measured one by one, so that each finds an idle stack."""


class Unfinished(Exception):
    """Executions did not come to what they have to."""


class EngineDriver:
    """The engine's parts, and an event loop for them."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._settings = settings.from_environment()
        self._loop.run_until_complete(self._begin())

    async def _begin(self) -> None:
        self._runtime = runtime.assemble(self._settings)
        self._watcher = Watcher(self._runtime.reader, _FIRST_LOOK)
        self._replies = Replies(self._runtime.app, self._watcher.tell)
        # As the API does when it starts.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)

    def handle(self, order: Order) -> Report:
        """Do what is asked: `push` a shape, or run one as a `burst` or in a `serial` way."""
        return self._loop.run_until_complete(getattr(self, order.pop("do"))(**order))

    async def push(self, shape: str) -> Report:
        """Save the definition of a shape."""
        document = SHAPES[shape].document()
        at = self._runtime
        pushed = await at.ledger.submit(catalog.push(document, at.registry, at.clock))
        return {"workflow": pushed.workflow}

    async def burst(self, shape: str, count: int) -> Report:
        """Submit all at once, and wait until the last one has ended."""
        active = await self._active(shape)
        wishes = [admission.Request(active, {"number": number}) for number in range(count)]
        begun = time.perf_counter()
        accepted = await admission.accept_all(self._runtime, wishes)
        submitted = time.perf_counter()
        waiting = [each.execution for each in accepted]
        while waiting:
            # The latest accepted tend to end last: one look at one row tells when it is worth looking at the others.
            if await self._ended(waiting[-1]):
                waiting.pop()
            else:
                await asyncio.sleep((time.perf_counter() - begun) * _LOOK)
            if time.perf_counter() - begun > PATIENCE - 10:
                message = f"{len(waiting)} of {count} executions of {shape} have not ended in time."
                raise Unfinished(message)
        ended = time.perf_counter()
        await self._hold_to_account(shape, [each.execution for each in accepted])
        return {"seconds": ended - begun, "submitted": submitted - begun}

    async def serial(self, shape: str, count: int) -> Report:
        """Run one after the other, each submitted to an idle stack."""
        active = await self._active(shape)
        latencies, done = [], []
        for number in range(count):
            await asyncio.sleep(_BREATH)
            begun = time.perf_counter()
            wish = admission.Request(active, {"number": number}, reply_to=self._replies.name)
            accepted = await admission.accept(self._runtime, wish)
            if not await self._watcher.told(accepted.execution, PATIENCE - 10):
                message = f"An execution of {shape} has not ended in time."
                raise Unfinished(message)
            latencies.append((time.perf_counter() - begun) * 1000)
            done.append(accepted.execution)
        await self._hold_to_account(shape, done)
        return {"seconds": sum(latencies) / 1000, "latencies": latencies}

    async def close(self) -> None:
        """Stop the parts."""
        await self._watcher.close()
        self._replies.close()
        self._runtime.close()

    def end(self) -> None:
        """Stop."""
        self._loop.run_until_complete(self.close())

    async def _active(self, shape: str) -> catalog.Active:
        return await self._runtime.reader.read(lambda connection: catalog.active(connection, shape))

    async def _ended(self, execution: str) -> bool:
        sql = "SELECT finished_at FROM execution WHERE id = ?"
        rows = await self._runtime.reader.read(lambda connection: connection.run(sql, (execution,)))
        return rows[0][0] is not None

    async def _hold_to_account(self, shape: str, executions: list[str]) -> None:
        """See that all have succeeded and the last has the right result: a fast wrong answer is no figure."""

        def look(connection: Connection) -> tuple[list[Any], str]:
            marks = "SELECT status, count(*) FROM execution WHERE id >= ? AND id <= ? GROUP BY status"
            first, last = min(executions), max(executions)
            output = connection.run("SELECT output FROM execution WHERE id = ?", (executions[-1],))[0][0]
            return connection.run(marks, (first, last)), output

        counts, output = await self._runtime.reader.read(look)
        if counts != [("succeeded", len(executions))]:
            message = f"Executions of {shape} came to {counts}."
            raise Unfinished(message)
        (value,) = json.loads(output).values()
        expected = SHAPES[shape].result()
        if expected is not None and value["x"] != expected:
            message = f"An execution of {shape} came to {value}, not {expected}."
            raise Unfinished(message)


if __name__ == "__main__":
    driver = EngineDriver()
    try:
        serve(driver.handle)
    finally:
        driver.end()
