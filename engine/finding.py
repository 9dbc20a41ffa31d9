"""One mistake in a definition, at a path: what every check yields, before it is known where in a file that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.source import Path

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake. `key` says that the key at the path is wrong, not its value; `inside` is a line and column in a text."""

    path: Path
    code: str
    message: str
    hint: str | None = None
    key: bool = False
    inside: tuple[int, int] | None = None
    severity: Severity = "error"


def did_you_mean(name: str | None, otherwise: str | None = None) -> str | None:
    """Return the hint that offers a name, or another one when there is none to offer."""
    return f"Did you mean {name}?" if name is not None else otherwise


def listed(names: list[str], most: int = 8) -> str:
    """Return names as a person would list them: `a, b or c`; the rest of a long list is counted."""
    if len(names) > most:
        return f"{', '.join(names[:most])} or {len(names) - most} more"
    return " or ".join(each for each in (", ".join(names[:-1]), names[-1]) if each) if names else ""
