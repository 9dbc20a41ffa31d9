"""A workflow as its author wrote it, frozen. Made from JSON that `problems` has found good; nothing is checked twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from celeriac import Effect, Json
from celeriac.duration import seconds
from engine.holds import Limits
from engine.playbooks import plain

SCOPE = "scope"
"""The type of a node whose work is a body of nodes."""

TRIGGER = "trigger"
"""The id of the implicit node that edges start from."""

RESERVED = frozenset({"trigger", "nodes", "vars", "item", "index", "execution", "env"})
"""Root names of expressions that win over the payload's keys, and that no node may bear."""

SCHEMA_ID = "https://celeriac.dev/schemas/workflow/v1.json"
"""`$id` of the definition language; an editor finds completion by it."""

JoinMode = Literal["all", "any", "n", "each"]
Collect = Literal["map", "list"]
OnUncertain = Literal["ask", "fail", "retry"]
OnForeign = Literal["ask", "allow", "fail"]
OnItemError = Literal["fail", "null", "drop", "partition"]
Rest = Literal["cancel", "finish"]
PartKind = Literal["circle", "each"]
EdgeKind = Literal["success", "error", "timeout", "any"]


@dataclass(frozen=True, slots=True)
class Trigger:
    """A declared way in."""

    id: str
    type: str
    config: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`retry` in the author's words; durations in seconds. `on` empty: every error the node type declares repeatable."""

    max_attempts: int = 1
    on: tuple[str, ...] = ()
    excluding: tuple[str, ...] = ()
    delay: float = 1.0
    backoff: Literal["constant", "linear", "exponential"] = "exponential"
    factor: float = 2.0
    max_delay: float = 60.0
    jitter: float = 0.1
    max_duration: float | None = None
    retry_after: bool = True

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> RetryPolicy:
        """Read the JSON form."""
        given = dict(body)
        for name in ("delay", "max_delay", "max_duration"):
            if given.get(name) is not None:
                given[name] = seconds(given[name])
        given["excluding"] = tuple(given.pop("except", ()))
        given["on"] = tuple(given.get("on", ()))
        return cls(**given)


@dataclass(frozen=True, slots=True)
class Timeout:
    """Seconds: until a worker takes the node up, for one attempt, for all together, and between two signs of life."""

    attempt: float | None = None
    total: float | None = None
    queue: float | None = None
    heartbeat: float | None = None

    @classmethod
    def parse(cls, value: Any) -> Timeout:
        """Read a number, a duration text, or `{queue, attempt, total, heartbeat}`."""
        if not isinstance(value, Mapping):
            return cls(attempt=seconds(value))
        return cls(**{name: seconds(each) for name, each in value.items()})


@dataclass(frozen=True, slots=True)
class OnError:
    """What follows a failure that no retry saves: `fail` the execution, `continue` with the error as data or with a default."""

    action: Literal["fail", "continue", "branch"] = "fail"
    has_default: bool = False
    default: Json = None

    @classmethod
    def parse(cls, value: Any) -> OnError:
        """Read `"fail"`, `"continue"`, `"branch"` or `{"default": value}`."""
        if isinstance(value, Mapping):
            return cls("continue", has_default=True, default=value["default"])
        return cls(value)


