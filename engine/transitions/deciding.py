"""What people say on approvals. Each has one voice; the one that completes the decision ends the wait with it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from engine import approvals
from engine import operations as op
from engine.approvals import Vote
from engine.store import signals as sql
from engine.transitions.batch import Batch, Key
from engine.transitions.signalling import Given, deliver


@dataclass(slots=True)
class _Open:
    """An approval as it stands in this batch."""

    key: Key
    status: str
    shown_hash: str
    approvers: dict[str, list[str]]
    quorum: int
    rule: str
    four_eyes: bool
    starter: str
    signalled: bool
    votes: list[Vote] = field(default_factory=list)


def decide(batch: Batch, decides: list[op.Decide]) -> list[op.Decided]:
    """Count voices, one after the other: the first that completes a decision ends the wait, and later ones come too late."""
    found = _load(batch, decides)
    votes: list[tuple[Any, ...]] = []
    given: dict[Key, Given] = {}
    counted: list[op.Counted] = []
    for each in decides:
        approval = found.get(each.approval)
        row = batch.rows.get(each.execution)
        said = op.Counted.CLOSED
        if approval is not None and row is not None and not row.final:
            said = _said(approval, each)
        if said is op.Counted.COUNTED and approval is not None:
            form = None if each.form is None else json.loads(each.form)
            approval.votes.append(Vote(each.principal, each.decision, each.comment, form, each.now))
            votes.append(
                (
                    each.approval,
                    each.principal,
                    each.decision,
                    each.comment,
                    each.form,
                    each.shown_hash,
                    each.now,
                )
            )
            decision = approvals.verdict(approval.rule, approval.quorum, approval.votes)
            if decision is not None:
                said, approval.status = op.Counted.DECIDED, decision
                text = json.dumps(approvals.outcome(decision, approval.votes))
                given[approval.key] = Given(decision, "decision", each.now, op.Payload(text), each.principal)
        counted.append(said)
    if votes:
        batch.connection.insert(sql.WRITE_VOTES, votes)
    sent = deliver(batch, given)
    return [
        op.Decided(
            said,
            found[each.approval].status if each.approval in found else "",
            tuple(sent.get(found[each.approval].key, ())) if said is op.Counted.DECIDED else (),
        )
        for each, said in zip(decides, counted, strict=True)
    ]


def _said(approval: _Open, each: op.Decide) -> op.Counted:
    """Return whether a voice counts, and otherwise why it does not."""
    if approval.status != "open" or approval.signalled:
        return op.Counted.CLOSED
    refused = approvals.may_decide(
        approval.approvers,
        each.principal,
        each.roles,
        four_eyes=approval.four_eyes,
        starter=approval.starter,
    )
    if refused is not None:
        return refused
    if each.shown_hash != approval.shown_hash:
        return op.Counted.STALE
    if any(vote.principal == each.principal for vote in approval.votes):
        return op.Counted.VOTED
    return op.Counted.COUNTED


def _load(batch: Batch, decides: list[op.Decide]) -> dict[str, _Open]:
    ids = sorted({(each.approval,) for each in decides})
    found = {}
    for (
        id_,
        execution,
        segment,
        item,
        status,
        shown,
        approvers,
        quorum,
        rule,
        eyes,
        starter,
        told,
    ) in batch.connection.batch(sql.APPROVALS, ids):
        found[id_] = _Open(
            (execution, segment, item),
            status,
            shown,
            json.loads(approvers),
            quorum,
            rule,
            bool(eyes),
            starter,
            told is not None,
        )
    for id_, principal, decision, comment, form, at in batch.connection.batch(sql.VOTES, ids):
        answer = None if form is None else json.loads(form)
        found[id_].votes.append(Vote(principal, decision, comment, answer, at))
    return found
