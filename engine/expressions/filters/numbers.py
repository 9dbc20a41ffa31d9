"""Filters on numbers, and from text to numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final

from engine.expressions.error import NUMBER, TOO_LARGE, TYPE, VALUE, Refused
from engine.expressions.evaluation import Evaluation
from engine.expressions.values import MISSING, Json, Missing, integer_from, kind, number_from, text_from

_NUMBER = re.compile(r"\s*[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\s*", re.ASCII)
_INTEGER = re.compile(r"\s*[-+]?[0-9]+\s*", re.ASCII)
DIGITS = 15
"""How many decimals a rounding may name; a double has no more."""


def absolute(evaluation: Evaluation, value: Json) -> Json:
    """Without its sign."""
    return evaluation.number(abs(number_from(value)))


def round_(evaluation: Evaluation, value: Json, precision: Json = 0, method: Json = "common") -> Json:
    """Rounded to so many decimals, "common" (ties to even), "ceil" or "floor"; an integer if there are none."""
    number, digits, how = number_from(value), _digits(precision, "precision"), text_from(method, "method")
    if how not in ("common", "ceil", "floor"):
        raise Refused(VALUE, "rounds by the methods common, ceil and floor")
    if type(number) is int and digits >= 0:
        return number
    if how == "common":
        rounded = round(number, digits)
    else:
        scale = 10.0**digits
        try:
            rounded = (math.ceil if how == "ceil" else math.floor)(number * scale) / scale
        except OverflowError:
            raise Refused(NUMBER, "comes to a number that JSON cannot hold") from None
    return evaluation.number(int(evaluation.number(rounded)) if digits <= 0 else rounded)


def fixed(evaluation: Evaluation, value: Json, decimals: Json = 2) -> Json:
    """Text with exactly so many decimals."""
    number, digits = number_from(value), _digits(decimals, "decimals")
    if digits < 0:
        raise Refused(VALUE, "cannot write fewer than no decimals")
    if type(number) is int:
        evaluation.number(number)
        return str(number) + ("." + "0" * digits if digits else "")
    return f"{evaluation.number(number):.{digits}f}"


def _digits(value: Json, name: str) -> int:
    digits = integer_from(value, name)
    if abs(digits) > DIGITS:
        raise Refused(VALUE, f"knows at most {DIGITS} decimals")
    return digits


def int_(evaluation: Evaluation, value: Json, default: Json | Missing = MISSING) -> Json:
    """An integer, without what stood behind the point; text that is no number is an error, or the default."""
    number = _number(evaluation, value)
    if number is not None:
        return evaluation.number(int(number))
    return _otherwise(value, default)


def float_(evaluation: Evaluation, value: Json, default: Json | Missing = MISSING) -> Json:
    """A number with a fraction; text that is no number is an error, or the default."""
    number = _number(evaluation, value)
    if number is not None:
        try:
            return evaluation.number(float(number))
        except OverflowError:
            raise Refused(NUMBER, "comes to a number that JSON cannot hold") from None
    return _otherwise(value, default)


def _number(evaluation: Evaluation, value: Json) -> int | float | None:
    if type(value) is int or type(value) is float:
        return evaluation.number(value)
    if type(value) is bool:
        return int(value)
    if type(value) is not str:
        return None
    evaluation.read(value)
    if _INTEGER.fullmatch(value):
        # More digits than bits are too many in any case, and slow to read; Python itself stops at 4,300.
        if len(value) > min(evaluation.limits.int_bits, 4_000):
            raise Refused(TOO_LARGE, f"comes to an integer of more than {evaluation.limits.int_bits:,} bits")
        return evaluation.number(int(value))
    return evaluation.number(float(value)) if _NUMBER.fullmatch(value) else None


def _otherwise(value: Json, default: Json | Missing) -> Json:
    if not isinstance(default, Missing):
        return default
    what = "text that is no number" if type(value) is str else kind(value)
    raise Refused(
        VALUE if type(value) is str else TYPE,
        f"cannot make a number of {what}",
        "Name a default: `| int(0)`.",
    )


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "abs": absolute,
    "round": round_,
    "fixed": fixed,
    "int": int_,
    "float": float_,
}
