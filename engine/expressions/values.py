"""JSON values and what they mean: kinds, truth, equality, order, text.

Every function looks at the exact type of a value first and never calls into one that is not JSON. So an object that
slipped into a scope is refused as it is, and none of its methods ever runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from engine.expressions.error import NUMBER, TOO_LARGE, TYPE, VALUE, Refused

if TYPE_CHECKING:
    from engine.expressions.evaluation import Evaluation

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None

_LONG = 4_194_304
_CHUNK = 65_536

DEPTH = 200
"""How deep lists and objects may stand inside each other where a value is written as text, compared or walked."""


class Missing:
    """The absence of a value. It never leaves an evaluation."""


MISSING: Final = Missing()

KINDS: Final[dict[type, str]] = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}
"""The exact Python types of JSON values, and how they are called in messages."""

_WORDS: Final[dict[type, str]] = {type(None): "null", bool: "boolean", int: "number", float: "number"} | {
    str: "string",
    list: "array",
    dict: "object",
}

_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


def kind(value: object) -> str:
    """Return how messages call the kind of a value."""
    return KINDS.get(type(value), "something that is not JSON")


def word(value: Json) -> str:
    """Return the JSON Schema word for the type of a value."""
    return _WORDS[type(value)]


def size(text: str) -> int:
    """Return the length in UTF-8, or of what is far beyond every limit the number of characters."""
    if text.isascii() or len(text) > _LONG:
        return len(text)
    return len(text.encode("utf-8", "surrogatepass"))


def is_number(value: object) -> bool:
    """Return whether a value is a JSON number; booleans are none."""
    return type(value) is int or type(value) is float


# What an operator or filter needs. `name` is the argument's, and nothing for the value in front of a filter.


def _unfit(needed: str, value: object, name: str | None) -> Refused:
    place = f" for `{name}`" if name else ""
    return Refused(TYPE, f"needs {needed}{place}, not {kind(value)}")


def text_from(value: object, name: str | None = None) -> str:
    """Return the value if it is text."""
    if type(value) is str:
        return value
    raise _unfit("text", value, name)


def integer_from(value: object, name: str | None = None) -> int:
    """Return the value if it is an integer."""
    if type(value) is int:
        return value
    raise _unfit("an integer", value, name)


def number_from(value: object, name: str | None = None) -> int | float:
    """Return the value if it is a number."""
    if type(value) is int or type(value) is float:
        return value
    raise _unfit("a number", value, name)


def boolean_from(value: object, name: str | None = None) -> bool:
    """Return the value if it is a boolean."""
    if type(value) is bool:
        return value
    raise _unfit("a boolean", value, name)


def list_from(value: object, name: str | None = None) -> list[Json]:
    """Return the value if it is a list."""
    if type(value) is list:
        return value
    raise _unfit("a list", value, name)


def object_from(value: object, name: str | None = None) -> dict[str, Json]:
    """Return the value if it is an object with text keys."""
    if type(value) is dict:
        return value
    raise _unfit("an object", value, name)


def utf8(text: str) -> bytes:
    """Return the text in UTF-8."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Refused(VALUE, "cannot encode text with half a surrogate pair in it") from None


def chunks(text: str) -> Iterator[str]:
    """Iterate over a text in pieces, so that looking at all of it needs no copy of all of it."""
    return (text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK))


# Looking inside.


def follow(value: object, keys: Iterable[str | int]) -> object:
    """Return what stands at the end of a path, JSON or not, and `MISSING` where the path ends early.

    A text key looks into an object, an integer into a list or text (from the end when negative). Nothing else is
    ever looked into: there are no attributes.
    """
    for key in keys:
        if type(value) is dict and type(key) is str:
            value = value.get(key, MISSING)
        elif (type(value) is list or type(value) is str) and type(key) is int:
            value = value[key] if -len(value) <= key < len(value) else MISSING
        else:
            return MISSING
    return value


def keys_of(dotted: Json) -> tuple[str | int, ...]:
    """Return the path that the `attribute` of a filter means: "a.b.0", or one index."""
    if type(dotted) is int:
        return (dotted,)
    parts = text_from(dotted, "attribute").split(".")
    return tuple(
        int(part) if part.isascii() and part.isdigit() and len(part) < 10 else part for part in parts
    )


# Equality and order.


def equal(evaluation: Evaluation, left: object, right: object) -> bool:
    """Return whether two values are the same JSON: `1 == 1.0`, but `true != 1` and `"1" != 1`."""
    if type(left) is str and type(right) is str:
        if len(left) != len(right):
            return False
        evaluation.read(left)
        return left == right
    if is_number(left) and is_number(right):
        return left == right
    if type(left) not in KINDS or type(right) not in KINDS:
        raise Refused(TYPE, "can only compare JSON values")
    if type(left) is not type(right):
        return False
    if type(left) is list or type(left) is dict:
        return _equal_inside(evaluation, left, right)
    return left == right


def _equal_inside(evaluation: Evaluation, left: object, right: object) -> bool:
    pairs = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        evaluation.spend(1)
        if type(one) is list and type(other) is list:
            if len(one) != len(other):
                return False
            evaluation.spend(len(one))
            pairs.extend(zip(one, other, strict=True))
        elif type(one) is dict and type(other) is dict:
            if len(one) != len(other):
                return False
            evaluation.spend(len(one))
            for key, value in entries(one):
                if key not in other:
                    return False
                pairs.append((value, other[key]))
        elif not equal(evaluation, one, other):
            return False
    return True


