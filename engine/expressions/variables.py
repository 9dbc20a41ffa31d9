"""The variables that a template sets for itself, known by name while it is compiled and by slot while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable at one place of the template. It is `sure` if every way to this place has set it."""

    slot: int
    sure: bool


Names = dict[str, Variable]


@dataclass(slots=True)
class Frame:
    """The variables of the template, or of the body of one loop; what is set in a loop ends with its turn."""

    outer: Frame | None = None
    names: Names = field(default_factory=dict)
    slots: dict[str, int] = field(default_factory=dict)
    loop: int | None = None
    """In a loop, the slot of the turn's number; the next one holds the number of turns."""

    def declare(self, name: str, new_slot: Callable[[], int]) -> int:
        """Set a variable here, and return its slot: always the same for one name of a frame."""
        slot = self.slots.get(name)
        if slot is None:
            slot = self.slots[name] = new_slot()
        self.names[name] = Variable(slot, sure=True)
        return slot

    def find(self, name: str) -> tuple[tuple[int, ...], bool]:
        """Return the slots that may hold a name, the innermost first, and whether one of them surely does."""
        slots = []
        for frame in self.outward():
            if (variable := frame.names.get(name)) is not None:
                slots.append(variable.slot)
                if variable.sure:
                    return tuple(slots), True
        return tuple(slots), False

    def turn(self) -> int | None:
        """Return the slot of the innermost loop's number of the turn."""
        return next((frame.loop for frame in self.outward() if frame.loop is not None), None)

    def outward(self) -> Iterator[Frame]:
        """Iterate over this frame and those around it."""
        frame: Frame | None = self
        while frame is not None:
            yield frame
            frame = frame.outer


def merged(branches: Iterable[Names]) -> Names:
    """Return what is known behind a fork: a variable is sure if every branch has surely set it."""
    branches = tuple(branches)
    result: Names = {}
    for name in {name: None for branch in branches for name in branch}:
        found = [variable for branch in branches if (variable := branch.get(name)) is not None]
        sure = len(found) == len(branches) and all(variable.sure for variable in found)
        result[name] = Variable(found[0].slot, sure)
    return result
