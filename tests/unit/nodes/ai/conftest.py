"""What tests of models share: a way to servers on loopback that speak as the vendors do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from engine.outside.addresses import Policy
from engine.outside.credentials import Binding, Credential
from engine.outside.egress import Egress, OpenLink
from nodes.connections.openai import Models
from tests.loopback import Server


@pytest.fixture
async def link() -> AsyncIterator[Callable[[Server], OpenLink]]:
    """Return a connection to a server."""
    egress = Egress(Policy.parse("127.0.0.0/8"))

    def to(server: Server) -> OpenLink:
        fields = Models.model_validate({"api_key": "sk-test-key", "base_url": f"{server.url}/v1"})
        bound = (Binding.parse(f"{server.host}:{server.port}"),)
        return egress.link(
            Credential("models", bound, fields.carried(), secrets=frozenset({"sk-test-key"})), fields=fields
        )

    yield to
    await egress.aclose()