def entries(mapping: dict[str, Json]) -> Iterator[tuple[str, Json]]:
    """Iterate over an object, and make sure that its keys are text."""
    for key, value in mapping.items():
        if type(key) is not str:
            raise Refused(TYPE, "needs objects with text keys")
        yield key, value


def orderable(evaluation: Evaluation, values: list[Json]) -> list[Json]:
    """Return the values if they can be sorted: all of them numbers, or all of them text."""
    evaluation.spend(len(values))
    if values:
        numbers = is_number(values[0])
        if not numbers:
            text_or = type(values[0]) is str
            if not text_or:
                raise Refused(TYPE, f"can order numbers or texts, not {kind(values[0])}")
        for each in values:
            if is_number(each) is not numbers or (not numbers and type(each) is not str):
                raise Refused(
                    TYPE,
                    f"can order numbers or texts, not a mixture of {kind(values[0])} and {kind(each)}",
                    "Select one kind first, or convert with `string` or `float`.",
                )
            if type(each) is str:
                evaluation.read(each)
    return values


def contains(evaluation: Evaluation, container: object, item: object) -> bool:
    """Return whether a list has an equal item, a text has this part, or an object has this key."""
    if type(container) is list:
        for each in container:
            evaluation.spend(1)
            if equal(evaluation, each, item):
                return True
        return False
    if type(container) is str:
        if type(item) is not str:
            raise Refused(TYPE, f"can look for text in a text, not for {kind(item)}")
        evaluation.read(container)
        return item in container
    if type(container) is dict:
        return type(item) is str and item in container
    raise Refused(TYPE, f"needs a list, an object or text to look in, not {kind(container)}")


def fingerprint(evaluation: Evaluation, value: object) -> str:
    """Return text that is the same for equal values only.

    Text, because its hash is salted: lists of integers that collide on purpose would make a dictionary quadratic.
    """
    if type(value) is str:
        evaluation.read(value)
        return "s" + value if len(value) < _CHUNK else "d" + _digest(evaluation, value)
    if type(value) is list or type(value) is dict:
        return "d" + _digest(evaluation, value)
    if type(value) in KINDS:
        return _scalar(value)
    raise Refused(TYPE, "can only compare JSON values")


def _scalar(value: object) -> str:
    if type(value) is float and value.is_integer():
        return f"n{int(value):x}"
    if type(value) is int:
        return f"n{value:x}"
    return f"n{value!r}"


def _digest(evaluation: Evaluation, value: object) -> str:
    digest = hashlib.blake2b(digest_size=16)
    waiting: list[tuple[object, int]] = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        evaluation.spend(1)
        if type(item) is str:
            evaluation.read(item)
            digest.update(b"s%d:" % len(item))
            for chunk in chunks(item):
                digest.update(chunk.encode("utf-8", "surrogatepass"))
        elif type(item) is list:
            digest.update(b"l%d:" % len(item))
            evaluation.spend(len(item))
            inside = deeper(depth)
            waiting.extend((each, inside) for each in item)
        elif type(item) is dict:
            digest.update(b"o%d:" % len(item))
            evaluation.spend(len(item))
            inside = deeper(depth)
            for key, each in sorted(entries(item), key=lambda entry: entry[0]):
                waiting += ((each, inside), (key, inside))
        elif type(item) in KINDS:
            digest.update(_scalar(item).encode() + b";")
        else:
            raise Refused(TYPE, "can only compare JSON values")
    return digest.hexdigest()


# Text.


def deeper(depth: int) -> int:
    """Return the depth of what stands inside a list or an object of this depth."""
    if depth > DEPTH:
        raise Refused(TOO_LARGE, f"meets lists or objects more than {DEPTH} deep")
    return depth + 1


def text_of(evaluation: Evaluation, value: object) -> str:
    """Return a value as it stands in text: text as it is, everything else as compact JSON."""
    if type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if value is None:
        return "null"
    if type(value) is int:
        return str(evaluation.number(value))
    if type(value) is float:
        return repr(evaluation.number(value))
    return json_of(evaluation, value)


def json_of(evaluation: Evaluation, value: object, indent: int = 0) -> str:
    """Return the value as JSON, on one line or indented, and charged as built."""
    _measure(evaluation, value, indent)
    try:
        text = (
            json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
            if indent
            else _encode(value)
        )
    except ValueError:
        raise Refused(NUMBER, "meets a number that JSON cannot hold") from None
    evaluation.build(size(text))
    return text


def _measure(evaluation: Evaluation, value: object, indent: int) -> None:
    """Refuse a value that is no JSON, is too deep, or has a longer text than may still be built.

    It counts a little less than the text will have (escapes are left out), and builds nothing.
    """
    room = evaluation.built
    total = 0
    waiting: list[tuple[object, int]] = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        if type(item) is str:
            total += len(item) + 2
        elif type(item) is list:
            evaluation.spend(len(item) + 1)
            total += (len(item) + 1) * (1 + indent * depth)
            inside = deeper(depth)
            waiting.extend((each, inside) for each in item)
        elif type(item) is dict:
            evaluation.spend(len(item) + 1)
            total += (len(item) + 1) * (1 + indent * depth)
            inside = deeper(depth)
            for key, each in entries(item):
                total += len(key) + 3
                waiting.append((each, inside))
        elif type(item) is int:
            evaluation.number(item)
            total += item.bit_length() // 4 + 1
        elif type(item) in KINDS:
            total += 3
        else:
            raise Refused(TYPE, f"can write JSON only, not {kind(item)}")
        if total > room:
            evaluation.build(total)
