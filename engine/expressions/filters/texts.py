"""Filters on text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from engine.expressions.error import VALUE, Refused
from engine.expressions.evaluation import Evaluation
from engine.expressions.values import Json, boolean_from, contains, integer_from, size, text_from, text_of

_WORD = re.compile(r"\w+")
_START_OF_WORD = re.compile(r"([-\s({\[<]+)")
_UNWANTED = 64
_LETTERS_A_STEP = 16
"""Going from word to word is slower than searching through text."""
_HTML: Final = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;"))


def _converted(evaluation: Evaluation, value: Json, convert: Callable[[str], str]) -> Json:
    text = text_from(value)
    # Outside of ASCII one letter may become three, as the German sharp s becomes two.
    evaluation.build(size(text) if text.isascii() else 3 * size(text))
    return convert(text)


def upper(evaluation: Evaluation, value: Json) -> Json:
    """In capitals."""
    return _converted(evaluation, value, str.upper)


def lower(evaluation: Evaluation, value: Json) -> Json:
    """In small letters."""
    return _converted(evaluation, value, str.lower)


def capitalize(evaluation: Evaluation, value: Json) -> Json:
    """The first letter large, the others small."""
    return _converted(evaluation, value, str.capitalize)


def title(evaluation: Evaluation, value: Json) -> Json:
    """The first letter of each word large, the others small."""
    evaluation.spend(len(text_from(value)) // _LETTERS_A_STEP)
    return _converted(evaluation, value, _title)


def _title(text: str) -> str:
    return "".join(part[:1].upper() + part[1:].lower() for part in _START_OF_WORD.split(text))


def trim(evaluation: Evaluation, value: Json, chars: Json = None) -> Json:
    """Without white space, or without these characters, at both ends."""
    text = text_from(value)
    evaluation.build(size(text))
    if chars is None:
        return text.strip()
    unwanted = text_from(chars, "chars")
    if len(unwanted) > _UNWANTED:
        # Each character of the text is looked for among all of these.
        raise Refused(VALUE, f"takes at most {_UNWANTED} characters away")
    return text.strip(unwanted)


def removeprefix(evaluation: Evaluation, value: Json, prefix: Json) -> Json:
    """Without this beginning, if it has it."""
    text = text_from(value)
    evaluation.build(size(text))
    return text.removeprefix(text_from(prefix, "prefix"))


def removesuffix(evaluation: Evaluation, value: Json, suffix: Json) -> Json:
    """Without this end, if it has it."""
    text = text_from(value)
    evaluation.build(size(text))
    return text.removesuffix(text_from(suffix, "suffix"))


def replace(evaluation: Evaluation, value: Json, old: Json, new: Json, count: Json = None) -> Json:
    """With new in the place of old, everywhere or the first count times."""
    text, before, after = text_from(value), text_from(old, "old"), text_from(new, "new")
    most = -1 if count is None else integer_from(count, "count")
    evaluation.read(text)
    found = text.count(before) if most < 0 else min(text.count(before), most)
    evaluation.build(size(text) + found * max(size(after) - size(before), 0))
    return text.replace(before, after, most)


def split(evaluation: Evaluation, value: Json, separator: Json = None, limit: Json = None) -> Json:
    """The parts between separators (white space, if none is given), cut at most limit times."""
    text = text_from(value)
    mark = None if separator is None else text_from(separator, "separator")
    if mark == "":
        raise Refused(VALUE, "needs a separator that is not empty")
    most = len(text) if limit is None else max(integer_from(limit, "limit"), 0)
    evaluation.build(size(text))
    # One more cut than can be paid is enough to see that it cannot be paid.
    parts = text.split(mark, min(most, evaluation.steps + 1))
    evaluation.spend(len(parts))
    return parts  # type: ignore[return-value]


def truncate(
    evaluation: Evaluation,
    value: Json,
    length: Json = 255,
    killwords: Json = False,
    end: Json = "...",
    leeway: Json = 0,
) -> Json:
    """At most length characters, the end mark among them; cut between words, unless killwords is true."""
    text, most, mark = text_from(value), integer_from(length, "length"), text_from(end, "end")
    if most < len(mark):
        raise Refused(VALUE, "needs a length that has room for its end mark")
    if len(text) <= most + integer_from(leeway, "leeway"):
        return text
    evaluation.build(4 * most if not text.isascii() else most)
    kept = text[: most - len(mark)]
    return (kept if boolean_from(killwords, "killwords") else kept.rsplit(" ", 1)[0]) + mark


def wordcount(evaluation: Evaluation, value: Json) -> Json:
    """How many words it has."""
    text = text_from(value)
    evaluation.spend(len(text) // _LETTERS_A_STEP)
    return sum(1 for _ in _WORD.finditer(text))


def indent(
    evaluation: Evaluation,
    value: Json,
    width: Json = 4,
    first: Json = False,
    blank: Json = False,
) -> Json:
    """Each line moved to the right: the first one and blank ones only if told so."""
    text, spaces = text_from(value), integer_from(width, "width")
    also_first, also_blank = boolean_from(first, "first"), boolean_from(blank, "blank")
    evaluation.read(text)
    breaks = text.count("\n")
    evaluation.spend(breaks)
    evaluation.build(size(text) + (breaks + 1) * max(spaces, 0))
    head, *tail = text.split("\n")
    margin = " " * spaces
    lines = [margin + head if also_first else head]
    lines += [margin + line if line or also_blank else line for line in tail]
    return "\n".join(lines)


def center(evaluation: Evaluation, value: Json, width: Json = 80) -> Json:
    """In the middle of so many characters."""
    text, columns = text_from(value), integer_from(width, "width")
    evaluation.build(size(text) + max(columns - len(text), 0))
    return text.center(columns)


def escape(evaluation: Evaluation, value: Json) -> Json:
    """Safe inside HTML text and quoted attributes."""
    text = text_from(value)
    evaluation.read(text)
    evaluation.build(size(text) + sum(text.count(mark) * (len(name) - 1) for mark, name in _HTML))
    for mark, name in _HTML:
        text = text.replace(mark, name)
    return text


def string(evaluation: Evaluation, value: Json) -> Json:
    """As it would stand inside text."""
    return text_of(evaluation, value)


def startswith(evaluation: Evaluation, value: Json, prefix: Json) -> bool:
    """Does the text begin with this?"""
    start = text_from(prefix, "prefix")
    evaluation.read(start)
    return text_from(value).startswith(start)


def endswith(evaluation: Evaluation, value: Json, suffix: Json) -> bool:
    """Does the text end with this?"""
    end = text_from(suffix, "suffix")
    evaluation.read(end)
    return text_from(value).endswith(end)


def contains_(evaluation: Evaluation, value: Json, item: Json) -> bool:
    """Is the item in the list, the part in the text, the key in the object?"""
    return contains(evaluation, value, item)


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "upper": upper,
    "lower": lower,
    "capitalize": capitalize,
    "title": title,
    "trim": trim,
    "removeprefix": removeprefix,
    "removesuffix": removesuffix,
    "replace": replace,
    "split": split,
    "truncate": truncate,
    "wordcount": wordcount,
    "indent": indent,
    "center": center,
    "escape": escape,
    "e": escape,
    "string": string,
    "startswith": startswith,
    "endswith": endswith,
    "contains": contains_,
}
