"""What may be asked of the pen: one frozen value for each kind of state change. `transitions` carries them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from typing import TypeVar, dataclass_transform

from engine.advance import Address
from engine.holds import Concurrency, Rate

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(made: type[T]) -> type[T]:
    """Make a class of values. The type checker holds them to be frozen; at run time that would triple what one costs."""
    return dataclass(slots=True, unsafe_hash=True)(made)


SUSPECTED = 2
"""Messages of a segment that nobody claims which may be lost before it is claimed after all: it may be what kills workers."""

Sendable = tuple[int, str, str]
"""A ready segment to be sent: (segment, item, queue)."""


@value
class Payload:
    """A stored JSON text: in place, or in the blob table under its content hash."""

    text: str | None = None
    blob: str | None = None


@value
class Blob:
    """A text too large for its row."""

    hash: str
    text: str


@value
class Entry:
    """One row of the journal. `node` of a packed row is its first node; its `output` then lists the nodes of the pack.

    It stands at the item of the segment that writes it, unless it names another `item`.
    """

    node: str
    status: str
    effect: str = "none"
    step: str = ""
    output: Payload = Payload()
    error: str | None = None
    tries: int = 1
    started_at: int = 0
    ended_at: int | None = None
    item: str | None = None


EventBody = tuple[object, ...]
"""`(type, node or segment, at, more)`, as JSON can hold it."""


@value
class Born:
    """A segment of an execution that takes over another one. `exits` are those it took there; `fan` counts what it waits for."""

    segment: int
    item: str
    status: str
    queue: str
    pending: int
    taken: int
    exits: str | None
    fan: str | None


@value
class Fork:
    """What a new execution takes over from its base, and where it begins.

    `rows` are its segments, `copied` the nodes whose rows in the journal it gets, each with the name it has there, `entries`
    those that are written anew. `inside` are copied at every item.
    """

    rows: tuple[Born, ...]
    copied: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    inside: tuple[tuple[str, str], ...] = ()
    events: tuple[EventBody, ...] = ()


@value
class Start:
    """Accept an execution. Answers `Started`; a known idempotency key answers with the execution it started before.

    Who asks carries its first segment itself when it is `handed` over, so that it takes no room in a queue.
    """

    execution: str
    project: str
    workflow: str
    version: str
    queue: str
    now: int
    input: Payload
    trigger: str
    blobs: tuple[Blob, ...] = ()
    principal: str = ""
    idempotency_key: str | None = None
    request_hash: str | None = None
    priority: int = 0
    parent: tuple[str, int, str] | None = None
    depth: int = 0
    awaited: bool = False
    handed: bool = False
    base: str | None = None
    deadline: int | None = None
    reply_to: str | None = None
    concurrency: Concurrency | None = None
    rate: Rate | None = None
    fork: Fork | None = None
    variables: str | None = None


@value
class Started:
    """`new` is false when the key was known; then `same` says whether the request was the same too.

    `send` says that its first segment is to be sent now; otherwise the queue is full and the feeder will, or it waits at a
    limit. Of a fork `ready` are the segments to be sent. A limit may also have `refused` it, with a code, or have another
    execution stand for it; and it may want others, `outdone`, to be cancelled.
    """

    execution: str
    new: bool
    same: bool = True
    send: bool = False
    ready: tuple[Sendable, ...] = ()
    refused: str | None = None
    outdone: tuple[str, ...] = ()


@value
class Arrival:
    """One arrival at a trigger, and the executions that it starts if it is new: its `key` counts once at its `source`.

    Without any it is only written down, with its `status` and `detail`; one that was `refused` or has `failed` may come again.
    """

    source: str
    key: str
    project: str
    now: int
    starts: tuple[Start, ...] = ()
    status: str = "started"
    detail: str | None = None


@value
class Move:
    """Take a schedule on to its next slot, which is looked at when it is `due`. `epoch` is the fence, `last` what starts now."""

    schedule: str
    epoch: int
    slot: int | None
    due: int | None
    last: int | None = None


@value
class Arrive:
    """Take arrivals in. Answers an `Arrived` for each, or None when somebody else was quicker to `move` the schedule."""

    arrivals: tuple[Arrival, ...]
    move: Move | None = None


@value
class Arrived:
    """What became of an arrival, now or when it came first: its `status`, and the first execution it has started.

    Of one that is `new`, `started` says for each start how it went.
    """

    new: bool
    status: str
    execution: str | None = None
    started: tuple[Started, ...] = ()
    detail: str | None = None


@value
class Claim:
    """Take a ready segment for `owner` until `due`. Answers `Claimed`, or None when it is not to be had.

    With a limit it has to be let in first: it may wait now for a slot of the `concurrency` or for a token of the `rate`,
    whose keys are rendered, or be refused.
    """

    execution: str
    segment: int
    item: str
    owner: str
    now: int
    due: int
    concurrency: Concurrency | None = None
    rate: Rate | None = None


WINDING = 2
"""The `stop` of a container that does what it does in its end."""


@value
class Claimed:
    """The fence, and where the work stands. `hi` is a chunk's last item, `fan` what a container has waited for.

    `expires` is until when nobody need have taken it up. A container that was stopped and has something to do in its end has a
    `stop` of `WINDING`. What is not `reached` starts only because its region ends with it. `refused` is the code of the failure
    that its limit makes of it, or its wait for a worker. What is `passed` has its milestone behind it, and is not to be done.
    """

    epoch: int
    deliveries: int
    head: int
    tries: int
    ready_at: int
    first_try_at: int | None
    hi: int | None = None
    fan: str | None = None
    expires: int | None = None
    stop: int = 0
    reached: bool = True
    refused: str | None = None
    passed: bool = False


@value
class Held:
    """Common to what a holder of a claim may ask. `epoch` is the fence; a pure segment holds no claim but its epoch."""

    execution: str
    segment: int
    item: str
    epoch: int
    pure: bool
    now: int
    entries: tuple[Entry, ...] = ()
    events: tuple[EventBody, ...] = ()
    blobs: tuple[Blob, ...] = ()


class Recorded(StrEnum):
    """What a holder learns when it journals: go on, stop because somebody asked for it, or go away."""

    HELD = "held"
    STOPPING = "stopping"
    LOST = "lost"


@value
class Record(Held):
    """Journal what has happened so far, before going on. Answers `Recorded`; only when it is held was anything written."""


@value
class Follows(Held):
    """Common to what starts other segments. Answers `Settled`, or None when the fence did not hold.

    The pen hands over at most `inline` successors on the same queue: pure ones, and one that it claims for `owner` until
    `lease` milliseconds from now.
    """

    owner: str = ""
    lease: int = 0
    inline: int = 0


@value
class Settle(Follows):
    """End a segment: with the exits taken, or with the error that ends its region's instance, or the execution.

    Of a segment that ends an instance, `failures` says how many of its items failed. `leave` is a region around it whose
    instance ends with it, and with `closes` all that its container waits for; the whole is left with the execution's output.
    `answer` is what its last node answers whoever waits for the execution. With `stops` a container ends before its instances,
    which stop.
    """

    taken: tuple[bool, ...] = ()
    error: str | None = None
    output: Payload = Payload()
    failures: int = 0
    leave: int | None = None
    closes: bool = False
    answer: Payload | None = None
    stops: bool = False


@value
class Spread(Follows):
    """Rest at the container `head` while the instances of a fan run, which are opened now.

    Without a `fan` the one that is there is waited for on, unless more than `ended` arrivals have been counted by now. With
    `stops` its instances stop instead, and the container is looked at again.
    """

    head: int = 0
    fan: str | None = None
    ended: int = 0
    due: int | None = None
    stops: bool = False


@value
class Settled:
    """What followed: `ready` to be sent, `successors` for the caller to go on with, `finished` with a status.

    `answered`: whoever waits at `reply_to` has an answer now, the first of its execution. `admitted` are segments of any
    executions, with these, that were let in where this one or another has gone.
    """

    ready: tuple[Sendable, ...] = ()
    successors: tuple[tuple[int, str, Claimed], ...] = ()
    finished: str | None = None
    reply_to: str | None = None
    answered: bool = False
    admitted: tuple[tuple[str, Sendable], ...] = ()


@value
class Suspend(Held):
    """Put a segment to rest until `due`, at node `head`, after `tries` attempts. Answers whether the fence held.

    With the `reason` `STOPPING` it waits for something inside that was told to stop, and may be woken before.
    """

    due: int = 0
    head: int = 0
    tries: int = 0
    backing_off: bool = False
    first_try_at: int | None = None
    reason: str | None = None


STOPPING = "stopping"
"""The reason why a container rests while something inside it, told to stop, has not ended."""

CALLING = "calling"
"""The status in the journal of a node that has called an execution, which its output names."""


@value
class Call(Held):
    """Start an execution and rest at `head`, after `spent` attempts, until that has ended, or until `due`.

    A node that is to be called again then names its `step`. Answers `Called`, or None when the fence did not hold.
    """

    _: KW_ONLY
    start: Start
    node: str
    head: int
    spent: int
    began: int
    first_try_at: int | None
    due: int
    step: str = ""


@value
class Called:
    """What was started, and whether its first segment is to be sent now. It may have ended `already`, and been started before.

    Of a segment that was to stop, nothing was started.
    """

    execution: str | None = None
    send: bool = False
    already: bool = False


@value
class Return:
    """The end of `child` wakes the segment that waits for it. Answers the segments to be sent."""

    execution: str
    segment: int
    item: str
    child: str
    now: int


@value
class Forsake:
    """Stop an execution that a segment has called and waits for no more."""

    execution: str
    segment: int
    item: str
    child: str
    now: int
    reason: str


@value
class Subscription:
    """One branch of a wait: its name and kind, and of an event, what it has to be. `since` is in milliseconds."""

    name: str
    kind: str
    event: str = ""
    correlation: str = ""
    since: int = 0
    transient: bool = False


@value
class Approval:
    """What people are asked. `body` is what they are shown, `shown_hash` the hash of it, `due` when nobody is asked any more."""

    id: str
    node: str
    title: str
    body: Payload
    shown_hash: str
    approvers: str
    quorum: int
    rule: str
    four_eyes: bool = False
    reminded: int = 0
    escalated: bool = False
    due: int | None = None


@value
class Rest(Held):
    """Put a segment to rest at node `head` until a signal of one of the `subscriptions`, or until `due`.

    `again`: it goes on resting, so whatever signal it has had since counts, though it listens for others now.
    Answers what is to be sent, or None when the fence did not hold: a signal may be there already.
    """

    project: str = ""
    head: int = 0
    due: int | None = None
    again: bool = False
    subscriptions: tuple[Subscription, ...] = ()
    approval: Approval | None = None


@value
class Signal:
    """Give a wait the signal of its branch `name`, now or before it begins. Answers `Signalled`.

    `source` is the kind of the branch. The first signal a wait is given decides.
    """

    execution: str
    segment: int
    item: str
    name: str
    source: str
    now: int
    payload: Payload = Payload()
    blobs: tuple[Blob, ...] = ()
    principal: str = ""


@value
class Signalled:
    """Whether the signal was the one that counts, and what is to be sent because of it."""

    won: bool
    ready: tuple[Sendable, ...] = ()


@value
class Decide:
    """A person's voice on an approval. Answers `Decided`."""

    execution: str
    approval: str
    principal: str
    roles: frozenset[str]
    decision: str
    shown_hash: str
    now: int
    comment: str = ""
    form: str | None = None


