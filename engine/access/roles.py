"""The table of permissions: which role of a project may do what. All of it stands here.

Nothing is permitted that is not listed. `approver` stands beside the ladder of the others, so that whoever runs a workflow is
not by that whoever decides on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, get_args

Role = Literal["viewer", "operator", "editor", "admin", "owner", "approver"]

Permission = Literal[
    "workflow:read",
    "workflow:write",
    "execution:read",
    "execution:start",
    "execution:control",
    "event:publish",
    "approval:read",
    "approval:decide",
    "trigger:read",
    "trigger:manage",
    "subscription:read",
    "subscription:manage",
    "connection:read",
    "connection:manage",
    "model:read",
    "model:manage",
    "budget:read",
    "budget:manage",
    "collection:read",
    "collection:manage",
    "variable:read",
    "variable:write",
    "project:read",
    "project:update",
    "project:delete",
    "member:read",
    "member:manage",
    "key:manage",
    "audit:read",
    "installation:users",
    "installation:projects",
    "installation:audit",
    "installation:watch",
]
"""What may be permitted, as `area:deed`. Those of `installation` belong to no project, and to none of its roles."""

PERMISSIONS: Final[tuple[Permission, ...]] = get_args(Permission)

MEANINGS: Final[dict[Permission, str]] = {
    "workflow:read": "see workflows, their versions and documents",
    "workflow:write": "save, enable and disable workflows",
    "execution:read": "see executions, their data and their history",
    "execution:start": "start workflows, and repeat executions",
    "execution:control": "cancel, pause and resume executions, change them while they run, decide on what is in doubt",
    "event:publish": "publish events",
    "approval:read": "see approvals",
    "approval:decide": "approve and reject",
    "trigger:read": "see webhooks and schedules",
    "trigger:manage": "make, change and remove webhooks and schedules",
    "subscription:read": "see which addresses outside are told of events, and what they were told",
    "subscription:manage": "have addresses outside told of events",
    "connection:read": "see connections, never their secrets",
    "connection:manage": "store, try and remove connections",
    "model:read": "see which models there are, and what they cost",
    "model:manage": "enter and forget models",
    "budget:read": "see budgets, and what models have cost",
    "budget:manage": "set and lift budgets",
    "collection:read": "see which collections of texts there are",
    "collection:manage": "remove collections of texts",
    "variable:read": "see the project's variables",
    "variable:write": "set and remove the project's variables",
    "project:read": "see the project and its figures",
    "project:update": "change the project's name, description and settings",
    "project:delete": "delete the project",
    "member:read": "see who is in the project",
    "member:manage": "let users in, give and take roles",
    "key:manage": "make and revoke API keys",
    "audit:read": "read the project's audit",
    "installation:users": "make, change and list users",
    "installation:projects": "make projects",
    "installation:audit": "read the audit of the whole installation",
    "installation:watch": "see how the installation stands, and its metrics",
}

_VIEWER: Final[frozenset[Permission]] = frozenset(
    {
        "workflow:read",
        "execution:read",
        "approval:read",
        "trigger:read",
        "subscription:read",
        "connection:read",
        "model:read",
        "budget:read",
        "collection:read",
        "variable:read",
        "project:read",
        "member:read",
    }
)
_OPERATOR: Final = _VIEWER | frozenset[Permission]({"execution:start", "execution:control", "event:publish"})
_EDITOR: Final = _OPERATOR | frozenset[Permission](
    {"workflow:write", "trigger:manage", "subscription:manage", "variable:write"}
)
_ADMIN: Final = _EDITOR | frozenset[Permission](
    {
        "connection:manage",
        "model:manage",
        "budget:manage",
        "collection:manage",
        "project:update",
        "member:manage",
        "key:manage",
        "audit:read",
    }
)
_OWNER: Final = _ADMIN | frozenset[Permission]({"project:delete"})

ROLES: Final[dict[Role, frozenset[Permission]]] = {
    "viewer": _VIEWER,
    "operator": _OPERATOR,
    "editor": _EDITOR,
    "admin": _ADMIN,
    "owner": _OWNER,
    "approver": frozenset({"approval:read", "approval:decide", "project:read"}),
}

HIGHEST: Final[Role] = "owner"
"""Only who has this role, or owns the installation, may give or take it."""


def permitted(roles: Iterable[str]) -> frozenset[Permission]:
    """Return what somebody may do who has these roles. A name that is no role permits nothing."""
    found: frozenset[Permission] = frozenset()
    for name, permissions in ROLES.items():
        if name in roles:
            found |= permissions
    return found


def expanded(scopes: Iterable[str]) -> frozenset[Permission]:
    """Return the permissions that scopes come to: each is a permission, or a role for all that it may do."""
    names = frozenset(scopes)
    return permitted(names) | frozenset(each for each in PERMISSIONS if each in names)
