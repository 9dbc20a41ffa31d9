"""Removal of secrets by value from what leaves a node: outputs, errors, log lines. Pure.

A secret is looked for in every form an honest server or a stack trace may echo it in. Structure is no help
here: a server may return a key under any name, in the middle of any text.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Sequence
from functools import partial
from urllib.parse import quote, quote_plus

from celeriac import Json

MARK = "***"
"""What stands in a secret's place."""

SHORTEST = 6
"""Secrets shorter than this are left: they would be found everywhere, and tell by their absence what they
are.
"""

_WIDEST = 4096
"""Bits of a number that is compared with secrets made of digits; Python refuses to print much larger ones."""


def scrub(value: Json, secrets: Collection[str]) -> Json:
    """Return the value without any form of the secrets; the same object when none is there to look for."""
    forms = forms_of(secrets)
    return _without(value, forms) if forms else value


def forms_of(secrets: Collection[str]) -> tuple[str, ...]:
    """Return every text that gives a secret away, the longest first: raw, URL-encoded, JSON-escaped, base64
    and hex.
    """
    found: set[str] = set()
    for secret in secrets:
        if len(secret) >= SHORTEST:
            found |= _forms(secret)
    return tuple(sorted(found, key=lambda form: (-len(form), form)))


def safe_length(text: str, forms: Sequence[str]) -> int:
    """Return how much of a text that goes on can be told: none of the forms (the longest first) reaches over that place.

    Behind it stands what may be the beginning of one, and seldom more than a few characters.
    """
    end = len(text)
    first = max(0, end - max(map(len, forms), default=1) + 1)
    found = next((at for at in range(first, end) if any(each.startswith(text[at:]) for each in forms)), end)
    while (across := _first_across(text, forms, found)) is not None:
        found = across
    return found


def _first_across(text: str, forms: Sequence[str], place: int) -> int | None:
    """Return where a form begins that reaches over a place."""
    for form in forms:
        at = text.find(form, max(0, place - len(form) + 1), place + len(form) - 1)
        if at >= 0:
            return at
    return None


def _forms(secret: str) -> set[str]:
    data = secret.encode("utf-8", "surrogatepass")
    encoded = {
        encode(data)
        for encode in (quote, partial(quote, safe=""), quote_plus, partial(quote, safe="!'()*~/"))
    }
    encoded |= {_lower_escapes(each) for each in encoded}
    escaped = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    escaped |= {each.replace("/", "\\/") for each in escaped}
    escaped |= {json.dumps(each)[1:-1] for each in escaped}
    return {secret, data.hex(), data.hex().upper()} | encoded | escaped | _base64_forms(data)


def _lower_escapes(text: str) -> str:
    first, *others = text.split("%")
    return first + "".join(f"%{each[:2].lower()}{each[2:]}" for each in others)


def _base64_forms(data: bytes) -> set[str]:
    """Return base64 of the secret alone, and its inner part at each of the three places it can begin in a
    longer text.
    """
    found: set[str] = set()
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + data).decode()
        # The first characters depend on what stands before, the last ones on what follows.
        first = (shift * 8 + 5) // 6
        last = (shift + len(data)) * 8 // 6
        found.add(encoded[first:last])
    found.add(base64.b64encode(data).decode())
    return found | {each.replace("+", "-").replace("/", "_") for each in found}


def _without(value: Json, forms: tuple[str, ...]) -> Json:
    if isinstance(value, str):
        return without(value, forms)
    if isinstance(value, dict):
        cleaned: dict[str, Json] = {}
        for key, each in value.items():
            cleaned[without(key, forms)] = _without(each, forms)
        return cleaned
    if isinstance(value, list):
        # No comprehension: its frame of its own would halve the depth that can be cleaned.
        items = value.copy()
        for index, each in enumerate(value):
            items[index] = _without(each, forms)
        return items
    if isinstance(value, int) and value.bit_length() < _WIDEST and str(value) in forms:
        return MARK
    return value


def without(text: str, forms: Sequence[str]) -> str:
    """Return a text without any of the forms (the longest first)."""
    # Substring search runs at memory speed; one alternation of all forms would look at each character many
    # times.
    for form in forms:
        if form in text:
            text = text.replace(form, MARK)
    return text
