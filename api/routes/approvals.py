"""Approvals: what people are asked, and what they say."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from api import bodies, noting, pages, principal
from api.permission import needs
from api.state import of
from celeriac import Fail, Json
from engine import approval_rows
from engine import operations as op
from engine.access import audit
from engine.approvals import check_answer
from engine.encoding import encode
from engine.errors import Conflict, Forbidden, Invalid

router = APIRouter(prefix="/approvals", tags=["approvals"])

LONGEST_COMMENT = 4_000
LARGEST_FORM = 16 * 1024

Status = Annotated[Literal["open", "approved", "rejected", "timed_out", "withdrawn"] | None, Query()]


class ApprovalClosed(Conflict):
    """The approval is not open any more."""

    code = "approval.closed"


class AlreadyVoted(Conflict):
    """You have decided on this approval already."""

    code = "approval.voted"


class ShownStale(Conflict):
    """What you decided on is not what the approval shows."""

    code = "approval.stale"


class NotAsked(Forbidden):
    """You are none of those who are asked."""

    code = "approval.not_asked"


class FourEyes(Forbidden):
    """Whoever started the execution may not decide on it."""

    code = "approval.four_eyes"


@router.get("", operation_id="approvals", dependencies=[needs("approval:read")])
async def listing(
    request: Request,
    status: Status = None,
    mine: Annotated[bool, Query(description="Only those that are open and wait for your voice.")] = False,
    limit: pages.Limit = 50,
    cursor: pages.Cursor = None,
) -> Response:
    """List approvals, the latest first; with `mine` what waits for whoever asks: an inbox, whose pages may be short."""
    person = principal.of(request).person
    asked = approval_rows.Asked(person, principal.groups(request)) if mine else None
    before = pages.by_birth(request, cursor)
    return pages.answer(
        request,
        await of(request).runtime.reader.read(
            lambda connection: approval_rows.listing(
                connection,
                limit,
                status=status,
                before=before,
                asked=asked,
                project=principal.project(request),
            )
        ),
    )


@router.get("/{approval}", operation_id="approval", dependencies=[needs("approval:read")])
async def show(request: Request, approval: str) -> Response:
    """Show an approval, with what it asks and who has said what."""
    found = await _find(request, approval)
    return JSONResponse(found.body)


@router.post("/{approval}/decide", operation_id="decide", dependencies=[needs("approval:decide")])
async def decide(request: Request, approval: str) -> Response:
    """Say `{decision: approve|reject, shown_hash, comment?, form?}`. The voice that completes the decision ends the wait."""
    state, person = of(request), principal.of(request)
    body = await bodies.read_object(request, "decision", "shown_hash", "comment", "form")
    decision = {"approve": "approved", "reject": "rejected"}.get(str(body.get("decision")))
    if decision is None:
        raise Invalid("`decision` is neither approve nor reject.")
    shown, comment, form = body.get("shown_hash"), body.get("comment", ""), body.get("form")
    if not isinstance(shown, str):
        hint = "It is the `shown_hash` of the approval as you have seen it."
        raise Invalid("`shown_hash` says what you have decided on.", hint=hint)
    if not isinstance(comment, str) or len(comment) > LONGEST_COMMENT or "\0" in comment:
        message = f"`comment` is a text of at most {LONGEST_COMMENT:,} characters."
        raise Invalid(message)
    found = await _find(request, approval)
    check_answer(found.form, form, decision)
    asked = op.Decide(
        execution=found.execution,
        approval=approval,
        principal=person.person,
        roles=principal.groups(request),
        decision=decision,
        shown_hash=shown,
        now=state.runtime.clock.now(),
        comment=comment,
        form=None if form is None else _encoded(form),
    )
    said: op.Decided = await noting.change(
        request, asked, "approval:decide", approval, _told, decision=decision, execution=found.execution
    )
    state.runtime.dispatcher.send(found.execution, said.ready)
    if said.counted in (op.Counted.COUNTED, op.Counted.DECIDED):
        return JSONResponse({"id": approval, "status": said.status, "decided": said.status != "open"})
    raise await _refusal(request, approval, said)


async def _refusal(request: Request, approval: str, said: op.Decided) -> Conflict | Forbidden:
    """Return why a voice does not count; of a closed approval, what it came to and by whom."""
    match said.counted:
        case op.Counted.VOTED:
            return AlreadyVoted()
        case op.Counted.STALE:
            return ShownStale(hint=f"Look at it: celeriac approvals show {approval}")
        case op.Counted.NOT_ASKED:
            return NotAsked()
        case op.Counted.FOUR_EYES:
            return FourEyes()
    found = await _find(request, approval)
    status = found.body["status"]
    message = "Its execution is ending." if status == "open" else f"The approval is {status} already."
    return ApprovalClosed(message, status=status, votes=found.body["votes"])


async def _find(request: Request, approval: str) -> approval_rows.Found:
    project = principal.project(request)
    found: approval_rows.Found = await of(request).runtime.reader.read(
        lambda connection: approval_rows.find(connection, approval, project)
    )
    return found


def _told(said: op.Decided) -> tuple[audit.Outcome, dict[str, Json]]:
    counted = said.counted in (op.Counted.COUNTED, op.Counted.DECIDED)
    return "done" if counted else "failed", {"counted": str(said.counted)}


def _encoded(form: Json) -> str:
    try:
        return encode(form, LARGEST_FORM)
    except Fail as error:
        raise Invalid(error.message.replace("output", "form")) from None
