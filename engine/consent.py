"""Before something is done with what a model has said that cannot be repeated, people are asked; or as the author says."""

from __future__ import annotations

from typing import Final

from celeriac import Fail, OnDecision
from engine.expressions import Scope
from engine.inquiries import approved, question
from engine.inside import YEAR, ended
from engine.performance import CallsInside, Run
from engine.programs import Step

STEP: Final = "consent"
"""The step of a node that asks. It belongs to the engine: a node's own steps may be called the same by nobody."""


def ask(run: Run, step: Step, by_default: str, scope: Scope) -> None:
    """Return when the node may go on. Raises `Fail` when it may not, or what asks people."""
    node = step.node
    rule = node.on_foreign or by_default
    if rule == "allow":
        return
    if rule == "fail":
        message = f"{node.id} would do something with what a model has said that cannot be repeated."
        raise Fail("taint.refused", message, {"node": node.id})
    past = run.work.past.get((node.id, f"@{STEP}"))
    if past is None or past.status != "succeeded":
        asked = OnDecision(
            title=f"May {node.id} do this with what a model has said?",
            description="It cannot be repeated or taken back, and part of it comes from a model.",
            show={"node": node.id, "type": node.type, "config": step.config.render(scope)},
        )
        raise CallsInside(f"@{STEP}", question(asked, None), YEAR)
    if not approved(ended(past)):
        raise Fail("taint.rejected", f"People have not agreed to what {node.id} would have done.")
