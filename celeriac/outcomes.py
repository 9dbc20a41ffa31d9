"""What a node may say besides returning JSON: a closed vocabulary.

A node returns JSON for success. Everything else it can want is one of the words here, so that the engine never has
to guess from a message text what an author meant (the effect classes and the retry order rest on it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
"""A JSON value: what crosses every border of a node (RFC 8259, without NaN, lone surrogates and NUL)."""


@dataclass(frozen=True, slots=True)
class Route:
    """Succeed with `value` and leave through `ports` only; edges of other ports are not taken."""

    ports: tuple[str, ...]
    value: Json = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Rest until `until` (milliseconds since the epoch, UTC); then succeed with `value`.

    A waiting node holds one row and no worker, whether it waits a second or a year.
    """

    until: int
    value: Json = None


@dataclass(frozen=True, slots=True)
class Exit:
    """Succeed with `value` and end what is around the node.

    `scope` is `branch` (nothing follows the node), `iteration` (the item or the round it is in, which comes to `value`), `loop`
    (the whole map or loop, which comes to `value`), `workflow` (the execution), or the id of a container around it.
    """

    scope: str
    value: Json = None


@dataclass(frozen=True, slots=True)
class Call:
    """Start the workflow of this name or id on `input`, and succeed with its result when it has succeeded.

    `workflow` "self" is the one the node stands in. Without a `version` the active one is started. Without `wait` the node
    succeeds at once, with the id of what it started; then a `key` starts nothing a second time, whoever uses it.
    """

    workflow: str
    input: Json = None
    version: int | None = None
    wait: bool = True
    key: str | None = None


class Fail(Exception):
    """The node failed, and knows why. `code` is stable (`area.reason`); retries and error edges select on it."""

    def __init__(self, code: str, message: str, details: Mapping[str, Json] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details: dict[str, Json] = dict(details or {})


class TryAgain(Exception):
    """The attempt came to nothing and may be repeated, not before `after` seconds when the other side named a time.

    It counts as an attempt: when the retry policy is spent, the node fails with `code` and `message`.
    """

    def __init__(
        self,
        code: str,
        message: str,
        after: float | None = None,
        details: Mapping[str, Json] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.after = after
        self.details: dict[str, Json] = dict(details or {})


class Uncertain(Exception):
    """Nobody knows whether the effect happened, and it must not be repeated unasked: a person or a policy decides.

    For an effect that cannot be repeated and whose answer was lost on the way. What surely came to nothing is
    `TryAgain`, what surely failed is `Fail`.
    """

    def __init__(self, code: str, message: str, details: Mapping[str, Json] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details: dict[str, Json] = dict(details or {})


@dataclass(frozen=True, slots=True)
class NodeError:
    """A failure as the engine records it: JSON all through, no Python object and no stack.

    `kinds` are the class names of the exception from most to least special, so that `retry.on` may name a class.
    `retry_after` is in seconds.
    """

    code: str
    message: str
    details: dict[str, Json] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    retry_after: float | None = None

    def to_json(self) -> dict[str, Json]:
        """Return the form that is journaled, shown and handed to error edges."""
        body: dict[str, Json] = {"code": self.code, "message": self.message}
        if self.details:
            body["details"] = self.details
        return body
