"""The border between a node's value and what is stored: strict JSON, within the limit, or a typed failure of that node.

Source: RFC 8259; I-JSON (RFC 7493) for what is refused: NaN and Infinity, lone surrogates. NUL is refused because
PostgreSQL cannot store it as text.
"""

from __future__ import annotations

import hashlib
import json
import re

from celeriac import Fail, Json
from engine.operations import Blob, Payload

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_MODEST = 64 * 1024
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def encode(value: object, limit: int) -> str:
    """Return the JSON text of a value. Raises `Fail` (`node.output_invalid`, `node.output_too_large`)."""
    try:
        text = _text_of(value)
        size = len(text) if text.isascii() else len(text.encode())
    except (TypeError, ValueError, RecursionError, UnicodeEncodeError) as error:
        message = f"The output is not JSON: {_reason(error)}."
        raise Fail("node.output_invalid", message) from error
    if "\\u0000" in text and _NUL.search(text):
        message = "The output holds the character NUL, which cannot be stored as text."
        raise Fail("node.output_invalid", message)
    if size > limit:
        message = f"The output has {size:,} bytes; the limit is {limit:,}."
        raise Fail("node.output_too_large", message, {"size": size, "limit": limit})
    return text


_KEPT = json.encoder.c_make_encoder(  # type: ignore[attr-defined]  # not in its stubs
    None,
    _ENCODER.default,
    json.encoder.encode_basestring,
    None,
    ":",
    ",",
    False,
    False,
    False,
)
"""What `_ENCODER.encode` makes anew for every value, at twice the cost of encoding a small one. It looks for no circles."""


def _text_of(value: object) -> str:
    try:
        return "".join(_KEPT(value, 0))
    except RecursionError:
        return _ENCODER.encode(value)  # which tells a circle from what is nested too deep


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "it holds half of a surrogate pair"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return str(error)


def storable(value: object) -> Json:
    """Return a value that can be stored: itself when it is JSON of a modest size, else the beginning of how Python shows it.

    For what only accompanies an outcome (details, log fields) and must not change it.
    """
    try:
        encode(value, _MODEST)
    except Fail:
        return repr(value)[:200].encode("ascii", "backslashreplace").decode()
    return value  # type: ignore[return-value]  # encode has found it to be JSON


def place(text: str, blob_from: int) -> tuple[Payload, Blob | None]:
    """Return where a text goes: into its row, or into a blob named by its SHA-256 when it is large."""
    if len(text) < blob_from:
        return Payload(text=text), None
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Payload(blob=digest), Blob(digest, text)


def decode(text: str | None) -> Json:
    """Return a stored value; nothing stored is null."""
    return None if text is None else json.loads(text)
