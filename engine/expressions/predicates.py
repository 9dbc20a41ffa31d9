"""The tests: what can stand behind `is`, and be given to `select` and `reject`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engine.expressions import operators
from engine.expressions.error import NUMBER, Refused
from engine.expressions.evaluation import Evaluation
from engine.expressions.filters.texts import endswith, startswith
from engine.expressions.values import MISSING, Json, Missing, contains, equal, integer_from, text_from

EXISTENCE: Final = ("defined", "undefined")
"""The tests that ask whether there is a value; for all others there has to be one."""


def defined(_: Evaluation, value: Json | Missing) -> bool:
    """Is there such a value? Null is one."""
    return value is not MISSING


def undefined(_: Evaluation, value: Json | Missing) -> bool:
    """Is there no such value?"""
    return value is MISSING


def none(_: Evaluation, value: Json) -> bool:
    """Is it null?"""
    return value is None


def true(_: Evaluation, value: Json) -> bool:
    """Is it the boolean true?"""
    return value is True


def false(_: Evaluation, value: Json) -> bool:
    """Is it the boolean false?"""
    return value is False


def boolean(_: Evaluation, value: Json) -> bool:
    """Is it true or false?"""
    return type(value) is bool


def number(_: Evaluation, value: Json) -> bool:
    """Is it a number?"""
    return type(value) is int or type(value) is float


def integer(_: Evaluation, value: Json) -> bool:
    """Is it a number without fraction and exponent?"""
    return type(value) is int


def float_(_: Evaluation, value: Json) -> bool:
    """Is it a number with fraction or exponent?"""
    return type(value) is float


def string(_: Evaluation, value: Json) -> bool:
    """Is it text?"""
    return type(value) is str


def list_(_: Evaluation, value: Json) -> bool:
    """Is it a list?"""
    return type(value) is list


def object_(_: Evaluation, value: Json) -> bool:
    """Is it an object?"""
    return type(value) is dict


def empty(_: Evaluation, value: Json) -> bool:
    """Is it null, or text, a list or an object with nothing in it? Zero and false are not empty."""
    return value is None or value == "" or (type(value) in (list, dict) and not value)


def even(_: Evaluation, value: Json) -> bool:
    """Is it an even integer?"""
    return integer_from(value) % 2 == 0


def odd(_: Evaluation, value: Json) -> bool:
    """Is it an odd integer?"""
    return integer_from(value) % 2 == 1


def divisibleby(_: Evaluation, value: Json, num: Json) -> bool:
    """Does the number go into it without a remainder?"""
    divisor = integer_from(num, "num")
    if divisor == 0:
        raise Refused(NUMBER, "divides by zero")
    return integer_from(value) % divisor == 0


def eq(evaluation: Evaluation, value: Json, other: Json) -> bool:
    """Are both the same JSON?"""
    return equal(evaluation, value, other)


def ne(evaluation: Evaluation, value: Json, other: Json) -> bool:
    """Do they differ?"""
    return not equal(evaluation, value, other)


def lt(evaluation: Evaluation, value: Json, other: Json) -> bool:
    """Is it less?"""
    return operators.less(evaluation, value, other) is True


def le(evaluation: Evaluation, value: Json, other: Json) -> bool:
    """Is it less, or equal?"""
    return operators.at_most(evaluation, value, other) is True


def gt(evaluation: Evaluation, value: Json, other: Json) -> bool:
    """Is it greater?"""
    return operators.greater(evaluation, value, other) is True


def ge(evaluation: Evaluation, value: Json, other: Json) -> bool:
    """Is it greater, or equal?"""
    return operators.at_least(evaluation, value, other) is True


def in_(evaluation: Evaluation, value: Json, seq: Json) -> bool:
    """Is it an item of the list, a part of the text, or a key of the object?"""
    return contains(evaluation, seq, value)


def contains_(evaluation: Evaluation, value: Json, item: Json) -> bool:
    """Is the item in it? The same as `in`, the other way round."""
    return contains(evaluation, value, item)


def lower(evaluation: Evaluation, value: Json) -> bool:
    """Is the text in small letters?"""
    text = text_from(value)
    evaluation.read(text)
    return text.islower()


def upper(evaluation: Evaluation, value: Json) -> bool:
    """Is the text in capitals?"""
    text = text_from(value)
    evaluation.read(text)
    return text.isupper()


PREDICATES: Final[dict[str, Callable[..., bool]]] = {
    "defined": defined,
    "undefined": undefined,
    "none": none,
    "null": none,
    "true": true,
    "false": false,
    "boolean": boolean,
    "number": number,
    "integer": integer,
    "float": float_,
    "string": string,
    "list": list_,
    "object": object_,
    "mapping": object_,
    "empty": empty,
    "even": even,
    "odd": odd,
    "divisibleby": divisibleby,
    "eq": eq,
    "equalto": eq,
    "ne": ne,
    "lt": lt,
    "lessthan": lt,
    "le": le,
    "gt": gt,
    "greaterthan": gt,
    "ge": ge,
    "in": in_,
    "contains": contains_,
    "startswith": startswith,
    "endswith": endswith,
    "lower": lower,
    "upper": upper,
}
