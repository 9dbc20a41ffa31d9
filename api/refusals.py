"""How each operation refuses: which errors it may answer with, by their classes, with the statuses and codes that these have.

What every operation may say follows from what it declares, its path and its method; the table says the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from api import authentication, bodies, permission, problems
from api.routes import approvals, auth, callbacks, keys, users, webhooks
from engine import admission, bases, budgets, catalog, links, models, passages, releases, withdrawals
from engine import approvals as answers
from engine.access import invitations, members, passwords, principals, projects, variables
from engine.access import keys as key_rows
from engine.access import users as user_rows
from engine.errors import (
    CeleriacError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from engine.outside import connections, credentials
from engine.triggers import backfilling, endpoints, registration, schedules

Family = type[CeleriacError]


@dataclass(frozen=True, slots=True)
class Refusal:
    """One way of refusing: a status, a stable code, and what it means."""

    status: int
    code: str
    meaning: str


HOST: Final = Refusal(421, "request.host_refused", "The API does not serve this host.")
FOREIGN: Final = Refusal(403, "request.cross_origin", "The request was sent for a page of another site.")
NOT_JSON: Final = Refusal(415, "request.not_json", "The body is not declared as JSON.")

_STARTING: Final[tuple[Family, ...]] = (
    admission.InputInvalid,
    admission.Rejected,
    admission.QueueFull,
    admission.KeyReused,
    Conflict,
)
_FORKING: Final[tuple[Family, ...]] = (
    *_STARTING,
    bases.NothingFailed,
    bases.UnknownNode,
    bases.InsideBody,
    bases.HasPorts,
)
_WITHDRAWING: Final[tuple[Family, ...]] = (
    Conflict,
    withdrawals.NotActive,
    withdrawals.Over,
    withdrawals.InDoubt,
    withdrawals.BehindEffect,
    withdrawals.InChunk,
    withdrawals.PastFinally,
    withdrawals.WrongItem,
)
_REGISTERING: Final[tuple[Family, ...]] = (
    registration.PathTaken,
    registration.ScheduleNameTaken,
    registration.WebhookNameTaken,
)
_DEFINING: Final[tuple[Family, ...]] = (problems.DefinitionInvalid, *_REGISTERING)
_DECIDING: Final[tuple[Family, ...]] = (
    answers.FormInvalid,
    approvals.ApprovalClosed,
    approvals.AlreadyVoted,
    approvals.ShownStale,
    approvals.NotAsked,
    approvals.FourEyes,
)

OWN: Final[Mapping[str, tuple[Family, ...]]] = {
    "push": _DEFINING,
    "preview": (problems.DefinitionInvalid,),
    "replace_workflow": (
        *_DEFINING,
        catalog.NameTaken,
        releases.WorkflowChanged,
        problems.PreconditionRequired,
    ),
    "update_workflow": (*_DEFINING, catalog.NameTaken, releases.WorkflowChanged),
    "delete_workflow": (releases.WorkflowChanged,),
    "restore_workflow": (catalog.NameTaken, registration.PathTaken),
    "publish_version": (*_REGISTERING, releases.WorkflowChanged),
    "roll_back": (*_REGISTERING, releases.AliasUnknown, releases.WorkflowChanged),
    "name_version": (releases.TooManyAliases, releases.WorkflowChanged),
    "forget_version_name": (releases.AliasUnknown, releases.WorkflowChanged),
    "execute": (*_STARTING, releases.AliasUnknown),
    "cancel": (Conflict,),
    "pause": (Conflict,),
    "resume": (Conflict,),
    "retry": _FORKING,
    "fork": _FORKING,
    "skip": _WITHDRAWING,
    "cancel_node": _WITHDRAWING,
    "items": (*_WITHDRAWING, withdrawals.NoMap, withdrawals.NoItem, withdrawals.TooMany),
    "resolve": (Conflict,),
    "decide": _DECIDING,
    "create_approval_link": (links.MayNotDecide, user_rows.UserUnknown),
    "linked_approval": (links.LinkUnknown,),
    "decide_by_link": (links.LinkUnknown, *_DECIDING),
    "call_back": (callbacks.CallbackUnknown, callbacks.CallbackUsed),
    "add_connection": (Conflict, connections.ConnectionInvalid, credentials.BindingInvalid),
    "enter_model": (models.ModelInvalid, Conflict),
    "set_budget": (budgets.BudgetInvalid,),
    "lift_budget": (budgets.BudgetInvalid,),
    "remove_collection": (passages.CollectionInvalid,),
    "publish": (Conflict,),
    "schedules": (NotFound,),
    "add_schedule": (schedules.ScheduleInvalid, registration.ScheduleNameTaken),
    "preview_config": (schedules.ScheduleInvalid,),
    "replace_schedule": (
        schedules.ScheduleInvalid,
        schedules.ScheduleOfDefinition,
        schedules.ScheduleOfAbsence,
    ),
    "remove_schedule": (schedules.ScheduleOfDefinition, schedules.ScheduleOfAbsence),
    "pause_schedule": (Conflict,),
    "resume_schedule": (Conflict,),
    "run_schedule": (*_STARTING, schedules.ScheduleOfAbsence),
    "backfill": (*_STARTING, backfilling.BackfillInvalid, schedules.ScheduleOfAbsence),
    "preview_schedule": (schedules.ScheduleInvalid, schedules.ScheduleOfAbsence),
    "add_webhook": (endpoints.WebhookInvalid, registration.PathTaken, registration.WebhookNameTaken),
    "remove_webhook": (endpoints.WebhookOfDefinition,),
    "rotate_webhook": (endpoints.WebhookInvalid, Conflict),
    "enable_webhook": (Conflict,),
    "disable_webhook": (Conflict,),
    "test_webhook": (*_STARTING, webhooks.NoSecret),
    "login": (auth.LoginFailed,),
    "accept_invitation": (invitations.InvitationUnusable, passwords.PasswordWeak, user_rows.UserExists),
    "refresh": (auth.SessionOver, authentication.CsrfMissing),
    "logout": (auth.NoSession,),
    "csrf_token": (auth.NoSession,),
    "sessions": (auth.NoSession,),
    "end_session": (auth.SessionUnknown, auth.NoSession),
    "change_password": (auth.LoginFailed, auth.NoSession, passwords.PasswordWeak),
    "create_user": (user_rows.UserExists, passwords.PasswordWeak),
    "invite_first_user": (users.NotTheFirst,),
    "update_user": (user_rows.LastOwner,),
    "invite_user": (Conflict,),
    "create_project": (projects.ProjectExists, user_rows.UserUnknown),
    "update_project": (projects.ProjectExists,),
    "delete_project": (projects.ProjectKept,),
    "put_member": (user_rows.UserUnknown, members.OwnersOnly, members.LastOwner),
    "remove_member": (members.MemberUnknown, members.OwnersOnly, members.LastOwner),
    "create_key": (key_rows.TooMuch, keys.KeyOfKey),
    "subscribe": (NotFound, Conflict),
    "change_subscription": (Conflict,),
    "redeliver": (Conflict,),
    "test_subscription": (Conflict,),
}
"""What an operation may answer beside what follows from its declaration, its path and its method."""

_THINGS: Final[Mapping[str, Family]] = {
    "/variables/{": variables.VariableUnknown,
    "/keys/{": key_rows.KeyUnknown,
    "/users/{": user_rows.UserUnknown,
    "/schedules/{": schedules.ScheduleUnknown,
    "/webhooks/{": endpoints.WebhookUnknown,
}
"""What is said of a thing that is not there, by the path that it stands in; of others, that there is none."""


def refusals(route: permission.Route, reads: bool) -> list[Refusal]:
    """Return how an operation may refuse, in the order of statuses; `reads` when it has a body."""
    found = {(each.status, each.code): each for each in _all(route, reads)}
    return sorted(found.values(), key=lambda each: each.status)


def _all(route: permission.Route, reads: bool) -> Iterator[Refusal]:
    """Yield how an operation may refuse; something may come twice."""
    declared = route.declared
    if isinstance(declared, permission.Anyone) and not route.path.startswith("/api/v1"):
        return
    yield HOST
    yield FOREIGN
    families: list[Family] = [Invalid, Unavailable]
    if not isinstance(declared, permission.Anyone):
        families += [Unauthenticated, RateLimited, Forbidden]
        if route.method != "GET":
            families += [authentication.CsrfMissing, authentication.NotForOthers]
    elif declared.limited:
        families.append(RateLimited)
    if isinstance(declared, permission.Needs) and not declared.permission.startswith("installation:"):
        families += [principals.ProjectUnknown, principals.ProjectUnnamed, principals.NoProject]
    if "{" in route.path:
        families.append(next((family for part, family in _THINGS.items() if part in route.path), NotFound))
    if route.method != "GET":
        yield NOT_JSON
        families.append(TooLarge)
        if reads:
            families.append(bodies.NotJson)
    for family in (*families, *OWN.get(route.operation or "", ())):
        yield Refusal(int(problems.status_of(_made(family))), family.code, _meaning(family))


def _made(family: Family) -> CeleriacError:
    """Return an error of a family, however it is made otherwise: only what it is matters."""
    error = family.__new__(family)
    CeleriacError.__init__(error)
    return error


def _meaning(family: Family) -> str:
    return (family.__doc__ or HTTPStatus(problems.status_of(_made(family))).phrase).strip().partition("\n")[0]
