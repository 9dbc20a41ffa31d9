"""Addresses that end a wait when somebody calls them: whoever has one may use it once, and nobody can guess one.

A token names its wait and is signed, so nothing is stored for an address that is given away. It does not name an attempt
or a claim: a wait is one for its execution, node and item however often its segment is carried, and the first signal it is
given is the only one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from engine.expressions.error import VALUE, Refused
from engine.outside import secret_key
from engine.plan import item_in
from engine.settings import Settings
from engine.signed import Signer

if TYPE_CHECKING:
    from engine.programs import Program

PATH: Final = "/api/v1/callbacks/"


@dataclass(frozen=True, slots=True)
class Address:
    """A wait, and which of its branches a call stands for."""

    execution: str
    node: str
    item: str
    name: str


class Callbacks:
    """Makes addresses, and reads them again."""

    def __init__(self, key: bytes, base: str, previous: Sequence[bytes] = ()) -> None:
        self._signer = Signer(key, previous)
        self._base = base.rstrip("/")

    @classmethod
    def of(cls, secrets: Sequence[bytes], settings: Settings) -> Callbacks:
        """Return what all processes of an installation agree on. Addresses under an earlier secret stay good."""
        key, *previous = (secret_key.derive(each, "callbacks") for each in secrets)
        return cls(key, settings.public_base, previous)

    def url(self, address: Address) -> str:
        """Return the address to call."""
        return f"{self._base}{PATH}{self.token(address)}"

    def token(self, address: Address) -> str:
        """Return the part of the address that names the wait and proves that we said so."""
        return self._signer.token(address.execution, address.node, address.item, address.name)

    def read(self, token: str) -> Address | None:
        """Return what a token names, or None when it is none of ours."""
        fields = self._signer.read(token)
        return None if fields is None else Address(*fields)


@dataclass(frozen=True, slots=True)
class Waits:
    """The waits that a node run may give the addresses of: those of its own region, and of the regions around it."""

    callbacks: Callbacks
    execution: str
    program: Program
    region: int
    item: str

    def callback(self, node: str, name: str) -> str:
        """Return the address that ends the wait of a node."""
        plan = self.program.plan
        found = plan.nodes.get(node)
        if found is None or not found.waits or found.container is not None:
            raise Refused(VALUE, f"needs a node that waits for a call, and {node!r} is none")
        around, there = plan.regions[self.region], plan.region_of(node)
        while around.id != there.id:
            if not around.id:
                raise Refused(VALUE, f"cannot tell which one is meant: {node!r} is in another body")
            around = plan.regions[around.parent]
        ports = self.program.steps(plan.segment_of[node])[-1].ports
        if name != "callback" and name not in ports:
            raise Refused(VALUE, f"finds no branch {name!r} of {node!r}")
        address = Address(self.execution, node, item_in(self.item, there.depth), name)
        return self.callbacks.url(address)
