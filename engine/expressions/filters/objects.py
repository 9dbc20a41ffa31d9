"""Filters on objects, and on any value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from engine.expressions.error import TYPE, VALUE, Refused
from engine.expressions.evaluation import Evaluation
from engine.expressions.filters.lists import items_of
from engine.expressions.values import (
    MISSING,
    Json,
    boolean_from,
    entries,
    follow,
    kind,
    object_from,
    orderable,
    size,
    text_from,
    word,
)


def _paid(evaluation: Evaluation, value: Json, name: str | None = None) -> dict[str, Json]:
    mapping = object_from(value, name)
    evaluation.spend(len(mapping))
    return dict(entries(mapping))


def default(
    _: Evaluation,
    value: Json,
    default_value: Json = "",
    boolean: Json = False,
) -> Json:
    """The default value where there is none; with `boolean` also in the place of what counts as false."""
    return default_value if boolean and not value else value


def get(_: Evaluation, value: Json, key: Json, default: Json = None) -> Json:
    """What stands under a key or at an index; the default, or null, if there is nothing."""
    if type(value) is not dict and type(value) is not list:
        raise Refused(TYPE, f"needs an object or a list, not {kind(value)}")
    if type(key) is not str and type(key) is not int:
        raise Refused(TYPE, f"needs text or an integer for `key`, not {kind(key)}")
    found = follow(value, (key,))
    return default if found is MISSING else found  # type: ignore[return-value]


def items(evaluation: Evaluation, value: Json) -> Json:
    """Pairs of key and value: `{% for key, value in x | items %}`."""
    return [[key, each] for key, each in _paid(evaluation, value).items()]


def keys(evaluation: Evaluation, value: Json) -> Json:
    """The keys."""
    return list(_paid(evaluation, value))


def values(evaluation: Evaluation, value: Json) -> Json:
    """The values."""
    return list(_paid(evaluation, value).values())


def merge(evaluation: Evaluation, value: Json, other: Json) -> Json:
    """The keys of both; where both have one, the other's value."""
    return _paid(evaluation, value) | _paid(evaluation, other, "other")


def pick(evaluation: Evaluation, value: Json, *names: Json) -> Json:
    """Only these keys, as far as it has them."""
    mapping = _paid(evaluation, value)
    return {name: mapping[name] for name in _names(evaluation, names) if name in mapping}


def omit(evaluation: Evaluation, value: Json, *names: Json) -> Json:
    """Without these keys."""
    left_out = frozenset(_names(evaluation, names))
    return {key: each for key, each in _paid(evaluation, value).items() if key not in left_out}


def _names(evaluation: Evaluation, names: tuple[Json, ...]) -> list[str]:
    """Return names given one by one, or as one list."""
    given = items_of(evaluation, names[0]) if len(names) == 1 and type(names[0]) is list else names
    return [text_from(name, "names") for name in given]


def dictsort(
    evaluation: Evaluation,
    value: Json,
    case_sensitive: Json = True,
    by: Json = "key",
    reverse: Json = False,
) -> Json:
    """Pairs of key and value, in the order of the keys, or by="value"."""
    pairs = list(_paid(evaluation, value).items())
    if by not in ("key", "value"):
        raise Refused(VALUE, 'sorts by "key" or by "value"')
    column: list[Json] = [pair[0] if by == "key" else pair[1] for pair in pairs]
    if not boolean_from(case_sensitive, "case_sensitive"):
        evaluation.build(3 * sum(size(each) for each in column if type(each) is str))
        column = [each.lower() if type(each) is str else each for each in column]
    comparable: list[Any] = orderable(evaluation, column)
    order = sorted(range(len(pairs)), key=comparable.__getitem__, reverse=boolean_from(reverse, "reverse"))
    return [list(pairs[place]) for place in order]


def fromitems(evaluation: Evaluation, value: Json) -> Json:
    """An object of pairs of key and value; of equal keys the last counts."""
    made: dict[str, Json] = {}
    for pair in items_of(evaluation, value):
        if type(pair) is not list or len(pair) != 2:
            raise Refused(TYPE, "needs a list of pairs")
        made[text_from(pair[0], "key")] = pair[1]
    return made


def type_(_: Evaluation, value: Json) -> Json:
    """The JSON word for what it is: null, boolean, number, string, array or object."""
    return word(value)


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "default": default,
    "d": default,
    "get": get,
    "items": items,
    "keys": keys,
    "values": values,
    "merge": merge,
    "pick": pick,
    "omit": omit,
    "dictsort": dictsort,
    "fromitems": fromitems,
    "type": type_,
}
