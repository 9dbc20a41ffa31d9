"""One mistake in a definition, at a path: what every check yields, before it is known where in a file that
is.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from engine.checking.source import Path
from engine.nearest import nearest

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake. `key` says that the key at the path is wrong, not its value; `inside` is a line and column
    in a text.
    """

    path: Path
    code: str
    message: str
    hint: str | None = None
    key: bool = False
    inside: tuple[int, int] | None = None
    severity: Severity = "error"


class Guesses:
    """The names an author meant, for the mistakes of one definition.

    Looking for one means comparing with every candidate. A definition in which every name is wrong gets hints for the
    first of them and not for all, so that the answer takes little longer than for a good one of the same size.
    """

    def __init__(self, nodes: int) -> None:
        self._left = 1_000 + 4 * nodes

    def nearest(self, name: str, candidates: Collection[str]) -> str | None:
        """Return the candidate that `name` most likely stands for."""
        if self._left <= 0:
            return None
        self._left -= len(candidates)
        return nearest(name, candidates)


def did_you_mean(name: str | None, otherwise: str | None = None) -> str | None:
    """Return the hint that offers a name, or another one when there is none to offer."""
    return f"Did you mean {name}?" if name is not None else otherwise


def listed(names: list[str], most: int = 8) -> str:
    """Return names as a person would list them: `a, b or c`; the rest of a long list is counted."""
    if len(names) > most:
        return f"{', '.join(names[:most])} or {len(names) - most} more"
    return " or ".join(each for each in (", ".join(names[:-1]), names[-1]) if each) if names else ""
