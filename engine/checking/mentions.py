"""The names a text mentions. Most expressions are one plain path, and those are read here without compiling them.

Validation wants to know what is read, not what it comes to. Compiling a text takes a twentieth of a millisecond and more;
finding plain paths in it takes a tenth of that, and a definition of thousands of nodes is checked on every save.
"""

from __future__ import annotations

import re
from typing import Final

from engine.expressions import Reference, compile_template

_MARKS: Final = ("{{", "{%", "{#")
_PLAIN: Final = re.compile(r"\{\{ *([A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*){0,9}) *\}\}")
_WORDS: Final = frozenset(
    [
        "and",
        "elif",
        "else",
        "for",
        "if",
        "in",
        "is",
        "loop",
        "none",
        "not",
        "null",
        "or",
        "recursive",
        "true",
        "false",
        "True",
        "False",
        "None",
    ]
)
"""Names that the language reads otherwise."""

_LONGEST: Final = 4_000
"""Far below every limit of the language in characters, so that a plain text can pass none of them."""


def mentions(text: str) -> tuple[Reference, ...]:
    """Return what a template reads. Raises `ExpressionError`, as compiling it does."""
    found = _plain_mentions(text) if len(text) <= _LONGEST and "\r" not in text else None
    return compile_template(text).references if found is None else found


def _plain_mentions(text: str) -> tuple[Reference, ...] | None:
    """Return what a text reads that holds nothing but plain paths; None for every other one."""
    found: list[Reference] = []
    end = 0
    for match in _PLAIN.finditer(text):
        path = match[1].split(".")
        if path[0] in _WORDS or _holds_more(text[end : match.start()]):
            return None
        found.append(Reference(tuple(path), *_place(text, match.start(1)), guarded=False))
        end = match.end()
    return None if _holds_more(text[end:]) else tuple(found)


def _holds_more(text: str) -> bool:
    """Whether a part between plain paths opens something itself, together with the brace that follows it or alone."""
    return "{" in text and (text.endswith("{") or any(mark in text for mark in _MARKS))


def _place(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