@dataclass(frozen=True, slots=True)
class Join:
    """When a node with several incoming edges starts: after all of them are decided, or as soon as `count` are taken; or once for
    `each` that is taken, with all that only it leads to.

    With `done` an edge counts as soon as the node it comes from has ended, taken or not. With `cancel_rest` what could only have
    led here is stopped when the node starts. With `collect` the node reads as `joined` what has been taken by then.
    """

    mode: JoinMode = "all"
    count: int = 0
    done: bool = False
    cancel_rest: bool = False
    collect: Collect | None = None

    @classmethod
    def parse(cls, value: Any) -> Join:
        """Read a mode, or `{mode, count}`."""
        if isinstance(value, Mapping):
            return cls(
                value.get("mode", "all"),
                value.get("count", 0),
                done=value.get("when", "success") == "done",
                cancel_rest=value.get("cancel_rest", False),
                collect=value.get("collect"),
            )
        return cls(value)


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much one execution may spend on models, with what it calls: dollars, tokens, or both. `ask`: then ask for more."""

    usd: float | None = None
    tokens: int | None = None
    ask: bool = False

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Allowance:
        """Read the JSON form."""
        return cls(body.get("usd"), body.get("tokens"), body.get("on_exceeded") == "ask")


@dataclass(frozen=True, slots=True)
class ForEach:
    """Perform a body once for each of `items` (an expression), `concurrency` of them at a time.

    So many failed items are tolerated: `tolerate_count` or `tolerate_percent`; when neither is said, none for
    `on_item_error` "fail", and else all. `until` ends it early, when it is true of what has finished; `rest` says what then
    becomes of items that have begun.
    """

    items: str
    name: str | None = None
    concurrency: int | None = None
    batch: int = 1
    on_item_error: OnItemError = "fail"
    tolerate_count: int | None = None
    tolerate_percent: float | None = None
    until: str | None = None
    rest: Rest = "cancel"

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> ForEach:
        """Read the JSON form."""
        tolerate = body.get("tolerate", {})
        return cls(
            items=body["items"],
            name=body.get("as"),
            concurrency=body.get("concurrency"),
            batch=body.get("batch", 1),
            on_item_error=body.get("on_item_error", "fail"),
            tolerate_count=tolerate.get("count"),
            tolerate_percent=tolerate.get("percent"),
            until=body.get("until"),
            rest=body.get("rest", "cancel"),
        )


@dataclass(frozen=True, slots=True)
class Loop:
    """Perform a body again and again: while one expression is true, or until another is."""

    condition: str
    until: bool
    max_iterations: int = 1000
    initial: Json = None
    collect: bool = False

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Loop:
        """Read the JSON form."""
        until = "until" in body
        return cls(
            condition=body["until" if until else "while"],
            until=until,
            max_iterations=body.get("max_iterations", 1000),
            initial=body.get("initial"),
            collect=body.get("collect", False),
        )


@dataclass(frozen=True, slots=True)
class Part:
    """Nodes of one graph that are performed as a region of their own, though no scope is written around them: `parts` says which.

    A circle goes round at most `most` times, each time from its `first` node. What `each` edge to the first node opens goes
    on beside the others; `sources` are the nodes these edges come from. `ports` are the edges that lead out, and `shown` the
    nodes of it that something reads which is not performed with them.
    """

    kind: PartKind
    first: str
    nodes: tuple[str, ...]
    ports: tuple[str, ...]
    most: int = 0
    sources: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Body:
    """A graph inside a node. Without an `output` of its own its result is what its leaves came to."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    output: Json = None
    has_output: bool = False

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Body:
        """Read the JSON form."""
        return cls(
            nodes=tuple(_node(each) for each in body["nodes"]),
            edges=tuple(_edge(each) for each in body.get("edges", ())),
            output=body.get("output"),
            has_output="output" in body,
        )


@dataclass(frozen=True, slots=True)
class Handler:
    """What follows a scope's failure, for the errors it names; without names for all."""

    on: tuple[str, ...]
    excluding: tuple[str, ...]
    body: Body

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Handler:
        """Read the JSON form."""
        return cls(tuple(body.get("on", ())), tuple(body.get("except", ())), Body.parse(body["body"]))


@dataclass(frozen=True, slots=True)
class Node:
    """A vertex. `None` means: not said, so the workflow's or the node type's own rule holds.

    `body` is a scope's; `each` and `loop` repeat the body, or the node itself; `compensate` undoes it when the scope around
    it fails later. After the end of the node
    `milestone` it does not begin any more.
    """

    id: str
    type: str
    config: Mapping[str, Json]
    retry: RetryPolicy | None
    timeout: Timeout | None
    on_error: OnError | None
    join: Join | None
    queue: str | None
    effect: Effect | None
    on_uncertain: OnUncertain
    body: Body | None = None
    each: ForEach | None = None
    loop: Loop | None = None
    catch: tuple[Handler, ...] = ()
    last: Body | None = None
    compensate: Node | None = None
    limits: Limits | None = None
    part: Part | None = None
    on_foreign: OnForeign | None = None
    milestone: str | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """A way from a node's exit to another node, taken when its kind and its condition agree.

    One that leads back in a circle may say how many times that `most` goes round. `mark` names the edge that the author has
    written, where this one only leads to the end of a part.
    """

    source: str
    target: str
    port: str | None
    on: EdgeKind
    when: str | None
    most: int | None = None
    mark: str | None = None


