from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from engine.triggers.verification import (
    SCHEMES,
    NotVerified,
    Verify,
    challenge,
    check,
    delivery_id,
    make_secret,
    sample,
    secret_fault,
)

NOW = 1_900_000_000
SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = b'{"a": 1, "snow": "\xe2\x98\x83"}'


def headers(scheme: str, **more: Any) -> tuple[Verify, dict[str, str]]:
    verify = Verify.parse({"scheme": scheme, **more})
    return verify, {name.lower(): value for name, value in sample(verify, SECRET, "msg_1", BODY, NOW).items()}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_a_sender_signs_is_verified(scheme: str) -> None:
    verify, sent = headers(scheme)
    check(verify, [SECRET], sent, BODY, NOW + 200)
    check(verify, ["whsec_" + "A" * 32, SECRET], sent, BODY, NOW)


@pytest.mark.parametrize(
    "scheme", [each for each in SCHEMES if each not in ("none", "basic", "api_key", "telegram")]
)
def test_another_body_or_secret_is_not(scheme: str) -> None:
    verify, sent = headers(scheme)
    with pytest.raises(NotVerified, match="not signed"):
        check(verify, [SECRET], sent, BODY + b" ", NOW)
    with pytest.raises(NotVerified, match="not signed"):
        check(verify, ["whsec_" + "A" * 32], sent, BODY, NOW)


@pytest.mark.parametrize("scheme", [each for each in SCHEMES if each != "none"])
def test_without_a_header_or_a_secret_nothing_is_verified(scheme: str) -> None:
    verify, sent = headers(scheme)
    with pytest.raises(NotVerified, match="No secret"):
        check(verify, [], sent, BODY, NOW)
    with pytest.raises(NotVerified):
        check(verify, [SECRET], {}, BODY, NOW)


@pytest.mark.parametrize("scheme", [each for each in SCHEMES if each != "none"])
@pytest.mark.parametrize(
    "odd", ["", "x", "sha256=", "v1,", "t=1,v1=x", "\xff\xfe", "é" * 40, "v0=" + "0" * 64, "A" * 9_000]
)
def test_hostile_headers_are_refused_and_break_nothing(scheme: str, odd: str) -> None:
    verify, sent = headers(scheme)
    for name in sent:
        if name not in ("x-webhook-id", "x-github-delivery") and (name, scheme) != ("x-webhook-id", "hmac"):
            with pytest.raises(NotVerified):
                check(verify, [SECRET], {**sent, name: odd}, BODY, NOW)