class Counted(StrEnum):
    """What became of a voice: it decided, it is counted and more are needed, or why it is neither."""

    DECIDED = "decided"
    COUNTED = "counted"
    CLOSED = "closed"
    VOTED = "voted"
    STALE = "stale"
    NOT_ASKED = "not_asked"
    FOUR_EYES = "four_eyes"


@value
class Decided:
    """What became of a voice, the approval's status with it, and what is to be sent because of it."""

    counted: Counted
    status: str
    ready: tuple[Sendable, ...] = ()


@value
class Publish:
    """Publish an event. Answers `Published`; of one `source` a `key` that is known publishes nothing.

    With it come the `arrivals` at triggers that wait for such an event, and the schedules that its absence would start
    something by: they are `postponed`, each until a time.
    """

    id: str
    project: str
    type: str
    correlation: str
    now: int
    expires_at: int
    data: Payload = Payload()
    blobs: tuple[Blob, ...] = ()
    source: str = ""
    key: str | None = None
    principal: str = ""
    arrivals: tuple[Arrival, ...] = ()
    postponed: tuple[tuple[str, int], ...] = ()


@value
class Published:
    """The event's id, whether it is `new`, how many waits it ended, and what is to be sent because of it.

    `arrived` says of each arrival what became of it.
    """

    id: str
    new: bool
    woken: int = 0
    ready: tuple[tuple[str, Sendable], ...] = ()
    arrived: tuple[Arrived, ...] = ()


