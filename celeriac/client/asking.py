"""How the client asks: one request, JSON in and JSON out; what is refused is raised with the API's own words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import quote

from celeriac.outcomes import Json

if TYPE_CHECKING:
    import httpx2

Body = dict[str, Any]

ROOT = "/api/v1"
"""Where the API is; few things are elsewhere."""


class Refused(Exception):
    """The API did not do it. `errors` are single mistakes, where there are several."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str | None = None,
        status: int = 0,
        errors: list[Body] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.status = status
        self.errors = errors or []

    def to_json(self) -> Body:
        """Return `{code, message, hint?, errors?}`."""
        body: Body = {"code": self.code, "message": self.message}
        if self.hint:
            body["hint"] = self.hint
        if self.errors:
            body["errors"] = self.errors
        return body


class Unreachable(Refused):
    """Nobody answered; nobody knows whether the request arrived."""


class Asking:
    """A connection to one API. `url` is where it is; it is `live` unless it serves requests in this process."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        project: str | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        import httpx2  # a tenth of a second, which not every command has to pay

        self.url = url.rstrip("/")
        self.live = transport is None
        self._lost = httpx2.TransportError
        self._http = httpx2.AsyncClient(
            base_url=self.url,
            headers={
                "Authorization": f"Bearer {token}",
                "User-Agent": "celeriac",
                **({"X-Celeriac-Project": project} if project else {}),
            },
            timeout=30.0,
            transport=transport,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        """Open it."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | Sequence[str] | None] | None = None,
        body: Json = None,
        raw: bytes | None = None,
        key: str | None = None,
        wait: int = 0,
        headers: Mapping[str, str] | None = None,
        match: str | None = None,
        root: str = ROOT,
    ) -> Body:
        headers = dict(headers or {})
        content = raw if raw is not None or body is None else json.dumps(body).encode()
        if content is not None:
            headers.setdefault("Content-Type", "application/json")
        if match is not None:
            headers["If-Match"] = match
        if key is not None:
            headers["Idempotency-Key"] = key
        if wait:
            headers["Prefer"] = f"wait={wait}"
        try:
            answer = await self._http.request(
                method,
                f"{root}{path}",
                params={name: value for name, value in (query or {}).items() if value is not None},
                content=content,
                headers=headers,
                timeout=30.0 + wait,
            )
        except self._lost as error:
            raise self._unreachable(error) from error
        if answer.status_code >= 400:
            raise refused(answer)
        return cast("Body", answer.json()) if answer.content else {}

    def _unreachable(self, error: Exception) -> Unreachable:
        message = f"Nobody answers at {self.url}: {str(error) or type(error).__name__}."
        return Unreachable("api.unreachable", message, hint="Is it up? celeriac doctor looks.")


def refused(answer: httpx2.Response) -> Refused:
    """Return what an answer refuses with."""
    try:
        body = answer.json()
        return Refused(
            body["code"],
            body["detail"],
            hint=body.get("hint"),
            status=answer.status_code,
            errors=body.get("errors"),
        )
    except (ValueError, KeyError, TypeError):
        message = f"What answers there is no Celeriac: {answer.status_code}."
        return Refused("api.not_celeriac", message, status=answer.status_code)


def part(text: str) -> str:
    """Return a text as one part of a path."""
    return quote(text, safe="")
