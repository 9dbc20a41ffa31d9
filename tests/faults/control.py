"""Fork an execution, or skip a node of it, as an API process would, and die where the environment says:
`python -m tests.faults.control fork EXECUTION NODE`.
"""

from __future__ import annotations

import asyncio
import sys

from engine import admission, bases, queries, runtime, withdrawals
from engine import operations as op
from engine.settings import from_environment


async def fork(at: runtime.Runtime, execution: str, node: str) -> None:
    wanted = bases.Wanted((), outputs={node: 7})
    now, limits = at.clock.now(), at.settings.limits
    found = await at.reader.read(
        lambda connection: bases.prepare(connection, at.programs.plan, execution, wanted, now, limits)
    )
    asked = admission.Request(
        found.active, found.payload, base=execution, fork=found.start, idempotency_key=f"fork-{execution}"
    )
    accepted = await admission.accept(at, asked)
    print(accepted.execution, accepted.new)


async def skip(at: runtime.Runtime, execution: str, node: str) -> None:
    plan = await at.reader.read(
        lambda connection: at.programs.plan(queries.version_of(connection, execution), connection)
    )
    segment, name = withdrawals.place(plan, node, "")
    asked = op.Withdraw(execution, segment, "", name, at.clock.now(), op.Payload("7"))
    answer = await at.ledger.submit(asked)
    print(answer if isinstance(answer, withdrawals.Refusal) else "skipped")


async def main(verb: str, execution: str, node: str) -> None:
    at = runtime.assemble(from_environment(), poll=False)
    await {"fork": fork, "skip": skip}[verb](at, execution, node)
    await asyncio.to_thread(at.close)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
