"""The security actions: each at a server that insists on what its system documents, and none without its connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from celeriac import Fail, Json
from celeriac.testing import Outcome, run_node
from engine.outside.egress import OpenLink
from tests import vendors
from tests.loopback import serving
from tests.vendors import REGISTRY, SECURITY, Service

SECRET = "s3cr3t-0f-the-system"  # gitleaks: it opens nothing
EICAR = "44d88612fea8a8f36de82e1278abb02f"

FINE: dict[str, tuple[str, dict[str, Any], dict[str, Json]]] = {
    "quarantine_ip": (
        "opnsense",
        {"ip": "203.0.113.9"},
        {"ip": "203.0.113.9", "alias": "quarantine", "quarantined": True},
    ),
    "block_domain": ("pihole", {"domain": "evil.example"}, {"domain": "evil.example", "blocked": True}),
    "disable_user": ("entra", {"user": "eve@acme.example"}, {"user": "eve@acme.example", "disabled": True}),
    "forensic_dump": ("defender", {"machine": "m1"}, {"action": "a-1", "machine": "m1", "status": "Pending"}),
    "alert_admin": (
        "alertmanager",
        {"summary": "Fire.", "severity": "critical", "description": "In the server room."},
        {"alert": "CeleriacAlert", "severity": "critical", "raised": True},
    ),
    "open_ticket": ("jira", {"project": "SEC", "summary": "Fire."}, {"ticket": "SEC-1"}),
    "enrich_ip": (
        "virustotal",
        {"ip": "203.0.113.9"},
        {"known": True, "malicious": 9, "reputation": -12, "country": "NL", "owner": "Example Hosting"},
    ),
    "enrich_hash": (
        "virustotal",
        {"hash": EICAR},
        {"known": True, "malicious": 9, "name": "eicar.com", "kind": None},
    ),
}


class Office:
    """Servers of the systems, and the way there."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._egress = vendors.loopback_egress()
        stack.push_async_callback(self._egress.aclose)

    async def open(self, kind: str, secret: str = SECRET) -> tuple[Service, OpenLink]:
        service: Service = getattr(vendors, SECURITY[kind][0])(SECRET)
        server = await self._stack.enter_async_context(serving(service.handle))
        return service, await vendors.secured(self._egress, kind, secret, server.url)


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    async with AsyncExitStack() as stack:
        yield Office(stack)


async def run(name: str, link: OpenLink, **config: Any) -> Outcome:
    outcome = await run_node(REGISTRY.get(name), config, connections={link.kind: link})
    assert SECRET not in str(outcome)
    return outcome


@pytest.mark.parametrize("name", FINE)
async def test_an_action_is_done_and_told(name: str, office: Office) -> None:
    kind, config, expected = FINE[name]
    service, link = await office.open(kind)
    value: Any = (await run(name, link, **config)).value
    assert {key: value[key] for key in expected} == expected
    assert service.count() == (0 if name.startswith("enrich") else 1)


@pytest.mark.parametrize("name", FINE)
async def test_no_action_pretends_without_its_connection(name: str) -> None:
    _, config, _ = FINE[name]
    outcome = await run_node(REGISTRY.get(name), config)
    assert (outcome.kind, outcome.code) == ("failed", "connection.unknown")


@pytest.mark.parametrize("kind", SECURITY)
async def test_a_wrong_secret_is_refused_and_a_good_one_passes_the_test(kind: str, office: Office) -> None:
    type_ = REGISTRY.connections[kind]

    async def open_and_test(secret: str) -> str:
        _, link = await office.open(kind, secret)
        return await type_.test(link.fields, link)

    with pytest.raises(Fail) as caught:
        await open_and_test("wrong-" + SECRET)
    assert caught.value.code == "connection.refused"
    assert SECRET not in str(caught.value)
    assert len(await open_and_test(SECRET)) > 5


@pytest.mark.parametrize(
    ("name", "change", "word"),
    [
        ("quarantine_ip", {"alias": "nobody"}, "nonexisting alias"),
        ("block_domain", {"domain": "broken.example"}, "UNIQUE constraint"),
        ("disable_user", {"user": "mallory"}, "does not exist"),
        ("forensic_dump", {"machine": "m2"}, "does not exist"),
        ("alert_admin", {"labels": {"not-a-label": "x"}}, "invalid label set"),
        ("open_ticket", {"project": "NONE"}, "valid project is required"),
    ],
)
async def test_what_a_system_refuses_is_told_in_its_own_words(
    name: str, change: dict[str, Any], word: str, office: Office
) -> None:
    kind, config, _ = FINE[name]
    service, link = await office.open(kind)
    outcome = await run(name, link, **{**config, **change})
    assert (outcome.kind, service.count()) == ("failed", 0)
    assert outcome.error is not None
    assert word in outcome.error.message


@pytest.mark.parametrize(
    ("name", "config"), [("enrich_ip", {"ip": "192.0.2.77"}), ("enrich_hash", {"hash": "0" * 64})]
)
async def test_what_nobody_knows_is_no_failure(name: str, config: dict[str, Any], office: Office) -> None:
    _, link = await office.open("virustotal")
    value: Any = (await run(name, link, **config)).value
    assert (value["known"], value["malicious"], value["reputation"]) == (False, 0, 0)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("quarantine_ip", {"ip": "203.0.113.9; reboot"}),
        ("quarantine_ip", {"ip": "example.com"}),
        ("quarantine_ip", {"ip": "203.0.113.9", "alias": "../delete"}),
        ("block_domain", {"domain": "../../auth"}),
        ("block_domain", {"domain": "localhost"}),
        ("enrich_ip", {"ip": "../files/x"}),
        ("enrich_hash", {"hash": "zz"}),
    ],
)
async def test_what_is_no_address_no_domain_and_no_hash_is_never_sent(
    name: str, config: dict[str, Any], office: Office
) -> None:
    service, link = await office.open(FINE[name][0])
    before = len(service.calls)
    outcome = await run(name, link, **config)
    assert (outcome.kind, len(service.calls) - before) == ("failed", 0)
