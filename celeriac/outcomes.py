"""What a node may say besides returning JSON: a closed vocabulary.

A node returns JSON for success. Everything else it can want is one of the words here, so that the engine never has
to guess from a message text what an author meant (the effect classes and the retry order rest on it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
"""A JSON value: what crosses every border of a node (RFC 8259, without NaN, lone surrogates and NUL)."""


@dataclass(frozen=True, slots=True)
class Route:
    """Succeed with `value` and leave through `ports` only; edges of other ports are not taken."""

    ports: tuple[str, ...]
    value: Json = None


@dataclass(frozen=True, slots=True)
class OnEvent:
    """A wait goes on when an event of this type and correlation is published.

    One that was published before counts as well, from `since` on (milliseconds since the epoch; without it from the
    start of the execution), unless another wait of the execution has had it. A `transient` branch hears only what is
    published while it waits.
    """

    type: str
    correlation: str = ""
    since: int | None = None
    transient: bool = False
    name: str = "event"


@dataclass(frozen=True, slots=True)
class OnCallback:
    """A wait goes on when somebody calls its address, which `callback_url` made known."""

    name: str = "callback"


@dataclass(frozen=True, slots=True)
class OnDecision:
    """A wait goes on when people have decided, through `approved` or `rejected`.

    They see `title`, `description` and what is to `show`, and answer with a form that fits the JSON Schema `form`. Who may
    decide is named in `users` and `roles`; everybody, if neither names anyone; with `four_eyes` not who started the
    execution. `reject_wins`: one rejection decides, or `quorum` approvals. `majority`: more than half of `quorum` voices.
    """

    title: str
    description: str = ""
    show: Json = None
    form: Json = None
    users: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    quorum: int = 1
    rule: Literal["reject_wins", "majority"] = "reject_wins"
    four_eyes: bool = False
    reminded: int = 0
    escalated: bool = False


Signal = OnEvent | OnCallback | OnDecision
"""What can end a wait besides the time."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Rest until `until` (milliseconds since the epoch, UTC); then succeed with `value`, leaving through `port`.

    A waiting node holds one row and no worker, whether it waits a second or a year. One of the `signals` may end it
    earlier: then it succeeds with `{"name", "payload", "at"}` of the signal, and leaves through the port of that name, or
    through `out` when it has none such. Whatever comes first decides, and nothing that comes later. With signals `until`
    may be None, for ever.

    With `then`, the time does not end the wait: it goes on as that one. So a wait can change what it listens for.
    """

    until: int | None
    value: Json = None
    signals: tuple[Signal, ...] = ()
    port: str = "out"
    then: Wait | None = None


@dataclass(frozen=True, slots=True)
class Emit:
    """Publish an event, once for this node run however often it is tried; then succeed with `{"id": ...}` of the event."""

    type: str
    correlation: str = ""
    data: Json = None


@dataclass(frozen=True, slots=True)
class Respond:
    """Answer whoever waits for this execution, which goes on; then succeed with `{"status", "headers", "body"}`.

    The first answer of an execution counts, whichever node gives it; a later one changes nothing. `status` is a number from
    200 to 599, `headers` are of those in `celeriac.answers`.
    """

    body: Json = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        """Return the answer as it is stored and shown."""
        return {"status": self.status, "headers": {**self.headers}, "body": self.body}


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
