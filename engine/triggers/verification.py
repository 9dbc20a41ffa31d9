"""Whether a request from outside comes from whom it says: the bytes of its body, its headers, and a secret. Pure.

Everything is compared as bytes, in a time that does not depend on where they differ, and before anything of the body is
read. Sources: Standard Webhooks 1.0; GitHub, *Validating webhook deliveries*; Stripe, *Verify webhook signatures manually*;
Slack, *Verifying requests from Slack*; Telegram, *Bot API: setWebhook*; RFC 7617 (Basic).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

from celeriac.duration import seconds

Scheme = Literal[
    "hmac", "legacy", "standard", "github", "stripe", "slack", "telegram", "basic", "api_key", "none"
]
SCHEMES: Final = get_args(Scheme)
TOLERANCE: Final = 300
"""Seconds that the clock of a sender may be away from ours, either way."""
LONGEST_ID: Final = 255
LONGEST_SIGNATURE: Final = 8_192

PREFIX: Final = "whsec_"
_SIGNATURE: Final = "x-webhook-signature"
_TIMESTAMP: Final = "x-webhook-timestamp"
_IDS: Final[Mapping[str, tuple[str, ...]]] = {
    "hmac": ("x-webhook-id", "webhook-id", "x-delivery-id"),
    "legacy": ("x-webhook-id", "webhook-id", "x-delivery-id"),
    "standard": ("webhook-id",),
    "github": ("x-github-delivery",),
    "stripe": (),
    "slack": (),
    "telegram": (),
    "basic": ("x-webhook-id", "webhook-id", "x-delivery-id"),
    "api_key": ("x-webhook-id", "webhook-id", "x-delivery-id"),
    "none": ("x-webhook-id", "webhook-id", "x-delivery-id"),
}
_BODY_IDS: Final[Mapping[str, str]] = {"stripe": "id", "slack": "event_id", "telegram": "update_id"}
"""Senders that have no header for the id of a delivery, and where it stands in the body that they sign."""
_TELEGRAM: Final = "x-telegram-bot-api-secret-token"
_TELEGRAM_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{16,256}")


class NotVerified(Exception):
    """The request does not prove that it comes from whom it says. The message may be shown to anybody."""


@dataclass(frozen=True, slots=True)
class Verify:
    """How requests are verified. `header` is where an API key stands, `delivery_id` where an id does."""

    scheme: Scheme = "hmac"
    tolerance: int = TOLERANCE
    username: str = "webhook"
    header: str = "x-api-key"
    delivery_id: str | None = None
    require_timestamp: bool = False

    @classmethod
    def parse(cls, value: Any) -> Verify:
        """Read a scheme, or `{scheme, ...}`."""
        if not isinstance(value, Mapping):
            return cls(cast("Scheme", value))
        named = value.get("delivery_id")
        return cls(
            value["scheme"],
            round(seconds(value["tolerance"])) if "tolerance" in value else TOLERANCE,
            value.get("username", "webhook"),
            value.get("header", "x-api-key").lower(),
            None if named is None else named.lower(),
            value.get("require_timestamp", False),
        )

    @property
    def has_secret(self) -> bool:
        """Whether there is something that only we and the sender know."""
        return self.scheme != "none"

    @property
    def secret_headers(self) -> frozenset[str]:
        """The headers in which a secret itself is sent."""
        return frozenset(
            {"authorization", "cookie", "proxy-authorization", "x-api-key", _TELEGRAM, self.header}
        )


def check(verify: Verify, secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: int) -> None:
    """Raise `NotVerified` unless one of the secrets proves the request. Header names are in lower case, `now` in seconds.

    Without a secret nothing is ever verified, but for the scheme that wants none.
    """
    if verify.scheme == "none":
        return
    if not secrets:
        raise NotVerified("No secret is stored for this address; rotating it makes one.")
    _CHECKS[verify.scheme](verify, secrets, headers, body, now)


def delivery_id(verify: Verify, headers: Mapping[str, str], payload: Any) -> str | None:
    """Return the id under which a delivery counts once. Raises `NotVerified` for one that is none."""
    names = (verify.delivery_id,) if verify.delivery_id else _IDS[verify.scheme]
    found = next((headers[name] for name in names if name in headers), None)
    key = _BODY_IDS.get(verify.scheme)
    if found is None and key is not None and isinstance(payload, dict):
        said = payload.get(key)
        kind = int if verify.scheme == "telegram" else str
        found = str(said) if type(said) is kind else None
    if found is not None and not (0 < len(found) <= LONGEST_ID and found.isprintable()):
        message = f"The id of the delivery has not 1 to {LONGEST_ID} visible characters."
        raise NotVerified(message)
    return found


def make_secret(entropy: Callable[[int], bytes], scheme: Scheme = "hmac") -> str:
    """Return a new secret, in the form of Standard Webhooks, which every scheme takes but Telegram's."""
    if scheme == "telegram":
        return PREFIX + base64.urlsafe_b64encode(entropy(32)).decode().rstrip("=")
    return PREFIX + base64.b64encode(entropy(32)).decode()


