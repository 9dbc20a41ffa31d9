"""Questions to people that come up while a node is at work: each is a call of a small workflow that asks.

That workflow is saved with every version that may need it, as definitions are that are written inside a call; so a rest for
people is nothing new, and an approval is found where all approvals are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from celeriac import Call, Fail, Json
from celeriac.outcomes import OnDecision
from engine.definition import Node, Workflow
from engine.nested import MARK, all_nodes
from engine.plan import Plan
from engine.registry import Registry

NAME: Final = f"{MARK}{MARK}ask"
"""What it is kept under, behind the id of the version. No node can be called that."""

_FIELDS: Final = ("title", "description", "show", "form", "quorum", "rule", "four_eyes")
_TITLE: Final = 200

DEFINITION: Final[dict[str, Any]] = {
    "nodes": [
        {
            "id": "ask",
            "type": "approval",
            "config": {
                **{name: f"{{{{ trigger.payload.{name} }}}}" for name in _FIELDS},
                "approvers": {
                    "users": "{{ trigger.payload.users }}",
                    "roles": "{{ trigger.payload.roles }}",
                },
                "timeout": "{{ trigger.payload.timeout }}",
            },
        }
    ],
    "outputs": "{{ nodes.ask.output.payload }}",
}


def definitions(
    workflow: Workflow, plan: Plan, registry: Registry
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the workflow that asks, with its name, when a version may need it."""
    budget = workflow.budget is not None and workflow.budget.ask
    foreign = any(node.foreign and node.on_foreign in (None, "ask") for node in plan.nodes.values())
    if budget or foreign or any(_asks(node, registry) for node in all_nodes(workflow)):
        yield NAME, DEFINITION


def question(asked: OnDecision, seconds: float | None) -> Call:
    """Return the call that asks people."""
    payload: dict[str, Json] = {
        "title": asked.title if len(asked.title) <= _TITLE else f"{asked.title[: _TITLE - 1]}\u2026",
        "description": asked.description,
        "show": asked.show,
        "form": asked.form,
        "users": list(asked.users),
        "roles": list(asked.roles),
        "quorum": asked.quorum,
        "rule": asked.rule,
        "four_eyes": asked.four_eyes,
        "timeout": seconds,
    }
    return Call(NAME, payload)


def approved(decision: Json) -> bool:
    """Whether people have agreed. Raises `Fail` for what is no decision."""
    if not isinstance(decision, dict) or decision.get("decision") not in ("approved", "rejected"):
        message = "What asked people came to no decision."
        raise Fail("node.output_invalid", message)
    return decision["decision"] == "approved"


def _asks(node: Node, registry: Registry) -> bool:
    return node.type != "scope" and registry.resolve(node.type).calls