@value
class Doubt(Held):
    """An effect that cannot be repeated has an unknown fate: a person decides. Answers whether the fence held."""

    head: int = 0
    reason: str = ""


@value
class Release(Held):
    """Hand a claim back unfinished (a worker that stops). It costs neither a try nor a delivery."""


@value
class Renew:
    """Prolong claims of one execution (segment, item, epoch). Answers `Renewed`."""

    execution: str
    claims: tuple[tuple[int, str, int], ...]
    now: int
    due: int


@value
class Renewed:
    """Claims that are still held, and whether the execution is to stop, or some of the segments."""

    held: frozenset[Address]
    cancelling: bool
    pausing: bool
    stopping: frozenset[Address] = frozenset()


@value
class Wake:
    """Make rested segments ready whose time has come. Answers those that now are, with their queues."""

    execution: str
    addresses: tuple[Address, ...]
    now: int


@value
class Expire:
    """Give up the wait of ready segments for a worker of their queue. Answers those that another one is to fail."""

    execution: str
    addresses: tuple[Address, ...]
    now: int


@value
class Admit:
    """Look again at the limits that an execution waits at: whoever may go on is let in. The feeder sends it."""

    execution: str
    now: int


@value
class Resend:
    """Mark ready segments (segment, item, due as read) as sent once more. Answers those whose mark was still the same.

    `lost`: somebody took the message before and did not finish, so this counts as a delivery.
    """

    execution: str
    marks: tuple[tuple[int, str, int], ...]
    due: int
    lost: bool = False