def secret_fault(scheme: Scheme, secret: str) -> str | None:
    """Return why a text that somebody brings along is no secret for a scheme."""
    if not 16 <= len(secret) <= 1_000 or not secret.isascii() or not secret.isprintable():
        return "it is not 16 to 1,000 visible ASCII characters"
    if scheme == "standard" and not 24 <= len(_decoded(secret)) <= 64:
        return f"behind {PREFIX} stand 24 to 64 bytes in base64"
    if scheme == "telegram" and not _TELEGRAM_SECRET.fullmatch(secret):
        return "Telegram takes 16 to 256 of the characters A-Z, a-z, 0-9, _ and -"
    return None


def _hmac(verify: Verify, secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: int) -> None:
    """`X-Webhook-Signature: sha256=HEX` over `TIMESTAMP.BODY`, or over the body alone, when the delivery has an id."""
    given = _header(headers, _SIGNATURE)
    timestamp = headers.get(_TIMESTAMP)
    if timestamp is None:
        named = (verify.delivery_id,) if verify.delivery_id else _IDS["hmac"]
        if verify.require_timestamp or not any(name in headers for name in named):
            raise NotVerified(
                "The request has neither X-Webhook-Timestamp nor the id of its delivery, X-Webhook-Id."
            )
        signed = body
    else:
        _in_time(timestamp, verify, now)
        signed = f"{timestamp}.".encode() + body
    _one_of(secrets, [given], lambda secret: b"sha256=" + _hex(secret.encode(), signed))


def _legacy(_: Verify, secrets: Sequence[str], headers: Mapping[str, str], body: bytes, _now: int) -> None:
    given = _header(headers, _SIGNATURE)
    _one_of(secrets, [given], lambda secret: b"sha256=" + _hex(secret.encode(), body))


def _standard(
    verify: Verify, secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: int
) -> None:
    given, name = _header(headers, "webhook-signature"), _header(headers, "webhook-id")
    timestamp = _header(headers, "webhook-timestamp")
    _in_time(timestamp, verify, now)
    signed = _bytes(name) + b"." + timestamp.encode() + b"." + body
    versions = [each.partition(",") for each in given.split(" ")]
    said = [mark for version, _, mark in versions if version == "v1"]
    _one_of(secrets, said, lambda secret: base64.b64encode(_digest(_decoded(secret), signed)))


def _github(_: Verify, secrets: Sequence[str], headers: Mapping[str, str], body: bytes, _now: int) -> None:
    given = _header(headers, "x-hub-signature-256")
    _one_of(secrets, [given], lambda secret: b"sha256=" + _hex(secret.encode(), body))


def _stripe(
    verify: Verify, secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: int
) -> None:
    fields = [each.strip().partition("=") for each in _header(headers, "stripe-signature").split(",")]
    timestamp = next((value for name, _, value in fields if name == "t"), "")
    _in_time(timestamp, verify, now)
    signed = f"{timestamp}.".encode() + body
    said = [value for name, _, value in fields if name == "v1"]
    _one_of(secrets, said, lambda secret: _hex(secret.encode(), signed))


def _slack(verify: Verify, secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: int) -> None:
    given, timestamp = _header(headers, "x-slack-signature"), _header(headers, "x-slack-request-timestamp")
    _in_time(timestamp, verify, now)
    signed = f"v0:{timestamp}:".encode() + body
    _one_of(secrets, [given], lambda secret: b"v0=" + _hex(secret.encode(), signed))


def _basic(
    verify: Verify, secrets: Sequence[str], headers: Mapping[str, str], _body: bytes, _now: int
) -> None:
    scheme, _, given = _header(headers, "authorization").partition(" ")
    if scheme.lower() != "basic":
        raise NotVerified("The header Authorization names no user with a password (Basic).")
    _one_of(
        secrets,
        [given.strip()],
        lambda secret: base64.b64encode(f"{verify.username}:{secret}".encode()),
    )


def _api_key(
    verify: Verify, secrets: Sequence[str], headers: Mapping[str, str], _body: bytes, _now: int
) -> None:
    _one_of(secrets, [_header(headers, verify.header)], lambda secret: secret.encode())


