"""Named parameters in SQL, `:name`, turned into what a driver takes. Values never become part of the text.

The text is read as far as it has to be to tell a parameter from a colon inside quotes, comments and casts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from celeriac import Fail, Json

Style = Literal["named", "pyformat"]
"""`:name` as SQLite takes it, or `%(name)s`."""

_TOKEN = re.compile(
    r"""
      (?P<string>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`)
    | (?P<dollar>\$(?P<tag>[A-Za-z_]*)\$.*?\$(?P=tag)\$)
    | (?P<line>--[^\n]*)
    | (?P<block>/\*.*?\*/)
    | (?P<cast>::|:=)
    | :(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Statement:
    """A text in pieces: what is no parameter as it is, and the names of parameters between."""

    pieces: tuple[tuple[str, str | None], ...]
    tail: str

    @classmethod
    def parse(cls, text: str) -> Statement:
        """Read a text."""
        return cls(tuple(_pieces(text)), text[_end_of(text) :])

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters, in the order of the text."""
        return tuple(dict.fromkeys(name for _, name in self.pieces if name is not None))

    def written(self, style: Style) -> str:
        """Return the text as a driver takes it."""
        if style == "named":
            return "".join(f"{text}:{name}" for text, name in self.pieces) + self.tail
        texts = (f"{text.replace('%', '%%')}%({name})s" for text, name in self.pieces)
        return "".join(texts) + self.tail.replace("%", "%%")

    def check(self, rows: Sequence[Mapping[str, Json]]) -> None:
        """Raise `Fail` (`sql.parameters`) unless each row has a value for each parameter, and none besides."""
        wanted = set(self.names)
        for number, row in enumerate(rows):
            if set(row) != wanted:
                missing = ", ".join(sorted(wanted - set(row)))
                extra = ", ".join(sorted(set(row) - wanted))
                place = f"row {number} of the parameters" if len(rows) > 1 else "the parameters"
                what = (
                    f"no value for {missing}"
                    if missing
                    else f"a value for {extra}, which the SQL does not name"
                )
                raise Fail("sql.parameters", f"There is in {place} {what}.", {"row": number})


def _pieces(text: str) -> Iterator[tuple[str, str | None]]:
    done = 0
    for found in _TOKEN.finditer(text):
        if found["name"] is not None:
            yield text[done : found.start()], found["name"]
            done = found.end()


def _end_of(text: str) -> int:
    return max((found.end() for found in _TOKEN.finditer(text) if found["name"] is not None), default=0)
