"""Links that let one person decide on one approval without signing in: given to a member, good for one voice and for a while.

Nothing is stored for a link. It names the person and not what the person may do: that is looked up when it is used, so
whoever has left the project, or may not decide any more, has a link that opens nothing. One voice a person is what the
approval counts anyway, so a link that was used decides nothing a second time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from engine.access import users
from engine.access.principals import Place, Principal
from engine.errors import Forbidden, NotFound
from engine.signed import Signer
from engine.store.database import Connection

PATH: Final = "/api/v1/approval-links/"
DAY: Final = 86_400
LONGEST_LIFE: Final = 30 * DAY
"""Seconds that a link may be good for."""


class LinkUnknown(NotFound):
    """There is no such link, or it is over."""

    code = "approval.link_unknown"


class MayNotDecide(Forbidden):
    """A link is for a member of the project who may decide on approvals."""

    code = "approval.no_approver"


@dataclass(frozen=True, slots=True)
class Link:
    """Who may decide on what, and until when (milliseconds since the epoch)."""

    approval: str
    user: str
    until: int


@dataclass(frozen=True, slots=True)
class Guest:
    """The person that a link stands for, in the project of its approval."""

    principal: Principal
    place: Place


def sign(signer: Signer, link: Link) -> str:
    """Return the token of a link."""
    return signer.token(link.approval, link.user, link.until)


def read(signer: Signer, token: str, now: int) -> Link:
    """Return what a token stands for. Raises `LinkUnknown`."""
    fields = signer.read(token)
    if fields is None or fields[2] <= now:
        raise LinkUnknown
    return Link(*fields)


def member(connection: Connection, reference: str, project: str) -> Principal:
    """Return a member who may decide in a project, by id or name. Raises `UserUnknown` or `MayNotDecide`."""
    user = users.find(connection, reference)
    places = users.places(connection, user.id)
    found = Principal(user.id, user.name, "user", user.owns, places)
    if not user.active or project not in places or not found.may("approval:decide", places[project]):
        message = f"{user.name} may not decide on approvals of this project."
        raise MayNotDecide(message, hint="Give the role approver first: celeriac projects add-member.")
    return found


def guest(connection: Connection, link: Link) -> Guest:
    """Return whom a link lets in, and where. Raises `LinkUnknown` for whoever may not decide any more."""
    rows = connection.run("SELECT project_id FROM approval WHERE id = ?", (link.approval,))
    if not rows:
        raise LinkUnknown
    project = rows[0][0]
    try:
        found = member(connection, link.user, project)
    except (MayNotDecide, NotFound):
        raise LinkUnknown from None
    return Guest(found, found.places[project])
