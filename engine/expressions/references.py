"""What a template reads: found while it is compiled, before any value exists."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """One mention of a name that the scope has to hold.

    `path` is the name and then the constant keys behind it, as far as they are written down: `a.b[0][c].d` reads
    `("a", "b", 0)` and `("c",)`. `line` and `column` count from 1 inside the source. `guarded` says that the
    template copes with its absence. `unless` are paths: where one of them leads somewhere, this one may not be read.
    """

    path: Path
    line: int
    column: int
    guarded: bool
    unless: tuple[Path, ...] = ()


def written(path: Path) -> str:
    """Return a path as an author writes it."""
    text = str(path[0])
    for key in path[1:]:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += f".{key}" if key.isidentifier() else f"[{json.dumps(key, ensure_ascii=False)}]"
    return text


def guard(references: Iterable[Reference], tested: set[Path]) -> tuple[Reference, ...]:
    """Return the references, guarded where the template asks anywhere whether the path, or its beginning, exists.

    `{% if order.gift is defined %}{{ order.gift.card }}{% endif %}` copes with the absence of `order.gift`. Which
    branch a mention stands in is not looked at: a check that never cries wolf is worth more than one that finds all.
    """
    if not tested:
        return tuple(references)
    asked = tuple(sorted(tested, key=repr))
    return tuple(
        replace(each, guarded=True)
        if any(each.path[: len(path)] == path for path in tested)
        else replace(each, unless=(*each.unless, *asked))
        for each in references
    )
