"""The API on a file of its own, without a socket: requests go to the application, segments are carried by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from api import token
from api.guard import Guard
from api.main import create_app
from api.state import State
from engine import operations as op
from engine.access import passwords
from engine.settings import Settings
from tests.builders import document
from tests.workbench import Workbench


@dataclass
class Api:
    """The application and a hand that carries what it accepts."""

    http: httpx2.AsyncClient
    bench: Workbench
    settings: Settings
    token: str
    guard: Guard
    state: State

    async def get(self, path: str, **more: Any) -> httpx2.Response:
        return await self.http.get(f"/api/v1{path}", **more)

    async def post(self, path: str, body: object = None, **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is None:
            return await self.http.post(f"/api/v1{path}", headers=named)
        return await self.http.post(f"/api/v1{path}", json=body, headers=named)

    async def push(self, *nodes: Mapping[str, Any], name: str = "w", **more: Any) -> None:
        answer = await self.post("/workflows", document(nodes, name=name, **more))
        assert answer.status_code in (200, 201), answer.text

    async def execute(self, payload: object = None, workflow: str = "w") -> str:
        body = {} if payload is None else {"input": payload}
        answer = await self.post(f"/workflows/{workflow}/execute", body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def carry(self, *executions: str) -> None:
        """Perform the first segment of executions, and what follows from it."""
        self.bench.outlet.sent.extend(("default", (each, 0, "")) for each in executions)
        await self.bench.carry()

    def doubt(self, execution: str, head: int = 1) -> None:
        """Let the effect of the first segment have an unknown fate."""
        now = self.bench.clock.now()
        claimed = self.bench.ask(op.Claim(execution, 0, "", "elsewhere:1:1", now, now + 15_000))
        self.bench.ask(op.Doubt(execution, 0, "", claimed.epoch, pure=False, now=now, head=head, reason="{}"))


@asynccontextmanager
async def opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """The API on a new database in a folder."""
    monkeypatch.setattr(passwords, "_MEMORY_KIB", 8)  # what hashing costs is the business of other tests
    monkeypatch.setattr(passwords, "_ROUNDS", 1)
    bench = Workbench(folder)
    guard = create_app(bench.settings, serves=False)
    shown = token.load(bench.settings)
    headers = {"Authorization": f"Bearer {shown}"}
    async with (
        guard.app.router.lifespan_context(guard.app),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(guard, raise_app_exceptions=False),
            base_url="http://localhost",
            headers=headers,
        ) as http,
    ):
        yield Api(http, bench, bench.settings, shown, guard, guard.app.state.celeriac)
    bench.close()
    await asyncio.sleep(0)


@pytest_asyncio.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    async with opened(tmp_path, monkeypatch) as made:
        yield made
