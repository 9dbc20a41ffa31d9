"""Decisions of people: what they are asked, who may decide, and when enough have. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import jsonschema_rs

from celeriac import Fail, Json
from celeriac.outcomes import OnDecision, Wait
from engine import operations as op
from engine import schema
from engine.clock import Clock
from engine.encoding import encode, place
from engine.errors import Invalid
from engine.settings import Limits

NOBODY = "api"
"""Who acts when nobody is named. Two who are not named may be the same person."""


def person_of(name: str) -> str:
    """Return whose voice a name stands for: `ada/deploy` is a program of ada's."""
    return name.partition("/")[0]


class FormInvalid(Invalid):
    """The form is not what the approval asks for."""

    code = "approval.form_invalid"


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's voice."""

    principal: str
    decision: str
    comment: str
    form: Json
    at: int

    def to_json(self) -> dict[str, Json]:
        """Return it as it is shown, and as the node's output has it."""
        body: dict[str, Json] = {
            "principal": self.principal,
            "decision": self.decision,
            "comment": self.comment,
            "at": self.at,
        }
        return body if self.form is None else {**body, "form": self.form}


def asked(wait: Wait, node: str, clock: Clock, limits: Limits) -> tuple[op.Approval | None, op.Blob | None]:
    """Return what a wait asks people, if it does. Raises `Fail` when that cannot be shown."""
    ask = next((each for each in wait.signals if isinstance(each, OnDecision)), None)
    if ask is None:
        return None, None
    if ask.form is not None:
        _check_form(ask.form)
    last = wait
    while last.then is not None:
        last = last.then
    shown: dict[str, Json] = {
        "title": ask.title,
        "description": ask.description,
        "show": ask.show,
        "form": ask.form,
    }
    text = encode(shown, limits.output_bytes)
    body, blob = place(text, limits.blob_from_bytes)
    approval = op.Approval(
        id=clock.mint("appr"),
        node=node,
        title=ask.title,
        body=body,
        shown_hash=hashlib.sha256(text.encode()).hexdigest(),
        approvers=json.dumps({"users": ask.users, "roles": ask.roles}),
        quorum=ask.quorum,
        rule=ask.rule,
        four_eyes=ask.four_eyes,
        reminded=ask.reminded,
        escalated=ask.escalated,
        due=last.until,
    )
    return approval, blob


def may_decide(
    approvers: Mapping[str, Collection[str]],
    principal: str,
    roles: Collection[str],
    *,
    four_eyes: bool,
    starter: str,
) -> op.Counted | None:
    """Return why somebody may not decide, or None."""
    users, wanted = approvers["users"], approvers["roles"]
    if (users or wanted) and principal not in users and not set(roles) & set(wanted):
        return op.Counted.NOT_ASKED
    if four_eyes and person_of(principal) == person_of(starter or NOBODY):
        return op.Counted.FOUR_EYES
    return None


def verdict(rule: str, quorum: int, votes: Sequence[Vote]) -> str | None:
    """Return what votes come to, or None while more are needed.

    With `reject_wins`, one rejection is enough, and `quorum` approvals are. With `majority`, more than half of `quorum`
    voices are enough for either; when all are there and neither has more, it is rejected.
    """
    approved = sum(each.decision == "approved" for each in votes)
    rejected = len(votes) - approved
    if rule == "reject_wins":
        return "rejected" if rejected else "approved" if approved >= quorum else None
    if approved > quorum / 2:
        return "approved"
    return "rejected" if rejected > quorum / 2 or len(votes) >= quorum else None


def outcome(decision: str, votes: Sequence[Vote]) -> dict[str, Json]:
    """Return the payload of the signal that a decision is."""
    return {"decision": decision, "by": "people", "votes": [each.to_json() for each in votes]}


def check_answer(form: Json, answer: Json, decision: str) -> None:
    """Hold an answer against the form. A rejection may leave it empty. Raises `FormInvalid` with every misfit."""
    if form is None:
        if answer is not None:
            raise FormInvalid("The approval asks for no form.", hint="Leave `form` out.")
        return
    if answer is None and decision == "rejected":
        return
    found: list[Json] = [
        {"pointer": "/form" + "".join(f"/{each}" for each in error.instance_path), "message": error.message}
        for error in schema.compiled(form).iter_errors(answer)  # type: ignore[arg-type]  # it was checked when it was asked
    ]
    if found:
        raise FormInvalid(errors=found)


def _check_form(form: Json) -> None:
    try:
        schema.compiled(form)  # type: ignore[arg-type]  # whatever it is, that is what is found out here
    except (jsonschema_rs.ValidationError, ValueError) as error:
        message = f"The form is no JSON Schema: {error.message if hasattr(error, 'message') else error}."
        raise Fail("approval.form_unusable", message) from None
