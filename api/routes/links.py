"""Links to approvals: made for a member who is asked, and used by whoever has one, without signing in.

Looking at a link changes nothing, so that what only looks ahead (a mail program, a messenger) decides nothing.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from api import bodies, noting, principal
from api.permission import anyone, needs
from api.routes import approvals
from api.state import of
from engine import approval_rows, links
from engine.access import audit
from engine.errors import Invalid

router = APIRouter(tags=["approvals"])

_PROOF = "the link is the proof"


@router.post(
    "/approvals/{approval}/links",
    status_code=201,
    operation_id="create_approval_link",
    dependencies=[needs("member:manage")],
)
async def create(request: Request, approval: str) -> Response:
    """Make a link by which `user`, a member who may decide, decides on this approval without signing in.

    It is good for one voice, and for `expires_in` seconds: a day, or up to 30 days.
    """
    state, project = of(request), principal.project(request)
    body = await bodies.read_object(request, "user", "expires_in")
    user, seconds = body.get("user"), body.get("expires_in", links.DAY)
    if not isinstance(user, str) or not 0 < len(user) <= 200 or "\0" in user:
        raise Invalid("`user` is the name or id of a member.")
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 0 < seconds <= links.LONGEST_LIFE:
        message = f"`expires_in` is a number of seconds, {links.LONGEST_LIFE:,} at most."
        raise Invalid(message)
    reader, now = state.runtime.reader, state.runtime.clock.now()
    await reader.read(lambda connection: approval_rows.find(connection, approval, project))
    person = await reader.read(lambda connection: links.member(connection, user, project))
    link = links.Link(approval, person.id, now + seconds * 1000)
    note = noting.entry(
        request,
        "approval:link",
        approval,
        project=project,
        details={"user": person.name, "until": link.until},
    )
    await state.runtime.ledger.submit(audit.writing(state.key("audit"), note, now))
    url = f"{state.settings.public_base.rstrip('/')}{links.PATH}{links.sign(state.links, link)}"
    return JSONResponse({"url": url, "user": person.name, "expires_at": link.until}, 201)


@router.get("/approval-links/{token}", operation_id="linked_approval", dependencies=[anyone(_PROOF)])
async def show(request: Request, token: str) -> Response:
    """Show the approval of a link, with what it asks and who has said what."""
    return await approvals.show(request, await _enter(request, token))


@router.post("/approval-links/{token}/decide", operation_id="decide_by_link", dependencies=[anyone(_PROOF)])
async def decide(request: Request, token: str) -> Response:
    """Say `{decision: approve|reject, shown_hash, comment?, form?}` as the person whom the link was made for, once."""
    return await approvals.decide(request, await _enter(request, token))


async def _enter(request: Request, token: str) -> str:
    """Let in the person of a link as if signed in, and return the approval that it is for. Raises `LinkUnknown`."""
    state = of(request)
    link = links.read(state.links, token, state.runtime.clock.now())
    found = await state.runtime.reader.read(lambda connection: links.guest(connection, link))
    request.scope["state"] |= {"principal": found.principal, "place": found.place}
    return link.approval
