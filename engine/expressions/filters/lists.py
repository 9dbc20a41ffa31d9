"""Filters on lists."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

from engine.expressions.error import TYPE, UNKNOWN_KEY, VALUE, Refused
from engine.expressions.evaluation import Evaluation
from engine.expressions.operators import add
from engine.expressions.values import (
    KINDS,
    MISSING,
    Json,
    Missing,
    boolean_from,
    fingerprint,
    follow,
    integer_from,
    keys_of,
    kind,
    list_from,
    orderable,
    size,
    text_from,
    text_of,
)

# What the filters share.


def items_of(evaluation: Evaluation, value: Json) -> list[Json]:
    """Return the items of a list, paid for and each of them JSON by its own type."""
    items = list_from(value)
    evaluation.spend(len(items))
    for item in items:
        if type(item) not in KINDS:
            raise Refused(TYPE, f"needs a list of JSON values, and met {kind(item)}")
    return items


def attribute_in(
    item: Json, keys: Sequence[str | int], number: int, *, tolerant: bool = False
) -> Json | Missing:
    """Return what an item has at a path; absence is an error, or `MISSING` if tolerated."""
    found = follow(item, keys)
    if type(found) in KINDS or (tolerant and found is MISSING):
        return found  # type: ignore[return-value]
    if found is MISSING:
        hint = "Keep the items that have it first: `| selectattr('name', 'defined')`."
        raise Refused(UNKNOWN_KEY, f"finds no such attribute in item {number}", hint)
    raise Refused(TYPE, f"needs a list of JSON values, and met {kind(found)}")


def _attributes(evaluation: Evaluation, items: list[Json], attribute: Json) -> list[Json]:
    """Return what to look at instead of each item: its attribute, or itself if none is named."""
    if attribute is None:
        return items
    keys = keys_of(attribute)
    evaluation.spend(len(items))
    return [attribute_in(item, keys, number) for number, item in enumerate(items)]  # type: ignore[misc]


def _folded(evaluation: Evaluation, values: list[Json], case_sensitive: Json) -> list[Json]:
    """Return the values to compare: texts in small letters, unless case matters."""
    if boolean_from(case_sensitive, "case_sensitive"):
        return values
    evaluation.build(3 * sum(size(each) for each in values if type(each) is str))
    return [each.lower() if type(each) is str else each for each in values]


def _order(evaluation: Evaluation, keys: list[Json], *, reverse: bool = False) -> list[int]:
    """Return the places of the keys in their order; equal ones stay as they stand."""
    comparable: list[Any] = orderable(evaluation, keys)
    return sorted(range(len(comparable)), key=comparable.__getitem__, reverse=reverse)


# The filters.


def length(_: Evaluation, value: Json) -> Json:
    """How many items, keys or characters it has."""
    if type(value) is list or type(value) is dict or type(value) is str:
        return len(value)
    raise Refused(TYPE, f"needs a list, an object or text, not {kind(value)}")


def first(_: Evaluation, value: Json) -> Json | Missing:
    """The first item or character; absent if there is none."""
    return _at(value, 0)


def last(_: Evaluation, value: Json) -> Json | Missing:
    """The last item or character; absent if there is none."""
    return _at(value, -1)


def _at(value: Json, place: int) -> Json | Missing:
    if type(value) is list or type(value) is str:
        return value[place] if value else MISSING
    raise Refused(TYPE, f"needs a list or text, not {kind(value)}")


def list_(evaluation: Evaluation, value: Json) -> Json:
    """A list as it is, the keys of an object, the characters of text."""
    if type(value) is list:
        return value
    if type(value) is dict or type(value) is str:
        evaluation.spend(len(value))
        return list(value)
    raise Refused(TYPE, f"needs a list, an object or text, not {kind(value)}")


def reverse_(evaluation: Evaluation, value: Json) -> Json:
    """The other way round."""
    if type(value) is str:
        evaluation.build(size(value))
        return value[::-1]
    items = list_from(value)
    evaluation.spend(len(items))
    return items[::-1]


def sort(
    evaluation: Evaluation,
    value: Json,
    reverse: Json = False,
    case_sensitive: Json = True,
    attribute: Json = None,
) -> Json:
    """In order, all numbers or all texts; equal ones stay as they stand."""
    items = items_of(evaluation, value)
    keys = _folded(evaluation, _attributes(evaluation, items, attribute), case_sensitive)
    return [items[place] for place in _order(evaluation, keys, reverse=boolean_from(reverse, "reverse"))]


def unique(
    evaluation: Evaluation,
    value: Json,
    case_sensitive: Json = True,
    attribute: Json = None,
) -> Json:
    """The first of each that are equal."""
    items = items_of(evaluation, value)
    keys = _folded(evaluation, _attributes(evaluation, items, attribute), case_sensitive)
    chosen: dict[str, Json] = {}
    for item, key in zip(items, keys, strict=True):
        chosen.setdefault(fingerprint(evaluation, key), item)
    return list(chosen.values())


def smallest(
    evaluation: Evaluation,
    value: Json,
    case_sensitive: Json = True,
    attribute: Json = None,
) -> Json | Missing:
    """The smallest item; absent if there is none."""
    return _extreme(evaluation, value, case_sensitive, attribute, operator.lt)


def largest(
    evaluation: Evaluation,
    value: Json,
    case_sensitive: Json = True,
    attribute: Json = None,
) -> Json | Missing:
    """The largest item; absent if there is none."""
    return _extreme(evaluation, value, case_sensitive, attribute, operator.gt)


def _extreme(
    evaluation: Evaluation,
    value: Json,
    case_sensitive: Json,
    attribute: Json,
    beats: Callable[[Any, Any], bool],
) -> Json | Missing:
    items = items_of(evaluation, value)
    keys = _folded(evaluation, _attributes(evaluation, items, attribute), case_sensitive)
    best: int | None = None
    for place, key in enumerate(orderable(evaluation, keys)):
        if best is None or beats(key, keys[best]):
            best = place
    return MISSING if best is None else items[best]


def total(evaluation: Evaluation, value: Json, attribute: Json = None, start: Json = 0) -> Json:
    """The numbers added up."""
    result = start
    for each in _attributes(evaluation, items_of(evaluation, value), attribute):
        if type(each) is not int and type(each) is not float:
            raise Refused(TYPE, f"adds up numbers, not {kind(each)}")
        result = add(evaluation, result, each)
    return result


def join(evaluation: Evaluation, value: Json, d: Json = "", attribute: Json = None) -> Json:
    """The texts of the items one behind the other, with `d` between them."""
    between = text_from(d, "d")
    texts: list[str] = []
    for each in _attributes(evaluation, items_of(evaluation, value), attribute):
        text = text_of(evaluation, each)
        evaluation.build(size(text) + (size(between) if texts else 0))
        texts.append(text)
    return between.join(texts)


def map_attribute(
    evaluation: Evaluation, value: Json, attribute: Json, default: Json | Missing = MISSING
) -> Json:
    """The attribute of each item, or the default where it has none."""
    keys = keys_of(attribute)
    found: list[Json] = []
    for number, item in enumerate(items_of(evaluation, value)):
        each = attribute_in(item, keys, number, tolerant=default is not MISSING)
        found.append(default if each is MISSING else each)  # type: ignore[arg-type]
    return found


def groupby(evaluation: Evaluation, value: Json, attribute: Json, default: Json | Missing = MISSING) -> Json:
    """Objects with the `grouper`, a value of the attribute, and the `list` of items that have it."""
    items = items_of(evaluation, value)
    found: dict[str, tuple[Json, list[Json]]] = {}
    for item, key in zip(items, list_from(map_attribute(evaluation, value, attribute, default)), strict=True):
        found.setdefault(fingerprint(evaluation, key), (key, []))[1].append(item)
    return [{"grouper": key, "list": group} for key, group in found.values()]


def batch(evaluation: Evaluation, value: Json, linecount: Json, fill_with: Json = None) -> Json:
    """Lists of so many items each; the last is filled up if there is something to fill it with."""
    items, width = items_of(evaluation, value), integer_from(linecount, "linecount")
    if width < 1:
        raise Refused(VALUE, "needs at least one item a batch")
    batches = [items[place : place + width] for place in range(0, len(items), width)]
    if batches and fill_with is not None:
        missing = width - len(batches[-1])
        evaluation.spend(missing)
        batches[-1] += [fill_with] * missing
    return batches  # type: ignore[return-value]


def flatten(evaluation: Evaluation, value: Json) -> Json:
    """The items of the lists in a list, one level down; what is no list stays."""
    flat: list[Json] = []
    for item in items_of(evaluation, value):
        if type(item) is list:
            evaluation.spend(len(item))
            flat += item
        else:
            flat.append(item)
    return flat


def compact(evaluation: Evaluation, value: Json) -> Json:
    """Without its nulls."""
    return [item for item in items_of(evaluation, value) if item is not None]


def zip_(evaluation: Evaluation, value: Json, other: Json) -> Json:
    """Pairs of the items at the same place, as far as both lists go."""
    return [
        list(pair) for pair in zip(items_of(evaluation, value), items_of(evaluation, other), strict=False)
    ]


def union(evaluation: Evaluation, value: Json, other: Json) -> Json:
    """What is in either list, each once."""
    return unique(evaluation, [*items_of(evaluation, value), *items_of(evaluation, other)])


def intersect(evaluation: Evaluation, value: Json, other: Json) -> Json:
    """What is in both lists, each once."""
    return _compared(evaluation, value, other, among=True)


def difference(evaluation: Evaluation, value: Json, other: Json) -> Json:
    """What is in the list and not in the other, each once."""
    return _compared(evaluation, value, other, among=False)


def _compared(evaluation: Evaluation, value: Json, other: Json, *, among: bool) -> Json:
    known = {fingerprint(evaluation, each) for each in items_of(evaluation, other)}
    items = list_from(unique(evaluation, value))
    return [item for item in items if (fingerprint(evaluation, item) in known) is among]


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "length": length,
    "count": length,
    "first": first,
    "last": last,
    "list": list_,
    "reverse": reverse_,
    "sort": sort,
    "unique": unique,
    "min": smallest,
    "max": largest,
    "sum": total,
    "join": join,
    "groupby": groupby,
    "batch": batch,
    "flatten": flatten,
    "compact": compact,
    "zip": zip_,
    "union": union,
    "intersect": intersect,
    "difference": difference,
}