@pytest.mark.parametrize("scheme", ["hmac", "standard", "stripe", "slack"])
@pytest.mark.parametrize("away", [-301, 301])
def test_an_old_or_an_early_request_is_not_verified(scheme: str, away: int) -> None:
    verify, sent = headers(scheme)
    check(verify, [SECRET], sent, BODY, NOW + away - away // 301)
    with pytest.raises(NotVerified, match="300 seconds away"):
        check(verify, [SECRET], sent, BODY, NOW + away)
    wider, sent = headers(scheme, tolerance="10m")
    check(wider, [SECRET], sent, BODY, NOW + away)


def test_the_vector_of_standard_webhooks() -> None:
    """Source: the specification's reference implementation."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    sent = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1a,xxx v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    check(Verify("standard"), [secret], sent, b'{"test": 2432232314}', 1614265330)


def test_the_seed_form_signs_the_body_alone_and_needs_an_id() -> None:
    verify = Verify.parse("hmac")
    signature = "sha256=" + hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()
    plain = {"x-webhook-signature": signature}
    with pytest.raises(NotVerified, match="neither"):
        check(verify, [SECRET], plain, BODY, NOW)
    check(verify, [SECRET], {**plain, "x-webhook-id": "1"}, BODY, NOW)
    check(verify, [SECRET], {**plain, "webhook-id": "1"}, BODY, NOW)
    # A timestamp is part of what is signed: one that was added, or taken away, does not fit.
    with pytest.raises(NotVerified, match="not signed"):
        check(verify, [SECRET], {**plain, "x-webhook-timestamp": str(NOW), "x-webhook-id": "1"}, BODY, NOW)
    _, sent = headers("hmac")
    del sent["x-webhook-timestamp"]
    with pytest.raises(NotVerified, match="not signed"):
        check(verify, [SECRET], sent, BODY, NOW)
    strict = Verify.parse({"scheme": "hmac", "require_timestamp": True})
    with pytest.raises(NotVerified, match="neither"):
        check(strict, [SECRET], {**plain, "x-webhook-id": "1"}, BODY, NOW)
    check(Verify.parse("legacy"), [SECRET], plain, BODY, NOW)


def test_of_several_signatures_one_is_enough() -> None:
    _, stripe = headers("stripe")
    stripe["stripe-signature"] += ",v1=" + "0" * 64 + ",v0=zz"
    check(Verify("stripe"), [SECRET], stripe, BODY, NOW)
    verify, standard = headers("standard")
    standard["webhook-signature"] = "v1,AAAA " + standard["webhook-signature"]
    check(verify, [SECRET], standard, BODY, NOW)


def test_a_password_needs_its_user_and_a_key_its_header() -> None:
    verify, sent = headers("basic", username="shop")
    check(verify, [SECRET], sent, b"", NOW)
    other = base64.b64encode(f"bank:{SECRET}".encode()).decode()
    with pytest.raises(NotVerified):
        check(verify, [SECRET], {"authorization": f"Basic {other}"}, b"", NOW)
    verify, sent = headers("api_key", header="X-My-Key")
    assert sent["x-my-key"] == SECRET
    check(verify, [SECRET], sent, b"", NOW)
    assert "x-my-key" in verify.secret_headers


@pytest.mark.parametrize(
    ("scheme", "sent", "payload", "expected"),
    [
        ("hmac", {"x-webhook-id": "1"}, None, "1"),
        ("hmac", {"webhook-id": "2"}, {"id": "x"}, "2"),
        ("hmac", {}, {"id": "x"}, None),
        ("github", {"x-github-delivery": "3"}, None, "3"),
        ("standard", {"webhook-id": "4"}, None, "4"),
        ("stripe", {}, {"id": "evt_5"}, "evt_5"),
        ("slack", {}, {"event_id": "Ev6"}, "Ev6"),
        ("slack", {}, [1], None),
        ("stripe", {}, {"id": 7}, None),
        ("telegram", {}, {"update_id": 8}, "8"),
        ("telegram", {}, {"update_id": True}, None),
        ("telegram", {}, {"update_id": "8"}, None),
    ],
)
def test_where_the_id_of_a_delivery_stands(
    scheme: Any, sent: dict[str, str], payload: Any, expected: Any
) -> None:
    assert delivery_id(Verify(scheme), sent, payload) == expected


def test_an_id_may_stand_elsewhere_and_has_to_be_one() -> None:
    verify = Verify.parse({"scheme": "hmac", "delivery_id": "X-My-Id"})
    assert delivery_id(verify, {"x-my-id": "9", "x-webhook-id": "1"}, None) == "9"
    for odd in ("", "x" * 256, "a\0b", "a\nb"):
        with pytest.raises(NotVerified):
            delivery_id(verify, {"x-my-id": odd}, None)


def test_slack_is_answered_what_it_asks() -> None:
    asked = {"type": "url_verification", "challenge": "abc"}
    assert challenge(Verify("slack"), asked) == "abc"
    assert challenge(Verify("hmac"), asked) is None
    assert challenge(Verify("slack"), {**asked, "challenge": 7}) is None
    assert challenge(Verify("slack"), json.loads("[1]")) is None


def test_a_made_secret_fits_every_scheme() -> None:
    for scheme in SCHEMES:
        for fill in (0, 255):
            secret = make_secret(lambda count, fill=fill: bytes([fill] * count), scheme)  # type: ignore[misc]
            assert secret_fault(scheme, secret) is None


@pytest.mark.parametrize(
    ("scheme", "secret"),
    [
        ("hmac", "short"),
        ("telegram", "no+slash/and=equals"),
        ("hmac", "x" * 1_001),
        ("hmac", "ä" * 20),
        ("hmac", "a\nb" * 8),
        ("standard", "!" * 40),
        ("standard", "whsec_AAAAAAAAAAAAAAAA"),
    ],
)
def test_what_is_no_secret(scheme: Any, secret: str) -> None:
    assert secret_fault(scheme, secret) is not None
