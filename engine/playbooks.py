"""Playbooks: a definition written as steps, one after the other, made into nodes and edges. Pure.

The steps of one `order` run side by side; those of the next begin when all have ended well. A step that asks for `approval`
becomes two nodes, and a third that ends the execution when it is rejected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from celeriac import Json

STEPS: Final = "steps"
REJECTED: Final = "playbook.rejected"
"""The code of an execution that ended because somebody rejected a step."""

_BODY: Final = ("definition",)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a node comes from: which step, and what of it."""

    step: int
    part: str
    asked: bool = False
    """Whether the step says itself what is asked."""


@dataclass(frozen=True, slots=True)
class Expanded:
    """A document of nodes and edges, and the origin of each node."""

    document: Mapping[str, Any]
    origins: tuple[Origin, ...]

    def back(self, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
        """Lead a place among the nodes and edges to the step that it is about."""
        if path[:2] == (*_BODY, "nodes") and len(path) > 2 and isinstance(path[2], int):
            return (*_BODY, STEPS, *self._inside(self.origins[path[2]], path[3:]))
        if path[:1] == _BODY and path[1:2] in (("nodes",), ("edges",)):
            return (*_BODY, STEPS)
        return path

    @staticmethod
    def _inside(origin: Origin, rest: tuple[str | int, ...]) -> tuple[str | int, ...]:
        if origin.part == "step":
            names = {"config": "params", "type": "action", "id": "id"}
            return (origin.step, *((names[str(rest[0])], *rest[1:]) if rest and rest[0] in names else ()))
        if origin.part == "approval" and rest[:1] == ("config",):
            return (
                (origin.step, "approval", *rest[1:]) if origin.asked else (origin.step, "params", *rest[2:])
            )
        return (origin.step,)


def is_one(document: Json | Mapping[str, Any]) -> bool:
    """Whether a document is a playbook."""
    body = document.get("definition") if isinstance(document, Mapping) else None
    return isinstance(body, Mapping) and STEPS in body


def written(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the steps of a playbook that has no mistakes, in their order, each with its `id`."""
    steps: list[dict[str, Any]] = document["definition"][STEPS]
    return [{**steps[number], "id": name} for number, name in _named(steps)]


def plain(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a document as nodes and edges, however it is written."""
    return expanded(document).document if is_one(document) else document


def expanded(document: Mapping[str, Any]) -> Expanded:
    """Return a playbook, whose steps fit their schema, as nodes and edges."""
    body: Mapping[str, Any] = document["definition"]
    steps: list[dict[str, Any]] = body[STEPS]
    nodes: list[dict[str, Any]] = []
    edges: list[dict[str, Any]] = []
    origins: list[Origin] = []
    before: list[str] = []
    for _, group in groupby(_named(steps), key=lambda each: _order(steps, each[0])):
        ends = []
        for number, name in group:
            step = steps[number]
            first = name
            if step.get("approval"):
                first = f"{name}_approval"
                nodes += _asking(step, name)
                asked = isinstance(step["approval"], dict)
                origins += [Origin(number, "approval", asked), Origin(number, "rejection")]
                edges += [
                    {"from": first, "to": name, "port": "approved"},
                    {"from": first, "to": f"{name}_rejected", "port": "rejected"},
                ]
            nodes.append(_node(step, name))
            origins.append(Origin(number, "step"))
            edges += [{"from": each, "to": first} for each in before]
            ends.append(name)
        before = ends
    rest = {key: each for key, each in body.items() if key != STEPS}
    return Expanded({**document, "definition": {**rest, "nodes": nodes, "edges": edges}}, tuple(origins))


def report(document: Mapping[str, Any], runs: Iterable[Mapping[str, Json]]) -> dict[str, Json]:
    """Return what became of each step, and how much of it succeeded beside what was estimated.

    `runs` are what became of the nodes, with what they came to. A playbook succeeds by its own estimate when all its steps do.
    """
    known = {str(each["node"]): each for each in runs if not each.get("item")}
    told: list[Json] = []
    estimate, estimated, ended, good = 1.0, False, 0, 0
    for step in written(document):
        run = known.get(step["id"], {})
        status = run.get("status", "pending")
        asked = known.get(f"{step['id']}_approval", {})
        if status in ("pending", "skipped") and asked.get("status") in ("waiting", "running"):
            status = "awaiting_approval"
        ended += status in ("succeeded", "failed", "continued")
        good += status == "succeeded"
        if "estimated_success" in step:
            estimate, estimated = estimate * step["estimated_success"], True
        told.append(
            {
                "id": step["id"],
                "order": step.get("order"),
                "action": step["action"],
                "status": status,
                "result": run.get("output"),
                "error": run.get("error"),
                "duration_ms": run.get("duration_ms"),
                "estimated_success": step.get("estimated_success"),
            }
        )
    return {
        "steps": told,
        "estimated_success": round(estimate, 6) if estimated else None,
        "actual_success": round(good / ended, 6) if ended else None,
    }


def _order(steps: list[dict[str, Any]], number: int) -> int:
    """Return a step's order: what it says, else its place."""
    order: int = steps[number].get("order", number + 1)
    return order


def _named(steps: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """Return the steps by their order, each with its name: its own, or that of its order."""
    ordered = sorted(range(len(steps)), key=lambda number: (_order(steps, number), number))
    taken = {each["id"] for each in steps if "id" in each}
    found = []
    for number in ordered:
        name = steps[number].get("id") or f"step_{_order(steps, number)}"
        for candidate in (name, *(f"{name}_{suffix}" for suffix in range(2, len(steps) + 2))):
            if "id" in steps[number] or candidate not in taken:
                taken.add(candidate)
                found.append((number, candidate))
                break
    return found


def _node(step: Mapping[str, Any], name: str) -> dict[str, Any]:
    kept = {key: step[key] for key in ("retry", "timeout") if key in step}
    failing = {"on_error": "continue"} if step.get("on_failure") == "continue" else {}
    config = {"config": step["params"]} if "params" in step else {}
    return {"id": name, "type": step["action"], **config, **kept, **failing}


def _asking(step: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    asked = step["approval"]
    config: dict[str, Json] = {"title": f"May {step['action']} be done?", "show": step.get("params", {})}
    config |= {"show": None, **asked} if isinstance(asked, dict) else {}
    return [
        {"id": f"{name}_approval", "type": "approval", "config": config},
        {
            "id": f"{name}_rejected",
            "type": "fail",
            "config": {"code": REJECTED, "message": f"The step {name} was rejected."},
        },
    ]