def _telegram(
    _verify: Verify, secrets: Sequence[str], headers: Mapping[str, str], _body: bytes, _now: int
) -> None:
    """The secret itself, which `setWebhook` was told as `secret_token`."""
    _one_of(secrets, [_header(headers, _TELEGRAM)], lambda secret: secret.encode())


_CHECKS: Final[Mapping[str, Callable[[Verify, Sequence[str], Mapping[str, str], bytes, int], None]]] = {
    "hmac": _hmac,
    "legacy": _legacy,
    "standard": _standard,
    "github": _github,
    "stripe": _stripe,
    "slack": _slack,
    "telegram": _telegram,
    "basic": _basic,
    "api_key": _api_key,
}


def _one_of(secrets: Sequence[str], given: Sequence[str], expected: Callable[[str], bytes]) -> None:
    """Raise unless something given is what one of the secrets makes. Every pair is compared, whatever the others say."""
    wanted = [expected(each) for each in secrets]
    found = False
    for said in given[:10]:
        for each in wanted:
            found |= hmac.compare_digest(_bytes(said), each)
    if not found:
        raise NotVerified("The request is not signed with the secret of this address.")


def _header(headers: Mapping[str, str], name: str) -> str:
    found = headers.get(name, "")
    if not found or len(found) > LONGEST_SIGNATURE:
        message = f"The request has no header {name}." if not found else f"The header {name} is too long."
        raise NotVerified(message)
    return found


def _in_time(timestamp: str, verify: Verify, now: int) -> None:
    if not re.fullmatch(r"[0-9]{1,12}", timestamp):
        raise NotVerified("The timestamp is no number of seconds since 1970.")
    if abs(int(timestamp) - now) > verify.tolerance:
        message = f"The timestamp is more than {verify.tolerance} seconds away from the time here."
        raise NotVerified(message)


def _hex(key: bytes, signed: bytes) -> bytes:
    return _digest(key, signed).hex().encode()


def _digest(key: bytes, signed: bytes) -> bytes:
    """Return an HMAC, without `hmac.digest`: that lets others run meanwhile, and waits longer for its turn than a hash takes."""
    return hmac.new(key, signed, "sha256").digest()


def _bytes(text: str) -> bytes:
    """Return what stood in a header."""
    return text.encode("latin-1", "replace")


def _decoded(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return b""


def challenge(verify: Verify, payload: Any) -> str | None:
    """Return what Slack wants to read when it looks whether somebody is there."""
    if verify.scheme != "slack" or not isinstance(payload, dict) or payload.get("type") != "url_verification":
        return None
    said = payload.get("challenge")
    return said if isinstance(said, str) and len(said) <= 1_000 else None


def sample(verify: Verify, secret: str, name: str, body: bytes, now: int) -> dict[str, str]:
    """Return the headers that a sender would send along: what a test of an address, and the documentation, are made of."""
    return dict(_signed(verify, secret, name, body, now))


def _signed(verify: Verify, secret: str, name: str, body: bytes, now: int) -> Iterator[tuple[str, str]]:
    key, stamp = secret.encode(), str(now)
    match verify.scheme:
        case "hmac":
            signature = _hex(key, f"{stamp}.".encode() + body).decode()
            yield from (
                ("X-Webhook-Signature", f"sha256={signature}"),
                ("X-Webhook-Timestamp", stamp),
                ("X-Webhook-Id", name),
            )
        case "legacy":
            yield from (("X-Webhook-Signature", f"sha256={_hex(key, body).decode()}"), ("X-Webhook-Id", name))
        case "standard":
            mark = _digest(_decoded(secret), f"{name}.{stamp}.".encode() + body)
            yield "webhook-signature", f"v1,{base64.b64encode(mark).decode()}"
            yield from (("webhook-id", name), ("webhook-timestamp", stamp))
        case "github":
            yield from (
                ("X-Hub-Signature-256", f"sha256={_hex(key, body).decode()}"),
                ("X-GitHub-Delivery", name),
            )
        case "stripe":
            yield "Stripe-Signature", f"t={stamp},v1={_hex(key, f'{stamp}.'.encode() + body).decode()}"
        case "slack":
            yield "X-Slack-Signature", f"v0={_hex(key, f'v0:{stamp}:'.encode() + body).decode()}"
            yield "X-Slack-Request-Timestamp", stamp
        case "telegram":
            yield "X-Telegram-Bot-Api-Secret-Token", secret
        case "basic":
            both = base64.b64encode(f"{verify.username}:{secret}".encode()).decode()
            yield from (("Authorization", f"Basic {both}"), ("X-Webhook-Id", name))
        case "api_key":
            yield from ((verify.header, secret), ("X-Webhook-Id", name))
        case "none":
            yield "X-Webhook-Id", name
