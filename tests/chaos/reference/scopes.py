"""Scopes: a body, what undoes it, who takes its failure over, and what is done in the end anyway, also after a stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.chaos.reference.expressions import Failure
from tests.chaos.reference.graphs import STOPPED, Node, Outcome, owes
from tests.chaos.reference.instances import UNFINISHED, Run, instance, seen
from tests.chaos.reference.record import Ended


def perform_scope(run: Run, node: Node, since: int, found: Ended | None) -> Any:
    """Perform a scope. One that was stopped comes to nothing, and its end is owed: what is not done of it is complained of."""
    name, winds = node["id"], _winds_up(run, node, found)
    body, outcome = instance(run, node, name, node["body"], 0, since)
    if outcome is None:
        if winds:
            run.complain(name, "it was stopped, and its body has no end")
        return UNFINISHED
    around = seen(body)
    stopped = outcome.code == STOPPED
    since = max(outcome.seq, body.last if stopped else body.late)
    if outcome.state == "failed":
        around[name.removesuffix("@item")] = {"error": {"code": outcome.code}}
        over, since = _undo(run, node, body, around, since, winds=winds)
        if not over and not winds:
            return UNFINISHED
        if not stopped:
            outcome = _caught(run, node, outcome, around, since)
    if "finally" in node and (winds or outcome is not None):
        region = f"{name}@finally"
        begin = since if outcome is None else max(since, outcome.seq)
        end, last = instance(run, node, region, node["finally"], 0, begin, around=around)
        _in_the_end(run, end, last, winds=winds)
        outcome = last if last is None or last.state == "failed" else outcome
    if outcome is None or stopped or winds:
        return UNFINISHED
    if outcome.state == "failed":
        raise Failure(outcome.code)
    return outcome.output


def _winds_up(run: Run, node: Node, found: Ended | None) -> bool:
    """Whether a scope had begun and was stopped, in an execution whose ends were not cut off."""
    record = run.given.record
    if record is None or run.predicting or found is not None or not owes(node):
        return False
    return (node["id"], run.item) in record.opened and record.over > 0 and not record.forced


def _caught(run: Run, node: Node, outcome: Outcome, around: Mapping[str, Any], since: int) -> Outcome | None:
    """What a failure of the body comes to, if a handler is for it."""
    for number, handler in enumerate(node.get("catch", ())):
        if catches(handler, outcome.code):
            region = f"{node['id']}@catch{number}"
            return instance(run, node, region, handler["body"], 0, since, around=around)[1]
    return outcome


def _undo(
    run: Run, node: Node, body: Run, around: Mapping[str, Any], since: int, *, winds: bool
) -> tuple[bool, int]:
    """Undo what has succeeded in a body that failed. In which order is judged elsewhere. Returns whether it is over, and when."""
    over, last = True, since
    for each in node["body"]["nodes"]:
        done = body.nodes.get(each["id"])
        if "compensate" in each and done is not None and done.state in ("succeeded", "open"):
            undo = {**each["compensate"], "id": f"{each['id']}@undo"}
            end, undone = instance(run, node, undo["id"], {"nodes": [undo]}, 0, since, around=around)
            _in_the_end(run, end, undone, winds=winds)
            over, last = over and undone is not None, max(last, end.last)
    return over, last


def _in_the_end(run: Run, end: Run, outcome: Outcome | None, *, winds: bool) -> None:
    """Hold what a stopped scope owes against what it did, and remember until when: what is around it ends later."""
    if winds and outcome is None:
        run.complain(end.region, "it is owed by a scope that was stopped, and was not done")
    if winds:
        run.late = max(run.late, end.last)


def catches(handler: Mapping[str, Any], code: Any) -> bool:
    """Whether a handler is for an error."""
    if any(_names(each, code) for each in handler.get("except", ())):
        return False
    return not handler.get("on") or any(_names(each, code) for each in handler["on"])


def _names(selector: str, code: Any) -> bool:
    return selector in ("*", code) or (selector[-2:] == ".*" and str(code).startswith(selector[:-1]))
