"""A plan made ready to run in this process: node types found, templates compiled, constant configs validated once."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from celeriac import Fail, Json, NodeType
from engine import expressions
from engine.errors import NotFound
from engine.holds import Limits
from engine.plan import Plan, PlanNode
from engine.registry import Registry
from engine.store.database import Connection
from engine.store.statements import VERSION

_KEPT = 256


@dataclass(frozen=True, slots=True)
class Step:
    """One node ready to be called. `model` is its config when nothing in it is a template.

    Nodes of the engine's own have no type; what they are asked is in `parts`, each by itself.
    """

    node: PlanNode
    type: NodeType | None
    config: expressions.Compiled
    model: BaseModel | None
    ports: frozenset[str] = frozenset({"out"})
    parts: Mapping[str, expressions.Compiled] = field(default_factory=dict)

    def bind(self, scope: expressions.Scope) -> BaseModel:
        """Return the rendered and validated config. Raises `Fail` (`node.config_invalid`) or an expression's error."""
        if self.model is not None:
            return self.model
        assert self.type is not None
        return validated(self.node.id, self.type, self.config.render(scope))


def validated(node: str, node_type: NodeType, config: Any) -> BaseModel:
    """Return a config as its node type takes it. Raises `Fail` (`node.config_invalid`) with every misfit."""
    try:
        return node_type.config.__pydantic_validator__.validate_python(config)  # type: ignore[no-any-return]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "config"
        message = f"The config of {node} is not what {node_type.key} takes: {place}: {first['msg']}."
        details: list[Json] = [
            {"field": ".".join(map(str, each["loc"])), "message": each["msg"]}
            for each in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise Fail("node.config_invalid", message, {"fields": details}) from None


class Program:
    """A plan and its steps, compiled when they are first needed."""

    def __init__(self, plan: Plan, registry: Registry) -> None:
        self.plan = plan
        self.variables = expressions.compile_value(dict(plan.variables))
        self.outputs = expressions.compile_value(plan.outputs) if plan.outputs is not None else None
        self.registry = registry
        self._steps: dict[int, tuple[Step, ...]] = {}
        self._conditions: dict[int, tuple[expressions.Template | None, ...]] = {}
        self._keys: dict[int, expressions.Compiled] = {}

    def steps(self, segment: int) -> tuple[Step, ...]:
        """Return the steps of a segment. Raises `UnknownNodeType` when this process lacks one of its types."""
        found = self._steps.get(segment)
        if found is None:
            found = self._steps[segment] = tuple(map(self._step, self.plan.segments[segment].nodes))
        return found

    def bare(self, segment: int) -> tuple[Step, ...]:
        """Return the steps of a segment whose node is not to be called, so that nobody need have its type."""
        nothing = expressions.compile_value({})
        return tuple(Step(each, None, nothing, None) for each in self.plan.segments[segment].nodes)

    def conditions(self, segment: int) -> tuple[expressions.Template | None, ...]:
        """Return the compiled `when` of each exit of a segment."""
        found = self._conditions.get(segment)
        if found is None:
            found = self._conditions[segment] = tuple(
                None if each.when is None else expressions.compile_expression(each.when)
                for each in self.plan.segments[segment].exits
            )
        return found

    def keys(self, segment: int, limits: Limits) -> expressions.Compiled:
        """Return the compiled keys of a segment's limits: what is rendered has the names of `Limits.keys`."""
        found = self._keys.get(segment)
        if found is None:
            found = self._keys[segment] = expressions.compile_value(limits.keys)
        return found

    def _step(self, node: PlanNode) -> Step:
        if "@" not in node.type[1:]:
            parts = {name: expressions.compile_value(each) for name, each in node.config.items()}
            part = None if node.container is None else node.container.part
            ports = frozenset(("out", *(part.ports if part is not None else ())))
            return Step(node, None, expressions.compile_value({}), None, ports, parts)
        node_type = self.registry.resolve(node.type)
        compiled = expressions.compile_value(dict(node.config))
        model = None
        if compiled.is_static:
            try:
                model = validated(node.id, node_type, dict(node.config))
            except Fail:
                model = None
        return Step(node, node_type, compiled, model, frozenset(node_type.ports_of(node.config)))


class Programs:
    """The versions this process has met lately. Safe to use from any thread: a program never changes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._found: OrderedDict[str, Program] = OrderedDict()
        self._lock = threading.Lock()

    def known(self, version: str) -> Program | None:
        """Return a program that is in memory."""
        with self._lock:
            found = self._found.get(version)
            if found is not None:
                self._found.move_to_end(version)
            return found

    def get(self, version: str, connection: Connection) -> Program:
        """Return a program, reading its plan when it is new here."""
        return self.known(version) or self.put(version, lambda: _read(version, connection))

    def plan(self, version: str, connection: Connection) -> Plan:
        """Return only the plan: what the pen needs."""
        return self.get(version, connection).plan

    def make(self, plan: Plan, registry: Registry) -> Program:
        """Return a plan made ready to run."""
        return Program(plan, registry)

    def put(self, version: str, make: Callable[[], Plan]) -> Program:
        """Keep a program, and let the least used go."""
        program = self.make(make(), self._registry)
        with self._lock:
            self._found[version] = program
            while len(self._found) > _KEPT:
                self._found.popitem(last=False)
        return program


def _read(version: str, connection: Connection) -> Plan:
    rows = connection.run(VERSION, (version,))
    if not rows:
        message = f"There is no workflow version {version}."
        raise NotFound(message)
    return Plan.from_json(json.loads(rows[0][0]))
