"""One evaluation: the values it sees, the variables it sets, and what it may still spend."""

from __future__ import annotations

import math

from engine.expressions.error import BUDGET, NUMBER, TOO_LARGE, Refused
from engine.expressions.limits import Limits
from engine.expressions.scope import Scope
from engine.expressions.values import MISSING, Json, Missing, size

CHARACTERS_A_STEP = 256


class Evaluation:
    """Made for one call of `Template.evaluate`, and charged before anything is built.

    `cost` is what the parts outside of loops take; they run once at most, so they are paid here, and an expression
    without loops and filters counts nothing while it runs.
    """

    __slots__ = ("built", "limits", "scope", "slots", "steps", "values", "written")

    def __init__(self, scope: Scope, limits: Limits, cost: int, slots: int) -> None:
        self.scope = scope
        self.values = scope.values
        self.limits = limits
        self.slots: list[Json | Missing] = [MISSING] * slots
        self.built = self.written = limits.output_bytes
        self.steps = limits.steps - cost
        if self.steps < 0:
            self.spend(0)

    def spend(self, steps: int) -> None:
        """Take steps."""
        self.steps -= steps
        if self.steps < 0:
            raise Refused(
                BUDGET,
                f"takes more than {self.limits.steps:,} steps",
                "Work on fewer items: filter them in an earlier node, or map over them.",
            )

    def read(self, text: str) -> None:
        """Take the steps of looking through a text."""
        if len(text) >= CHARACTERS_A_STEP:
            self.spend(len(text) // CHARACTERS_A_STEP)

    def build(self, bytes_: int) -> None:
        """Take the bytes of a text that is about to be built."""
        self.built -= bytes_
        if self.built < 0:
            raise Refused(BUDGET, f"would build more than {self.limits.output_bytes:,} bytes of text")

    def write(self, text: str) -> None:
        """Take the bytes of a text that is about to be written."""
        self.written -= size(text)
        if self.written < 0:
            raise Refused(BUDGET, f"would write more than {self.limits.output_bytes:,} bytes of text")

    def number(self, value: float) -> int | float:
        """Return the result of a computation, if JSON and the limits have room for it."""
        if type(value) is int:
            if value.bit_length() > self.limits.int_bits:
                raise Refused(TOO_LARGE, f"comes to an integer of more than {self.limits.int_bits:,} bits")
        elif not math.isfinite(value):
            raise Refused(NUMBER, "comes to a number that JSON cannot hold")
        return value
