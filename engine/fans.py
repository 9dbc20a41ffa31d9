"""The count of a region's instances, on the row of the container that waits for them. Pure.

An instance's end arrives here in the same transaction that commits it, as an edge's does at a join. Instances are opened a
window at a time, so that a map of a hundred thousand items is not a hundred thousand rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import NamedTuple


class Row(NamedTuple):
    """A row to be born: the items from `first` to `last`, performed in one go."""

    first: int
    last: int


@dataclass(slots=True)
class Fan:
    """Instances `first` to `first + count - 1` of a region, `size` of them a row, at most `window` rows at a time.

    `opened` is the next index to be opened, `pending` counts the rows under way, `ended` those that are over and `failed`
    the items that failed. More failures than `tolerate` close it. `watch` asks for the container to look at every end;
    `deadline` is in milliseconds. `there` are ranges of indexes still ahead, first and last, that have an outcome already.
    Those of a join `each` are opened one by one, as its edges are taken; so many of these are still `undecided`.
    """

    region: int
    first: int
    count: int
    size: int
    window: int
    tolerate: int
    watch: bool = False
    deadline: int | None = None
    opened: int = 0
    pending: int = 0
    ended: int = 0
    failed: int = 0
    closed: bool = False
    there: list[list[int]] = field(default_factory=list)
    undecided: int | None = None

    @classmethod
    def of_edges(cls, region: int, edges: int) -> Fan:
        """Return that of a join `each`: so many edges lead to it, and nothing is decided of them."""
        return cls(region, 0, edges, 1, edges, 0, undecided=edges)

    @classmethod
    def from_text(cls, text: str) -> Fan:
        """Read the stored form."""
        return cls(**json.loads(text))

    def to_text(self) -> str:
        """Return the stored form."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @property
    def over(self) -> bool:
        """Whether nothing more will arrive."""
        ahead = self.first + self.count - self.opened if self.undecided is None else self.undecided
        return self.closed or (self.pending == 0 and ahead <= 0)

    def open(self) -> Iterator[Row]:
        """Open as many rows as the window has room for."""
        self.opened = max(self.opened, self.first)
        while not self.closed and self.pending < self.window and self.undecided is None:
            self._pass_by()
            beyond = self.there[0][0] if self.there else self.first + self.count
            if self.opened >= beyond:
                return
            row = Row(self.opened, min(self.opened + self.size, beyond) - 1)
            self.opened = row.last + 1
            self.pending += 1
            yield row

    def planned(self) -> list[Row]:
        """Return the rows that are still to be opened."""
        there = [list(each) for each in self.there]
        return list(replace(self, window=self.count + 1, pending=0, there=there).open())

    def leave_out(self, index: int) -> None:
        """Take an index that is still ahead for one that has an outcome."""
        self.there = sorted([*self.there, [index, index]])

    def is_there(self, index: int) -> bool:
        """Whether an index that is still ahead has an outcome already."""
        return any(first <= index <= last for first, last in self.there)

    def _pass_by(self) -> None:
        while self.there and self.there[0][0] <= self.opened:
            self.opened = max(self.opened, self.there.pop(0)[1] + 1)

    def arrive(self, failures: int) -> None:
        """Count the end of one row, with so many failed items."""
        self.pending -= 1
        self.ended += 1
        self.failed += failures
        self.closed = self.closed or self.failed > self.tolerate
