"""What a node may do on its way besides its own work: call workflows, use other node types, and keep texts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from celeriac import Call, Fail, Json, NodeType
from engine import agreement, cache
from engine.nested import MARK
from engine.passages import Shelf
from engine.performance import CallsInside, Run, Services
from engine.programs import Step
from engine.registry import UnknownNodeType
from engine.snapshots import Past

YEAR: Final = 366 * 86_400.0
KEPT: Final = f"{MARK}{MARK}kept-"
"""Begins the name of what is saved with a version while it is carried out. No node can be called that."""


class Inside:
    """The steps of one node run that are more than a function of its own."""

    def __init__(self, services: Services, run: Run, step: Step) -> None:
        self._services = services
        self._run = run
        self._step = step

    def call(self, name: str, call: Call, seconds: float | None) -> Json:
        """Return what a call has come to that was made before; else raise what makes it. Raises `Fail` when it failed."""
        past = self._run.work.past.get((self._step.node.id, name))
        if past is None or past.status != "succeeded":
            if self._step.type is not None and not self._step.type.calls:
                message = f"The node calls on its way, which its type {self._step.node.type} does not declare (calls=True)."
                raise Fail("node.call_undeclared", message)
            raise CallsInside(name, call, YEAR if seconds is None else min(seconds, YEAR))
        return ended(past)

    def type(self, reference: str) -> NodeType:
        """Return a node type by its name. Raises `Fail` (`node.unknown_type`)."""
        try:
            return self._run.work.facts.program.registry.resolve(reference)
        except UnknownNodeType as error:
            raise Fail(error.code, error.message, {"type": reference}) from None

    def mistakes(self, definition: Json) -> list[dict[str, Json]]:
        """Return what validation finds wrong with a definition."""
        from engine.checking import problems  # it knows plans, which know the insides of nodes

        registry = self._run.work.facts.program.registry
        return [
            {"pointer": each.pointer, "code": each.code, "message": each.message, "hint": each.hint}
            for each in problems.check(definition, registry)
            if each.severity != "warning"
        ]

    async def agreed(self, shown: Json) -> bool:
        """Return whether people have agreed to exactly this, where this node run can see it."""
        work = self._run.work
        found = await self._services.reader.read(
            lambda connection: agreement.decided(connection, work.facts.execution)
        )
        return agreement.agreed(found, work.item, shown)

    async def keep(self, definition: Json) -> str:
        """Save a definition with the version of this execution, and return the name to call it by."""
        from engine import catalog  # it knows plans, which know the insides of nodes

        facts = self._run.work.facts
        inner = definition["definition"] if isinstance(definition, dict) else None
        name = f"{KEPT}{agreement.digest(inner)[:32]}"
        registry = facts.program.registry
        await self._services.ledger.submit(
            catalog.keep(facts.version, name, inner, registry, self._services.clock, facts.project)
        )
        return name

    def collection(self, name: str) -> Shelf:
        """Return a collection of the project. Raises `Fail` (`collection.invalid`)."""
        at = self._services
        return Shelf(at.ledger, at.reader, at.clock, at.matrices, self._run.work.facts.project, name)

    def cache(self, seconds: float, log: cache.Log, secrets: Callable[[], Collection[str]]) -> cache.Entries:
        """Return what nodes of the project keep for so long. Raises `Fail` (`cache.invalid_ttl`)."""
        return cache.entries(self._services, self._run.work.facts.project, seconds, log, secrets)


def ended(past: Past) -> Json:
    """Return what a journaled call came to. Raises the `Fail` that it came to."""
    match past.output:
        case {"error": {"code": str(code), "message": str(message), **more}}:
            details = more.get("details")
            raise Fail(code, message, details if isinstance(details, dict) else None)
        case {"value": value}:
            return value
    message = "The journal holds something else than the end of a call."
    raise Fail("node.output_invalid", message)
