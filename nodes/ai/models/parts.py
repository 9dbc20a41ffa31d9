"""Cutting long texts into parts that a model of vectors can take in at once."""

from __future__ import annotations

import re
from collections.abc import Iterator

_ENDS = tuple(map(re.compile, (r"\n\s*\n", r"\n", r"[.!?]\s", r"\s")))
"""Where a text may be cut, the best place first: between paragraphs, lines, sentences, words."""


def parts(text: str, size: int, overlap: int) -> Iterator[str]:
    """Yield parts of at most `size` characters, each of which begins with about the last `overlap` of the one before.

    Each ends at the best place in its second half, and where there is none it is cut anyway. Blank text has no parts.
    """
    start = 0
    while start < len(text):
        end = _end(text, start, size)
        if part := text[start:end].strip():
            yield part
        if end == len(text):
            return
        start = _begin(text, end, overlap) if overlap else end


def _end(text: str, start: int, size: int) -> int:
    if len(text) - start <= size:
        return len(text)
    for place in _ENDS:
        found = [each.end() for each in place.finditer(text, start + size // 2, start + size)]
        if found:
            return found[-1]
    return start + size


def _begin(text: str, end: int, overlap: int) -> int:
    """Return where the next part begins: at the first word in what it shares with the one before."""
    found = _ENDS[-1].search(text, end - overlap, end)
    return end - overlap if found is None else found.end()
