"""What an expression can see: JSON values by name, one instant, and numbered draws of randomness."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from engine.expressions.values import Json


class Entropy(Protocol):
    """Time and randomness as arguments, so that a replay sees what the first evaluation saw."""

    @property
    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch: what `now()` shows."""

    def draw(self, n: int) -> bytes:
        """Return 16 bytes, the same for the same `n`."""


class Links(Protocol):
    """Addresses that an expression may give away."""

    def callback(self, node: str, name: str) -> str:
        """Return the address that ends the wait of a node. Raises `Refused` for one that waits for no call."""


@dataclass(frozen=True, slots=True)
class DerivedEntropy:
    """Draws computed from a key: nobody without it can foresee them, whoever has it can repeat them."""

    key: bytes
    now_ms: int

    def draw(self, n: int) -> bytes:
        """Return the first 16 bytes of HMAC-SHA256(key, n), with n as 8 bytes, most significant first."""
        return hmac.digest(self.key, n.to_bytes(8, "big"), hashlib.sha256)[:16]


def derived_entropy(key: bytes, now_ms: int) -> Entropy:
    """Return the entropy of one node run. The key names execution, node and item, and is secret."""
    return DerivedEntropy(key, now_ms)


class Scope:
    """The names of one evaluation, or of several that belong together, as the templates of one node's config do.

    The values are read and never changed. Draws are numbered through all evaluations of a scope, in their order.
    """

    __slots__ = ("draws", "entropy", "links", "values")

    def __init__(self, values: Mapping[str, Json], entropy: Entropy, links: Links | None = None) -> None:
        self.values = values
        self.entropy = entropy
        self.links = links
        self.draws = 0

    def with_names(self, names: Mapping[str, Json]) -> Scope:
        """Return a scope with further names, which go before those that are there."""
        return Scope({**self.values, **names}, self.entropy, self.links)

    def draw(self) -> bytes:
        """Return the next 16 bytes."""
        number = self.draws
        self.draws = number + 1
        return self.entropy.draw(number)
