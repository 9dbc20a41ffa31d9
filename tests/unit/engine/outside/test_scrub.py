from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac import Json
from engine.outside.scrub import MARK, forms_of, scrub

SECRET = 'pä/ss+w"ör\\d=1 &x'


def forms(secret: str) -> dict[str, str]:
    data = secret.encode()
    return {
        "raw": secret,
        "quoted": quote(secret),
        "quoted whole": quote(secret, safe=""),
        "quoted plus": quote_plus(secret),
        "quoted lower": quote(secret, safe="").lower() if secret.islower() else quote(secret, safe=""),
        "form": urlencode({"k": secret}),
        "base64": base64.b64encode(data).decode(),
        "base64 url": base64.urlsafe_b64encode(data).decode(),
        "base64 unpadded": base64.urlsafe_b64encode(data).decode().rstrip("="),
        "hex": data.hex(),
        "HEX": data.hex().upper(),
        "json": json.dumps(secret),
        "json utf-8": json.dumps(secret, ensure_ascii=False),
        "json twice": json.dumps(json.dumps(secret)),
        "json with slashes": json.dumps(secret).replace("/", "\\/"),
        "in basic": base64.b64encode(b"user:" + data).decode(),
        "in basic 2": base64.b64encode(b"user1:" + data + b"more").decode(),
        "in basic 3": base64.b64encode(b"user12:" + data).decode(),
    }


def remains(text: str, secret: str) -> list[str]:
    return [name for name, form in forms(secret).items() if form in text]


@pytest.mark.parametrize("form", forms(SECRET).keys())
def test_a_secret_is_found_in_every_form_in_the_middle_of_text(form: str) -> None:
    text = f"before {forms(SECRET)[form]} after"

    cleaned = scrub(text, {SECRET})

    assert isinstance(cleaned, str)
    assert (MARK in cleaned, cleaned.startswith("before "), cleaned.endswith(" after")) == (True, True, True)
    assert remains(cleaned, SECRET) == []


@settings(deadline=None)
@given(
    st.text(st.characters(codec="utf-8", exclude_characters="*"), min_size=6, max_size=30),
    st.text(max_size=10),
    st.text(max_size=10),
)
def test_no_form_of_any_secret_survives(secret: str, before: str, after: str) -> None:
    for form in forms(secret).values():
        cleaned = scrub(f"{before}{form}{after}", {secret})
        assert isinstance(cleaned, str)
        assert secret not in cleaned


def test_a_secret_is_found_at_any_depth_and_in_keys_and_numbers() -> None:
    value: Json = {"a": [{"b": "x hunter22 y"}, "hunter22"], "hunter22": 1, "n": 12345678, "m": 123456789}

    assert scrub(value, {"hunter22", "12345678"}) == {
        "a": [{"b": f"x {MARK} y"}, MARK],
        MARK: 1,
        "n": MARK,
        "m": 123456789,
    }


@pytest.mark.parametrize("value", [None, True, False, 0, 1.5, "", "text", [], {}, [None, {"a": []}]])
def test_what_holds_no_secret_stays_as_it_is(value: Json) -> None:
    assert scrub(value, {"hunter22"}) == value


def test_a_number_too_large_to_print_is_left() -> None:
    assert scrub(10**5000, {"hunter22"}) == 10**5000


def test_without_secrets_the_very_value_comes_back() -> None:
    value: Json = {"a": [1]}

    assert scrub(value, set()) is value
    assert scrub(value, {"short"}) is value


def test_short_secrets_are_left() -> None:
    assert (forms_of({"12345"}), scrub("a12345", {"12345"})) == ((), "a12345")
    assert scrub("a123456b", {"123456"}) == f"a{MARK}b"


def test_a_secret_inside_another_leaves_nothing_of_the_longer_one() -> None:
    assert scrub("hunter22-and-more", {"hunter22", "hunter22-and-more"}) == MARK


def test_values_nested_as_deep_as_json_can_be_read_are_cleaned() -> None:
    value: Json = "hunter22"
    for _ in range(700):
        value = [value]

    cleaned = scrub(value, {"hunter22"})
    while isinstance(cleaned, list):
        cleaned = cleaned[0]

    assert cleaned == MARK


def test_the_input_is_not_changed() -> None:
    value: Json = {"a": ["hunter22"]}
    scrub(value, {"hunter22"})

    assert value == {"a": ["hunter22"]}
