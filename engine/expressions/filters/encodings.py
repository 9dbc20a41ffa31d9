"""Filters between values and the notations of other systems."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from engine.expressions.error import NUMBER, TOO_LARGE, TYPE, VALUE, Refused
from engine.expressions.evaluation import Evaluation
from engine.expressions.values import (
    Json,
    chunks,
    entries,
    integer_from,
    json_of,
    kind,
    size,
    text_from,
    text_of,
    utf8,
)

_INDENT = 8


def tojson(evaluation: Evaluation, value: Json, indent: Json = None) -> Json:
    """As JSON, compact or with each level indented by so many blanks."""
    if indent is None:
        return json_of(evaluation, value)
    width = integer_from(indent, "indent")
    if not 1 <= width <= _INDENT:
        raise Refused(VALUE, f"indents by 1 to {_INDENT} blanks")
    return json_of(evaluation, value, width)


def fromjson(evaluation: Evaluation, value: Json) -> Json:
    """The value that JSON text means."""
    text = text_from(value)
    evaluation.build(size(text))
    evaluation.spend(sum(text.count(mark) for mark in "[{,:"))

    def integer(digits: str) -> int:
        if len(digits) > min(evaluation.limits.int_bits, 4_000):
            raise Refused(TOO_LARGE, f"meets an integer of more than {evaluation.limits.int_bits:,} bits")
        return int(evaluation.number(int(digits)))

    def number(digits: str) -> float:
        found = float(digits)
        if not math.isfinite(found):
            raise Refused(NUMBER, "meets a number that JSON cannot hold")
        return found

    def no_constant(_: str) -> None:
        raise Refused(VALUE, "needs JSON, which has no NaN and no Infinity")

    try:
        return json.loads(  # type: ignore[no-any-return]
            text, parse_int=integer, parse_float=number, parse_constant=no_constant
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Refused(VALUE, f"needs JSON, and stops to understand it at {place}") from None
    except RecursionError:
        raise Refused(TOO_LARGE, "meets lists or objects that stand too deep in each other") from None


def urlencode(evaluation: Evaluation, value: Json) -> Json:
    """Safe as one part of a URL; an object becomes a query, `a=1&b=2`."""
    if type(value) is dict:
        evaluation.spend(len(value))
        parts = []
        for key, each in entries(value):
            if each is None or type(each) is list or type(each) is dict:
                raise Refused(TYPE, f"needs text, numbers or booleans in an object, not {kind(each)}")
            parts.append(f"{_quoted(evaluation, key)}={_quoted(evaluation, text_of(evaluation, each))}")
        evaluation.build(sum(map(len, parts)) + len(parts))
        return "&".join(parts)
    return _quoted(evaluation, text_from(value))


def _quoted(evaluation: Evaluation, text: str) -> str:
    evaluation.build(3 * size(text))
    return quote(utf8(text), safe="")


def urldecode(evaluation: Evaluation, value: Json) -> Json:
    """What a part of a URL means; a plus stays a plus."""
    text = text_from(value)
    evaluation.build(size(text))
    evaluation.spend(text.count("%"))
    return _text(unquote_to_bytes(utf8(text)))


def b64encode(evaluation: Evaluation, value: Json) -> Json:
    """The UTF-8 of a text in base64."""
    text = text_from(value)
    evaluation.build((size(text) + 2) // 3 * 4)
    return base64.b64encode(utf8(text)).decode("ascii")


def b64decode(evaluation: Evaluation, value: Json) -> Json:
    """The text whose UTF-8 this base64 is; the URL alphabet and missing padding are understood too."""
    text = text_from(value)
    evaluation.build(size(text))
    data = utf8(text).translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    try:
        return _text(base64.b64decode(data + b"=" * (-len(data) % 4), validate=True))
    except binascii.Error:
        raise Refused(VALUE, "needs base64") from None


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Refused(VALUE, "comes to bytes that are no UTF-8 text") from None


def sha256(evaluation: Evaluation, value: Json) -> Json:
    """The SHA-256 of a text's UTF-8, in hexadecimal digits."""
    text = text_from(value)
    evaluation.read(text)
    digest = hashlib.sha256()
    for chunk in chunks(text):
        digest.update(utf8(chunk))
    return digest.hexdigest()


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "tojson": tojson,
    "fromjson": fromjson,
    "urlencode": urlencode,
    "urldecode": urldecode,
    "b64encode": b64encode,
    "b64decode": b64decode,
    "sha256": sha256,
}
