"""Slack, Discord, Telegram, GitHub and Stripe: each against a server that insists on what its vendor documents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from celeriac import Effect, Fail, Json
from celeriac.testing import Outcome, run_node
from engine.outside.egress import Egress, OpenLink
from tests import vendors
from tests.loopback import serving
from tests.vendors import REGISTRY, Reply, Service, linked

TOKEN = "s3cr3t-t0k3n-0f-the-vend0r"  # gitleaks: it opens nothing


@dataclass
class Office:
    """A vendor's server, and the egress that leads there."""

    egress: Egress
    stack: AsyncExitStack

    async def open(
        self, kind: str, path: str = "", token: str = TOKEN, **values: Json
    ) -> tuple[Service, OpenLink]:
        make: Callable[[str], Service] = getattr(vendors, kind)
        service = make(TOKEN)
        server = await self.stack.enter_async_context(serving(service.handle))
        secret = {"stripe": "key"}.get(kind, "token")
        given: dict[str, Json] = {secret: token, "base_url": server.url + path, **values}
        return service, linked(self.egress, kind, given)


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    egress = vendors.loopback_egress()
    async with AsyncExitStack() as stack:
        yield Office(egress, stack)
        await egress.aclose()


async def run(name: str, link: OpenLink, key: str = "key-1", **config: Any) -> Outcome:
    outcome = await run_node(REGISTRY.get(name), config, connections={link.kind: link}, idempotency_key=key)
    assert TOKEN not in str(outcome)
    return outcome


PATHS = {"slack": "/api", "discord": "/api/v10", "telegram": "", "github": "", "stripe": ""}
FINE: dict[str, tuple[str, dict[str, Any], Json]] = {
    "slack": (
        "slack_post",
        {"channel": "C1", "text": "Hello"},
        {"channel": "C1", "ts": "1700000001.000100"},
    ),
    "discord": ("discord_post", {"channel": "42", "text": "Hello"}, {"id": "99", "channel": "42"}),
    "telegram": ("telegram_send", {"chat": 7, "text": "Hello"}, {"message_id": 5, "chat": 7}),
    "github": (
        "github_request",
        {"method": "POST", "path": "/repos/acme/shop/issues", "body": {"title": "Hello"}},
        {"status": 201, "body": {"number": 8, "title": "Hello"}},
    ),
    "stripe": (
        "stripe_request",
        {"method": "POST", "path": "/v1/customers", "body": {"email": "a@b.c"}},
        {"id": "cus_1", "object": "customer"},
    ),
}


@pytest.mark.parametrize("kind", FINE)
async def test_what_is_asked_is_done_and_told(kind: str, office: Office) -> None:
    service, link = await office.open(kind, PATHS[kind])
    name, config, expected = FINE[kind]
    assert (await run(name, link, **config)).value == expected
    assert service.count() == 1


@pytest.mark.parametrize("kind", FINE)
async def test_a_wrong_key_is_told_and_a_good_one_passes_the_test(kind: str, office: Office) -> None:
    service, link = await office.open(kind, PATHS[kind], token="wrong-" + TOKEN)
    name, config, _ = FINE[kind]
    outcome = await run(name, link, **config)
    assert (outcome.kind, service.count()) == ("failed", 0)
    kinds = REGISTRY.connections
    with pytest.raises(Fail) as caught:
        await kinds[kind].test(link.fields, link)
    assert caught.value.code == "connection.refused"
    _, good = await office.open(kind, PATHS[kind])
    assert len(await kinds[kind].test(good.fields, good)) > 5


LIMITED: dict[str, tuple[Reply, float | None]] = {
    "slack": ((429, None, {"Retry-After": "30"}), 30),
    "discord": (
        (429, {"message": "You are being rate limited.", "retry_after": 1.5, "global": False}, {}),
        1.5,
    ),
    "telegram": (
        (
            429,
            {
                "ok": False,
                "error_code": 429,
                "description": "Too Many Requests: retry after 7",
                "parameters": {"retry_after": 7},
            },
            {},
        ),
        7,
    ),
    "github": (
        (
            403,
            {"message": "API rate limit exceeded"},
            {
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-Reset": "1893456060",
                "Date": "Tue, 01 Jan 2030 00:00:00 GMT",
            },
        ),
        61,
    ),
    "stripe": ((429, {"error": {"message": "Too many requests"}}, {}), None),
}


@pytest.mark.parametrize("kind", FINE)
async def test_a_limit_is_kept_and_the_time_it_names(kind: str, office: Office) -> None:
    service, link = await office.open(kind, PATHS[kind])
    reply, after = LIMITED[kind]
    service.refuses.append(reply)
    name, config, _ = FINE[kind]
    outcome = await run(name, link, **config)
    assert (outcome.kind, outcome.code, service.count()) == ("try_again", "http.rate_limited", 0)
    assert outcome.error is not None
    assert outcome.error.retry_after == after


@pytest.mark.parametrize(
    ("kind", "change", "word"),
    [
        ("slack", {"channel": "C2"}, "channel_not_found"),
        ("discord", {"channel": "43"}, "Unknown Channel"),
        ("telegram", {"chat": 8}, "chat not found"),
        ("github", {"path": "/repos/acme/none"}, "Not Found"),
        ("stripe", {"body": {"name": "x"}}, "Missing email"),
    ],
)
async def test_what_the_vendor_refuses_is_told_in_its_own_words(
    kind: str, change: dict[str, Any], word: str, office: Office
) -> None:
    service, link = await office.open(kind, PATHS[kind])
    name, config, _ = FINE[kind]
    outcome = await run(name, link, **{**config, **change})
    assert (outcome.kind, service.count()) == ("failed", 0)
    assert outcome.error is not None
    assert word in outcome.error.message


