"""People who decide on what a workbench asks them."""

from __future__ import annotations

from engine import operations as op
from tests.workbench import Workbench


def asked(at: Workbench) -> tuple[str, str]:
    ((approval, title),) = at.query("SELECT id, title FROM approval WHERE status = 'open'")
    return approval, title


def decide(at: Workbench, decision: str, principal: str = "ann") -> None:
    approval, _ = asked(at)
    ((shown,),) = at.query("SELECT shown_hash FROM approval WHERE id = ?", approval)
    ((execution,),) = at.query("SELECT execution_id FROM approval WHERE id = ?", approval)
    now = at.clock.now()
    decided = at.ask(op.Decide(execution, approval, principal, frozenset(), decision, shown, now))
    at.outlet.send(execution, decided.ready)
