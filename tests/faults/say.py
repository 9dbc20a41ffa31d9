"""End a wait as an API process would, and die where the environment says: `python -m tests.faults.say decide|publish|call ID`."""

from __future__ import annotations

import asyncio
import sys

from engine import operations as op
from engine import runtime
from engine.settings import DEFAULT_PROJECT, from_environment


async def say(what: str, name: str) -> None:
    at = runtime.assemble(from_environment(), poll=False)
    now = at.clock.now()
    if what == "decide":
        ((approval, shown),) = await at.reader.read(
            lambda connection: connection.run(
                "SELECT id, shown_hash FROM approval WHERE execution_id = ?", (name,)
            )
        )
        decide = op.Decide(name, approval, "ann", frozenset(), "approved", shown, now)
        said = await at.ledger.submit(decide)
        at.dispatcher.send(name, said.ready)
        print(said.counted)
    elif what == "publish":
        event = op.Publish(f"evt_{now}", DEFAULT_PROJECT, "paid", name, now, now + 60_000, key=name)
        published = await at.ledger.submit(event)
        for execution, ready in published.ready:
            at.dispatcher.send(execution, [ready])
        print("new" if published.new else "known")
    else:
        signalled = await at.ledger.submit(op.Signal(name, 0, "", "callback", "callback", now))
        at.dispatcher.send(name, signalled.ready)
        print("won" if signalled.won else "lost")
    await asyncio.to_thread(at.close)


if __name__ == "__main__":
    asyncio.run(say(sys.argv[1], sys.argv[2]))