@pytest.mark.parametrize("kind", FINE)
async def test_a_page_of_a_proxy_is_no_answer_of_the_vendor(kind: str, office: Office) -> None:
    service, link = await office.open(kind, PATHS[kind])
    service.refuses.append((502, b"<html>Bad gateway</html>", {"Content-Type": "text/html"}))
    name, config, _ = FINE[kind]
    outcome = await run(name, link, **config)
    assert outcome.kind == ("try_again" if kind == "stripe" else "uncertain")


async def test_a_message_says_all_that_it_is_told_to(office: Office) -> None:
    slack, link = await office.open("slack", "/api")
    blocks: Json = [{"type": "divider"}]
    await run("slack_post", link, channel="C1", text="a", blocks=blocks, thread_ts="1.2")
    assert slack.effects == [{"channel": "C1", "text": "a", "blocks": blocks, "thread_ts": "1.2"}]
    discord, link = await office.open("discord", "/api/v10")
    await run("discord_post", link, channel="42", text="@everyone", reply_to="5")
    assert discord.effects[0]["allowed_mentions"] == {"parse": []}
    assert discord.effects[0]["message_reference"] == {"message_id": "5"}
    telegram, link = await office.open("telegram")
    await run("telegram_send", link, chat="7", text="a", format="HTML", silent=True)
    assert telegram.effects == [
        {"chat_id": "7", "text": "a", "parse_mode": "HTML", "disable_notification": True}
    ]


async def test_a_telegram_token_is_in_no_address_that_anybody_sees(office: Office) -> None:
    _, link = await office.open("telegram")
    answer = await link.http.post(link.fields.f1 + "/sendMessage", json={"chat_id": 8})
    assert answer.status_code == 400
    assert TOKEN not in str(answer.request.url)


async def test_discord_does_a_message_once_when_it_comes_again_soon(office: Office) -> None:
    service, link = await office.open("discord", "/api/v10")
    for _ in range(2):
        await run("discord_post", link, channel="42", text="a")
    await run("discord_post", link, "key-2", channel="42", text="a")
    assert service.count() == 2


async def test_stripe_does_a_request_once_a_key(office: Office) -> None:
    service, link = await office.open("stripe", version="2026-01-01")
    config: dict[str, Any] = {
        "method": "POST",
        "path": "/v1/customers",
        "body": {"email": "a@b.c", "metadata": {"order": 6}, "items": [{"price": "p1"}], "tax_exempt": None},
    }
    first, again = [await run("stripe_request", link, **config) for _ in range(2)]
    assert first.value == again.value
    assert service.effects == [{"email": "a@b.c", "metadata[order]": "6", "items[0][price]": "p1"}]
    assert service.calls[0].headers["stripe-version"] == "2026-01-01"
    stripe = REGISTRY.get("stripe_request")
    assert [stripe.effect_of({"method": each}) for each in ("GET", "POST", "DELETE", "{{ x }}")] == [
        Effect.READ,
        Effect.KEYED,
        Effect.KEYED,
        Effect.ONCE,
    ]


async def test_stripe_that_is_still_at_it_is_asked_again(office: Office) -> None:
    service, link = await office.open("stripe")
    body = {"error": {"code": "idempotency_key_in_use", "message": "There is a request with this key."}}
    service.refuses.append((409, body, {}))
    outcome = await run("stripe_request", link, method="POST", path="/v1/customers", body={"email": "x"})
    assert outcome.kind == "try_again"


@pytest.mark.parametrize(
    ("most", "numbers", "more", "pages"), [(3, 3, True, 1), (7, 7, False, 1), (100, 7, False, 1)]
)
async def test_github_lists_as_many_as_are_wanted(
    most: int, numbers: int, more: bool, pages: int, office: Office
) -> None:
    service, link = await office.open("github")
    outcome = await run("github_list", link, path="/repos/acme/shop/issues", most=most)
    value: Any = outcome.value
    assert ([each["number"] for each in value["items"]], value["more"]) == (list(range(1, numbers + 1)), more)
    assert len(service.calls) == pages


async def test_github_lists_page_after_page(office: Office) -> None:
    service, link = await office.open("github")
    outcome = await run("github_list", link, path="/repos/acme/shop/issues", most=5, query={"per_page": 2})
    value: Any = outcome.value
    assert ([each["number"] for each in value["items"]], value["more"]) == ([1, 2, 3, 4, 5], True)
    assert [dict(each.query).get("page") for each in service.calls] == [None, "2", "3"]


@pytest.mark.parametrize(
    "path", ["/repos/../user", "/repos/%2e%2e/user", "/repos/a b", "/x?y=1", "/x#y", "//evil.test/x"]
)
async def test_a_path_leads_nowhere_else(path: str, office: Office) -> None:
    service, link = await office.open("github")
    outcome = await run("github_request", link, path=path)
    assert (outcome.kind, outcome.code) == ("failed", "http.invalid_request")
    assert service.calls == []
