"""What stands between two values. Every operator knows the size of its result before it makes it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from engine.expressions.error import NUMBER, TOO_LARGE, TYPE, Refused
from engine.expressions.evaluation import Evaluation
from engine.expressions.values import Json, contains, equal, is_number, kind, number_from, size, text_of

Binary = Callable[[Evaluation, Json, Json], Json]


def _computed(evaluation: Evaluation, operation: Callable[[Any, Any], Any], left: Json, right: Json) -> Json:
    if not (is_number(left) and is_number(right)):
        raise Refused(TYPE, f"needs two numbers, not {kind(left)} and {kind(right)}")
    try:
        return evaluation.number(operation(left, right))
    except ZeroDivisionError:
        raise Refused(NUMBER, "divides by zero") from None
    except OverflowError:
        raise Refused(NUMBER, "comes to a number that JSON cannot hold") from None


def add(evaluation: Evaluation, left: Json, right: Json) -> Json:
    """Add numbers, join texts, join lists."""
    if type(left) is str and type(right) is str:
        evaluation.build(size(left) + size(right))
        return left + right
    if type(left) is list and type(right) is list:
        evaluation.spend(len(left) + len(right))
        return [*left, *right]
    if not (is_number(left) and is_number(right)):
        reason = f"needs two numbers, two texts or two lists, not {kind(left)} and {kind(right)}"
        raise Refused(TYPE, reason, "`~` joins anything as text.")
    return _computed(evaluation, operator.add, left, right)


def subtract(evaluation: Evaluation, left: Json, right: Json) -> Json:
    """Subtract numbers."""
    return _computed(evaluation, operator.sub, left, right)


def multiply(evaluation: Evaluation, left: Json, right: Json) -> Json:
    """Multiply numbers; repeat a text or a list."""
    if type(left) is int and (type(right) is str or type(right) is list):
        left, right = right, left
    if type(left) is str and type(right) is int:
        evaluation.build(size(left) * max(right, 0))
        return left * right
    if type(left) is list and type(right) is int:
        evaluation.spend(len(left) * max(right, 0))
        return left * right
    if type(left) is int and type(right) is int and left and right:
        # The product has the bits of both, or one less.
        bits = evaluation.limits.int_bits
        if left.bit_length() + right.bit_length() - 1 > bits:
            raise Refused(TOO_LARGE, f"comes to an integer of more than {bits:,} bits")
    return _computed(evaluation, operator.mul, left, right)


def divide(evaluation: Evaluation, left: Json, right: Json) -> Json:
    """Divide numbers; the result is never an integer."""
    return _computed(evaluation, operator.truediv, left, right)


def divide_whole(evaluation: Evaluation, left: Json, right: Json) -> Json:
    """Divide numbers and round down."""
    return _computed(evaluation, operator.floordiv, left, right)


def remainder(evaluation: Evaluation, left: Json, right: Json) -> Json:
    """Return what `//` leaves; it has the sign of the divisor."""
    return _computed(evaluation, operator.mod, left, right)


def joined(evaluation: Evaluation, values: list[Json]) -> Json:
    """Return the values' texts one behind the other."""
    texts: list[str] = []
    for each in values:
        text = text_of(evaluation, each)
        evaluation.build(size(text))
        texts.append(text)
    return "".join(texts)


def negate(evaluation: Evaluation, value: Json) -> Json:
    """Return the number with its sign turned."""
    return evaluation.number(-number_from(value))


def affirm(evaluation: Evaluation, value: Json) -> Json:
    """Return the number."""
    return evaluation.number(number_from(value))


def _ordering(operation: Callable[[Any, Any], bool]) -> Binary:
    def compare(evaluation: Evaluation, left: Json, right: Json) -> Json:
        if (type(left) is int or type(left) is float) and (type(right) is int or type(right) is float):
            return operation(left, right)
        if type(left) is str and type(right) is str:
            evaluation.read(left if len(left) < len(right) else right)
            return operation(left, right)
        raise Refused(TYPE, f"needs two numbers or two texts, not {kind(left)} and {kind(right)}")

    return compare


less = _ordering(operator.lt)
at_most = _ordering(operator.le)
greater = _ordering(operator.gt)
at_least = _ordering(operator.ge)


def unequal(evaluation: Evaluation, left: Json, right: Json) -> Json:
    """Return whether two values differ."""
    return not equal(evaluation, left, right)


def within(evaluation: Evaluation, left: Json, right: Json) -> Json:
    """Return whether the right contains the left."""
    return contains(evaluation, right, left)


def not_within(evaluation: Evaluation, left: Json, right: Json) -> Json:
    """Return whether the right does not contain the left."""
    return not contains(evaluation, right, left)