@dataclass(frozen=True, slots=True)
class Workflow:
    """A whole definition. `inputs` is the JSON Schema of the trigger's payload; `outputs` a template of the result.

    `shared` are the variables of the project that it reads, with what holds where the project has none.
    """

    name: str
    description: str
    enabled: bool
    triggers: tuple[Trigger, ...]
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    inputs: Mapping[str, Any] | None
    outputs: Json
    variables: Mapping[str, Json]
    retry: RetryPolicy | None
    timeout: float | None
    on_error: OnError | None
    queue: str | None
    limits: Limits | None = None
    priority: int = 0
    budget: Allowance | None = None
    shared: Mapping[str, Json] = field(default_factory=dict)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Workflow:
        """Read a posted document that has no problems."""
        body = plain(document)["definition"]
        triggers = body.get("triggers") or ([body["trigger"]] if "trigger" in body else [])
        return cls(
            name=document["name"],
            description=document.get("description", ""),
            enabled=document.get("enabled", True),
            triggers=tuple(
                Trigger(each.get("id", TRIGGER), each["type"], each.get("config", {})) for each in triggers
            ),
            nodes=tuple(_node(each) for each in body["nodes"]),
            edges=tuple(_edge(each) for each in body.get("edges", ())),
            inputs=body.get("inputs"),
            outputs=body.get("outputs"),
            variables=body.get("variables", {}),
            shared=body.get("project_variables", {}),
            retry=RetryPolicy.parse(body["retry"]) if "retry" in body else None,
            timeout=seconds(body["timeout"]) if "timeout" in body else None,
            on_error=OnError.parse(body["on_error"]) if "on_error" in body else None,
            queue=body.get("queue"),
            limits=Limits.parse(body),
            priority=body.get("priority", 0),
            budget=Allowance.parse(body["budget"]) if "budget" in body else None,
        )


def _node(body: Mapping[str, Any]) -> Node:
    return Node(
        id=body["id"],
        type=body["type"],
        config=body.get("config", {}),
        retry=RetryPolicy.parse(body["retry"]) if "retry" in body else None,
        timeout=Timeout.parse(body["timeout"]) if "timeout" in body else None,
        on_error=OnError.parse(body["on_error"]) if "on_error" in body else None,
        join=Join.parse(body["join"]) if "join" in body else None,
        queue=body.get("queue"),
        effect=Effect(body["effect"]) if "effect" in body else None,
        on_uncertain=body.get("on_uncertain", "ask"),
        body=Body.parse(body["body"]) if "body" in body else None,
        each=ForEach.parse(body["for_each"]) if "for_each" in body else None,
        loop=Loop.parse(body["loop"]) if "loop" in body else None,
        catch=tuple(Handler.parse(each) for each in body.get("catch", ())),
        last=Body.parse(body["finally"]) if "finally" in body else None,
        compensate=_node({"id": f"{body['id']}@undo", **body["compensate"]})
        if "compensate" in body
        else None,
        limits=Limits.parse(body),
        on_foreign=body.get("on_foreign"),
        milestone=body["enabled_while"]["not_ended"] if "enabled_while" in body else None,
    )


def _edge(body: Mapping[str, Any]) -> Edge:
    return Edge(
        body["from"],
        body["to"],
        body.get("port"),
        body.get("on", "success"),
        body.get("when"),
        body.get("max_iterations"),
    )


def content_hash(document: Mapping[str, Any]) -> str:
    """Return the identity of a definition's content: SHA-256 over `definition` in canonical form (sorted keys, no spaces)."""
    canonical = json.dumps(
        document["definition"], sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(canonical.encode()).hexdigest()
