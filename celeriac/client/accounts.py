"""The part of the client that is about who may: sessions, users, projects and their members, keys, variables, the audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from celeriac.client.asking import Asking, Body, part
from celeriac.outcomes import Json


class Accounts(Asking):
    """Requests about who may. What is refused is raised as `Refused`."""

    async def login(self, name: str, password: str) -> Body:
        """Sign in; return `{access_token, refresh_token, expires_in, user, ...}`."""
        return await self._ask("POST", "/auth/login", body={"name": name, "password": password})

    async def refresh(self, refresh_token: str) -> Body:
        """Renew a session; return its new tokens. A refresh token works once."""
        return await self._ask("POST", "/auth/refresh", body={"refresh_token": refresh_token})

    async def logout(self) -> None:
        """End the session of this client's token."""
        await self._ask("POST", "/auth/logout")

    async def csrf_token(self) -> str:
        """Return what a page of this session has to send along."""
        return str((await self._ask("GET", "/auth/csrf-token"))["csrf_token"])

    async def me(self) -> Body:
        """Return who this client acts for, and what that one may do."""
        return await self._ask("GET", "/auth/me")

    async def sessions(self) -> list[Body]:
        """Return the sessions of this client's user."""
        return cast("list[Body]", (await self._ask("GET", "/auth/sessions"))["data"])

    async def end_session(self, session: str) -> None:
        """End another session of this client's user."""
        await self._ask("DELETE", f"/auth/sessions/{part(session)}")

    async def change_password(self, current: str, new: str) -> None:
        """Change the password; all other sessions end."""
        await self._ask("POST", "/auth/change-password", body={"current": current, "new": new})

    async def accept_invitation(self, token: str, password: str, name: str | None = None) -> Body:
        """Set a password with an invitation, and sign in. `name` is for whoever becomes the first user."""
        body: dict[str, Json] = {"token": token, "password": password}
        return await self._ask("POST", "/auth/accept", body=body if name is None else {**body, "name": name})

    async def users(self, limit: int = 50, cursor: str | None = None) -> Body:
        """Return a page of users."""
        return await self._ask("GET", "/users", query={"limit": limit, "cursor": cursor})

    async def create_user(self, name: str, password: str | None = None, *, owns: bool = False) -> Body:
        """Make a user; without a password the answer has an invitation."""
        return await self._ask("POST", "/users", body={"name": name, "password": password, "owns": owns})

    async def user(self, user: str) -> Body:
        """Return a user, by id or name."""
        return await self._ask("GET", f"/users/{part(user)}")

    async def update_user(self, user: str, *, active: bool | None = None, owns: bool | None = None) -> Body:
        """Let a user in no more, or again; make one an owner of the installation, or not."""
        return await self._ask("PATCH", f"/users/{part(user)}", body={"active": active, "owns": owns})

    async def invite_user(self, user: str) -> Body:
        """Return an invitation `{token, expires_at}` with which a user sets a new password."""
        return await self._ask("POST", f"/users/{part(user)}/invite")

    async def invite_first_user(self) -> Body:
        """Return an invitation to become the first user."""
        return await self._ask("POST", "/users/invite-first")

    async def projects(self, limit: int = 50, cursor: str | None = None) -> Body:
        """Return a page of the projects this client may see."""
        return await self._ask("GET", "/projects", query={"limit": limit, "cursor": cursor})

    async def create_project(
        self,
        name: str,
        *,
        description: str = "",
        settings: Mapping[str, Json] | None = None,
        owner: str | None = None,
    ) -> Body:
        """Make a project. `settings` may have `default_model` and `budget_limit`."""
        body: dict[str, Json] = {"name": name, "description": description, "settings": dict(settings or {})}
        return await self._ask("POST", "/projects", body=body if owner is None else {**body, "owner": owner})

    async def project(self, project: str) -> Body:
        """Return a project, by id or name."""
        return await self._ask("GET", f"/projects/{part(project)}")

    async def update_project(self, project: str, change: Mapping[str, Json]) -> Body:
        """Change `{name?, description?, settings?}`."""
        return await self._ask("PATCH", f"/projects/{part(project)}", body=dict(change))

    async def delete_project(self, project: str) -> None:
        """Delete a project: nobody sees it any more."""
        await self._ask("DELETE", f"/projects/{part(project)}")

    async def project_stats(self, project: str) -> Body:
        """Return figures of a project."""
        return await self._ask("GET", f"/projects/{part(project)}/stats")

    async def members(self, project: str) -> list[Body]:
        """Return who is in a project."""
        return cast("list[Body]", (await self._ask("GET", f"/projects/{part(project)}/members"))["data"])

    async def put_member(
        self, project: str, user: str, roles: Sequence[str], groups: Sequence[str] | None = None
    ) -> Body:
        """Let a user in, or change a member's roles; without `groups` those stay."""
        body: dict[str, Json] = {"roles": list(roles)}
        if groups is not None:
            body["groups"] = list(groups)
        return await self._ask("PUT", f"/projects/{part(project)}/members/{part(user)}", body=body)

    async def remove_member(self, project: str, user: str) -> None:
        """Take a member out of a project."""
        await self._ask("DELETE", f"/projects/{part(project)}/members/{part(user)}")

    async def keys(self) -> list[Body]:
        """Return the project's API keys, without themselves."""
        return cast("list[Body]", (await self._ask("GET", "/keys"))["data"])

    async def create_key(self, name: str, scopes: Sequence[str], expires_in_days: int | None = None) -> Body:
        """Make an API key; `key` of the answer is shown nowhere else."""
        body: dict[str, Json] = {"name": name, "scopes": list(scopes), "expires_in_days": expires_in_days}
        return await self._ask("POST", "/keys", body=body)

    async def key(self, key: str) -> Body:
        """Return an API key, without itself."""
        return await self._ask("GET", f"/keys/{part(key)}")

    async def revoke_key(self, key: str) -> Body:
        """Revoke an API key."""
        return await self._ask("DELETE", f"/keys/{part(key)}")

    async def variables(self) -> list[Body]:
        """Return the project's variables."""
        return cast("list[Body]", (await self._ask("GET", "/variables"))["data"])

    async def put_variable(self, name: str, value: Json) -> Body:
        """Set a variable of the project."""
        return await self._ask("PUT", f"/variables/{part(name)}", body={"value": value})

    async def remove_variable(self, name: str) -> None:
        """Remove a variable of the project."""
        await self._ask("DELETE", f"/variables/{part(name)}")

    async def audit(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Body:
        """Return a page of what was done in the project, the latest first."""
        query = {"actor": actor, "action": action, "limit": limit, "cursor": cursor}
        return await self._ask("GET", "/audit", query=query)

    async def audit_installation(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Body:
        """Return a page of what was done in the whole installation."""
        query = {"actor": actor, "action": action, "limit": limit, "cursor": cursor}
        return await self._ask("GET", "/audit/installation", query=query)