@value
class Lose:
    """Take claims (segment, item, epoch) from owners that are dead or late. Answers those that are ready again."""

    execution: str
    claims: tuple[tuple[int, str, int], ...]
    now: int
    reason: str
    deliveries: int


@value
class Cancel:
    """Ask an execution to stop; with `timed_out` because its own deadline passed. Answers its status afterwards.

    With `force`, or when what is done in its end has taken its time already, nothing of that is done.
    """

    execution: str
    now: int
    reason: str = ""
    timed_out: bool = False
    force: bool = False


@value
class Pause:
    """Hold an execution (`resume`: let it go on). Answers the segments to be sent, or None when it has ended."""

    execution: str
    now: int
    resume: bool = False


@value
class Resolve:
    """A person's word on an uncertain or quarantined segment. Answers `Resolved`, or None when it is neither.

    `decision`: `retry` (again, under the same key), `done` (it happened; `output` is its result), `fail`.
    """

    execution: str
    segment: int
    item: str
    decision: str
    now: int
    principal: str
    output: Payload = Payload()
    node: str = ""
    error: str | None = None


@value
class Withdraw:
    """A person takes one node run from whoever has it: it fails with `error`, is skipped, or counts as done with an `output`.

    What the node has called, `child`, is asked to stop. Answers the segments to be sent, or a `withdrawals.Refusal`.
    """

    execution: str
    segment: int
    item: str
    node: str
    now: int
    output: Payload = Payload()
    error: str | None = None
    principal: str = ""
    reason: str = ""
    child: str | None = None


@value
class ChangeItems:
    """A person changes a map that runs: adds items (JSON texts), cancels some by index, or lets it go on without the rest.

    A map has at most so many items, `most`; a text longer than `blob_from` is a blob. Answers `ItemsChanged`, or a
    `withdrawals.Refusal`.
    """

    execution: str
    segment: int
    item: str
    node: str
    now: int
    add: tuple[str, ...] = ()
    cancel: tuple[int, ...] = ()
    error: str = ""
    complete: bool = False
    most: int = 0
    blob_from: int = 0
    principal: str = ""


@value
class ItemsChanged:
    """How many items there are now, which were cancelled (others had ended), and what is to be sent."""

    count: int
    cancelled: tuple[int, ...] = ()
    ready: tuple[Sendable, ...] = ()


Operation = (
    Start
    | Arrive
    | Claim
    | Record
    | Settle
    | Spread
    | Suspend
    | Call
    | Rest
    | Signal
    | Decide
    | Publish
    | Doubt
    | Release
    | Renew
    | Wake
    | Expire
    | Admit
    | Resend
    | Lose
    | Return
    | Forsake
    | Cancel
    | Pause
    | Resolve
    | Withdraw
    | ChangeItems
)


def executions_of(operations: Sequence[Operation]) -> list[str]:
    """Return the executions whose rows a batch touches or copies from, in the order everyone locks them."""
    touched = {each.execution for each in operations if not isinstance(each, (Start, Arrive, Publish))}
    touched.update(each.child for each in operations if isinstance(each, (Return, Forsake)))
    touched.update(each.base for each in operations if isinstance(each, Start) and each.fork and each.base)
    touched.update(each.child for each in operations if isinstance(each, Withdraw) and each.child)
    return sorted(touched)
