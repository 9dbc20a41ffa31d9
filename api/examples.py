"""Examples of requests and answers about who may, for the API's own description. A test plays each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from celeriac import Json

_AT: Final = 1_796_000_000_000
_USER: Final = "user_01m8kdwzwteactrth6z9mk98wt"
_PROJECT: Final = "proj_01m8kdx42te6er757a9fh42237"
_KEY: Final = "key_01m8kdx7kwe5haw6djkbvg285e"
_PASSWORD: Final = "correct horse battery staple"  # noqa: S105  an example that everybody knows


@dataclass(frozen=True, slots=True)
class Example:
    """One operation: what is sent, and what comes back."""

    status: int
    answer: Json = None
    request: Json = None


_USER_SHOWN: Final[dict[str, Json]] = {
    "id": _USER,
    "name": "ada@example.com",
    "owns": False,
    "active": True,
    "has_password": True,
    "created_at": _AT,
    "updated_at": _AT,
    "signed_in_at": None,
}
_INVITATION: Final[dict[str, Json]] = {"token": "cli_...", "expires_at": _AT + 86_400_000}
_TOKENS: Final[dict[str, Json]] = {
    "access_token": "cla_...",
    "refresh_token": "clr_...",
    "token_type": "Bearer",
    "expires_in": 600,
    "refresh_expires_in": 2_592_000,
    "user_id": _USER,
}
_SIGNED_IN: Final[dict[str, Json]] = {**_TOKENS, "user": {"id": _USER, "name": "ada@example.com"}}
_PROJECT_SHOWN: Final[dict[str, Json]] = {
    "id": _PROJECT,
    "name": "shop",
    "description": "Orders and parcels.",
    "settings": {"default_model": "gpt-4", "budget_limit": 1000},
    "created_at": _AT,
    "updated_at": _AT,
}
_MEMBER: Final[dict[str, Json]] = {
    "user": {"id": _USER, "name": "ada@example.com", "active": True},
    "roles": ["operator", "approver"],
    "groups": ["finance"],
    "created_at": _AT,
    "updated_at": _AT,
}
_KEY_SHOWN: Final[dict[str, Json]] = {
    "id": _KEY,
    "name": "ci",
    "hint": "clk_09HL2D",
    "scopes": ["execution:start"],
    "created_by": "ada@example.com",
    "created_at": _AT,
    "expires_at": _AT + 90 * 86_400_000,
    "used_at": None,
    "revoked_at": None,
}
_VARIABLE: Final[dict[str, Json]] = {"name": "limit", "value": 10}
_DEED: Final[dict[str, Json]] = {
    "seq": 17,
    "at": _AT,
    "actor": _USER,
    "name": "ada@example.com",
    "action": "key:create",
    "subject": _KEY,
    "project": _PROJECT,
    "address": "203.0.113.7",
    "request_id": "5f2b8c1d9e3a7064",
    "outcome": "done",
    "details": {"name": "ci", "scopes": ["execution:start"], "expires_at": None},
    "hash": "2e53d85df391eb23042a53681ad9f54e334d03d78b90e9cc08f34668813f83d7",
}


def _page(*rows: Json) -> Json:
    return {"data": list(rows), "next_cursor": None, "has_more": False}


EXAMPLES: Final[dict[str, Example]] = {
    "login": Example(200, _SIGNED_IN, {"name": "ada@example.com", "password": _PASSWORD}),
    "accept_invitation": Example(200, _SIGNED_IN, {"token": "cli_...", "password": _PASSWORD}),
    "refresh": Example(200, _TOKENS, {"refresh_token": "clr_..."}),
    "logout": Example(204),
    "csrf_token": Example(200, {"csrf_token": "pK0c..."}),
    "me": Example(
        200,
        {
            "id": _USER,
            "name": "ada@example.com",
            "kind": "user",
            "owns": False,
            "projects": [
                {
                    "id": _PROJECT,
                    "name": "shop",
                    "roles": ["approver"],
                    "groups": ["finance"],
                    "permissions": ["approval:decide", "approval:read", "project:read"],
                }
            ],
        },
    ),
    "sessions": Example(
        200,
        {
            "data": [
                {
                    "id": "sess_01m8kdx42te6er757a9fh42237",
                    "method": "password",
                    "address": "203.0.113.7",
                    "agent": "Mozilla/5.0",
                    "created_at": _AT,
                    "renewed_at": _AT,
                    "until": _AT + 2_592_000_000,
                    "current": True,
                }
            ]
        },
    ),
    "end_session": Example(204),
    "change_password": Example(
        200,
        {"id": _USER, "changed": True},
        {"current": _PASSWORD, "new": "another horse, another battery"},
    ),
    "users": Example(200, _page(_USER_SHOWN)),
    "create_user": Example(
        201, {**_USER_SHOWN, "has_password": False, "invitation": _INVITATION}, {"name": "ada@example.com"}
    ),
    "invite_first_user": Example(201, _INVITATION),
    "user": Example(200, _USER_SHOWN),
    "update_user": Example(200, {**_USER_SHOWN, "active": False}, {"active": False}),
    "invite_user": Example(201, _INVITATION),
    "projects": Example(200, _page(_PROJECT_SHOWN)),
    "create_project": Example(
        201,
        _PROJECT_SHOWN,
        {
            "name": "shop",
            "description": "Orders and parcels.",
            "settings": {"default_model": "gpt-4", "budget_limit": 1000},
        },
    ),
    "project": Example(200, _PROJECT_SHOWN),
    "update_project": Example(200, _PROJECT_SHOWN, {"settings": {"budget_limit": 1000}}),
    "delete_project": Example(204),
    "project_stats": Example(
        200,
        {
            "workflows": 12,
            "members": 4,
            "open_approvals": 1,
            "executions": {"succeeded": 9_900, "failed": 100},
            "executions_counted": 10_000,
        },
    ),
    "members": Example(200, {"data": [_MEMBER]}),
    "put_member": Example(200, _MEMBER, {"roles": ["operator", "approver"], "groups": ["finance"]}),
    "remove_member": Example(204),
    "keys": Example(200, {"data": [_KEY_SHOWN]}),
    "create_key": Example(
        201,
        {**_KEY_SHOWN, "key": "clk_..."},
        {"name": "ci", "scopes": ["execution:start"], "expires_in_days": 90},
    ),
    "key": Example(200, _KEY_SHOWN),
    "revoke_key": Example(200, {**_KEY_SHOWN, "revoked_at": _AT}),
    "variables": Example(200, {"data": [{**_VARIABLE, "created_at": _AT, "updated_at": _AT}]}),
    "put_variable": Example(201, _VARIABLE, {"value": 10}),
    "remove_variable": Example(204),
    "audit": Example(200, _page(_DEED)),
    "audit_installation": Example(200, _page(_DEED)),
}
"""By the name of the operation. A token is shortened to its prefix."""
