"""What tests of models share: a way to servers on loopback that speak as the vendors do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx2
import pytest

from engine.outside.addresses import Policy
from engine.outside.credentials import Binding, Credential
from engine.outside.egress import Egress
from tests.loopback import Server


@pytest.fixture
async def link() -> AsyncIterator[Callable[[Server], httpx2.AsyncClient]]:
    """Return the client of a connection to a server."""
    egress = Egress(Policy.parse("127.0.0.0/8"))

    def to(server: Server) -> httpx2.AsyncClient:
        return egress.client(
            credential=Credential(
                "models",
                (Binding.parse(f"{server.host}:{server.port}"),),
                ("Authorization", "Bearer sk-test-key"),
                secrets=frozenset({"sk-test-key"}),
                base_url=f"{server.url}/v1",
            )
        )

    yield to
    await egress.aclose()
