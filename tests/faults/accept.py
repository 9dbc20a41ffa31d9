"""Accept one execution as an API process would, and die where the environment says: `python -m tests.faults.accept NAME KEY`."""

from __future__ import annotations

import asyncio
import sys

from engine import admission, catalog, runtime
from engine.settings import from_environment


async def accept(name: str, key: str) -> None:
    at = runtime.assemble(from_environment(), poll=False)
    active = await at.reader.read(lambda connection: catalog.active(connection, name))
    request = admission.Request(active, {"k": 1, "s": "x"}, idempotency_key=key)
    accepted = await admission.accept(at, request)
    print(accepted.execution, accepted.new)
    await asyncio.to_thread(at.close)


if __name__ == "__main__":
    asyncio.run(accept(sys.argv[1], sys.argv[2]))
