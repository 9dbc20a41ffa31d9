"""What nodes do in a test instead of what they are for: an output, an error, and how long it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from celeriac import Fail, Json, Route, TryAgain, Uncertain
from celeriac.contract import Result
from celeriac.duration import seconds

EVERY = "*"
"""As a node: each one with an effect that has no mocks of its own. As an item: each that no other mock names."""

Kind = Literal["fail", "again", "uncertain"]


@dataclass(frozen=True, slots=True)
class Mock:
    """One call's outcome, for one item or for `EVERY`. `ports` are those it leaves by, none for the regular way."""

    output: Json = None
    ports: tuple[str, ...] = ()
    error: Mapping[str, Any] | None = None
    takes: float = 0.0
    item: str = EVERY

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Mock:
        """Read the JSON form."""
        port = body.get("port", [])
        return cls(
            output=body.get("output"),
            ports=(port,) if isinstance(port, str) else tuple(port),
            error=body.get("error"),
            takes=seconds(body.get("takes", 0)),
            item=str(body.get("item", EVERY)),
        )

    def come_true(self, *, last: bool) -> Result:
        """Return the output, or raise the error. One that others follow may be tried again, unless it says what it is."""
        if self.error is None:
            return Route(self.ports, self.output) if self.ports else self.output
        kind: Kind = self.error.get("kind", "fail" if last else "again")
        code, details = self.error["code"], self.error.get("details")
        message = self.error.get("message", f"The mock says {code}.")
        if kind == "again":
            after = self.error.get("after")
            raise TryAgain(code, message, None if after is None else seconds(after), details)
        raise (Fail if kind == "fail" else Uncertain)(code, message, details)


@dataclass(frozen=True, slots=True)
class Mocks:
    """The mocks of one test, by the id of a node."""

    of_node: Mapping[str, Sequence[Mock]]

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Mocks:
        """Read the JSON form, in which one mock may stand for a list of one."""
        return cls(
            {
                name: tuple(Mock.parse(each) for each in (given if isinstance(given, list) else [given]))
                for name, given in body.items()
            }
        )

    def find(self, node: str, item: str, attempt: int, *, effectful: bool) -> tuple[Mock, bool] | None:
        """Return the mock of an attempt, and whether it is the last; the last stands for all attempts behind it."""
        given = self.of_node.get(node) or (self.of_node.get(EVERY) if effectful else None)
        if not given:
            return None
        chosen = [each for each in given if each.item == item] or [
            each for each in given if each.item == EVERY
        ]
        if not chosen:
            return None
        index = min(attempt, len(chosen)) - 1
        return chosen[index], index == len(chosen) - 1
