"""The name an author most likely meant. Every hint of the engine asks here, so that all of them guess alike."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SIMILAR = 0.6
"""How alike two names must be (0 to 1) before one is offered for the other; lower, and hints start to mislead."""

LONGEST = 128
MOST = 2_000


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate most like `name`, or nothing when none is like it.

    The same question always has the same answer, whatever the order of the candidates: ties go to the first in
    the alphabet. A name that differs only in case wins. Names over 128 characters, and candidates after the first
    2,000 of the alphabet, are not looked at, because comparing is quadratic and names may come from outside.
    """
    if not name or len(name) > LONGEST:
        return None
    words = sorted({each for each in candidates if each != name and len(each) <= LONGEST})[:MOST]
    folded = name.casefold()
    for each in words:
        if each.casefold() == folded:
            return each
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(folded)
    best, found = SIMILAR, None
    for each in words:
        matcher.set_seq1(each.casefold())
        if matcher.real_quick_ratio() < best or matcher.quick_ratio() < best:
            continue
        ratio = matcher.ratio()
        if ratio > best or (ratio == best and found is None):
            best, found = ratio, each
    return found
