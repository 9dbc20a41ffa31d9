"""What a container does next: open instances, keep waiting, or come to an end. Pure.

A container is asked when it is reached, and again when its instances have ended; what they came to is in the journal.
So it is a fold over outcomes, and a crash between two questions loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from celeriac import Fail, Json, NodeError
from engine import parts, retry
from engine.definition import ForEach, Loop, Part
from engine.expressions.values import kind
from engine.failure import TIMED_OUT
from engine.fans import Fan
from engine.plan import Catch, Container, Plan

WINDOW = 1_000
"""Rows of a map under way at once, when its author does not say."""

CHUNK = 500
"""Items of a chunked region that one row holds at most."""

SHARES = 8
"""A chunked map has at least so many rows, if it has the items, so that several workers have their share."""

SLICE = 64
"""Items that are stored together, when each has a row of its own."""


STOPPED: Final[dict[str, Json]] = {
    "code": "scope.stopped",
    "message": "The scope was stopped before its body had ended.",
}
"""The failure that a stopped scope has, for what undoes it and is done in its end."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one instance came to. It has `left` when with it the whole container came to an end."""

    index: int
    value: Json
    error: dict[str, Json] | None = None
    left: bool = False


Outcomes = Mapping[int, Sequence[Outcome]]
"""By region, in the order of the indexes; of a loop, the last one is enough."""

Ask = Callable[..., Json]
"""Evaluates one of the container's expressions: its name, and further names it may use."""


@dataclass(frozen=True, slots=True)
class Open:
    """Open the instances of a region. `values` are their items; without them the instances have none.

    `error` is the failure they are to deal with.
    """

    fan: Fan
    values: list[Json] | None = None
    error: dict[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class Stay:
    """Wait for more arrivals than these `ended` ones."""

    ended: int


@dataclass(frozen=True, slots=True)
class Done:
    """The container succeeded. A part does so with what is seen of its nodes from outside."""

    value: Json


@dataclass(frozen=True, slots=True)
class Gather:
    """The container succeeded with the list of what all instances of its body came to."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """The body of a scope is to be stopped, and has failed. What follows a failure follows when nothing of it runs any more."""

    error: dict[str, Json]


Action = Open | Stay | Done | Gather | Overdue


def decide(
    container: Container,
    ask: Ask,
    fan: Fan | None,
    outcomes: Outcomes,
    *,
    now: int,
    chunked: bool,
    most: int,
    undone: Sequence[int] = (),
    led: Collection[str] = (),
    winding: bool = False,
) -> Action:
    """Return what a container does next. Raises `Fail` when it fails, or what `ask` raises.

    `fan` is nothing when the container has just been reached. `most` limits the items of a map; `undone` are the regions
    that undo what has succeeded in the body, in their order; `led` are the edges by which the last round of a circle ended.
    A scope that is `winding` up was stopped.
    """
    late = fan is not None and fan.deadline is not None and now >= fan.deadline and not winding
    if fan is not None and late and not fan.over:
        message = f"It took longer than {container.timeout:g} s."
        if container.each is not None or container.loop is not None:
            raise Fail(TIMED_OUT, message)
        if container.body not in outcomes:
            return Overdue({"code": TIMED_OUT, "message": message})
    deadline = None if container.timeout is None else now + round(container.timeout * 1000)
    if container.each is not None:
        map_ = _Map(container, container.each, ask)
        if fan is None:
            return map_.begin(chunked=chunked, most=most, deadline=deadline)
        return map_.go_on(fan, outcomes.get(container.body, ()))
    if container.part is not None and container.part.kind == "circle":
        return _circle(container, container.part, fan, outcomes.get(container.body, ()), led)
    if container.part is not None:
        return _each(container.part, fan, outcomes.get(container.body, ()))
    if container.loop is not None:
        loop = _Loop(container, container.loop, ask)
        return loop.begin(deadline) if fan is None else loop.go_on(fan, outcomes.get(container.body, ()))
    if fan is not None and not fan.over:
        return Stay(fan.ended)
    if winding:
        return _wind_up(container, outcomes, undone)
    return _scope(container, outcomes, undone, deadline if fan is None else fan.deadline)


@dataclass(frozen=True, slots=True)
class _Map:
    container: Container
    each: ForEach
    ask: Ask

    def begin(self, *, chunked: bool, most: int, deadline: int | None) -> Action:
        """Look at the items and open the first of them."""
        items = self.ask("items")
        if not isinstance(items, list):
            message = f"The items of a map are {kind(items)}, and have to be a list."
            raise Fail("map.items_not_a_list", message)
        if len(items) > most:
            message = f"The map has {len(items):,} items; at most {most:,} are allowed."
            raise Fail("map.too_many_items", message)
        batch = self.each.batch
        if batch > 1:
            items = [items[index : index + batch] for index in range(0, len(items), batch)]
        if not items:
            return Done(self._collected((), 0))
        count = len(items)
        size = min(CHUNK, -(-count // SHARES)) if chunked else 1
        fan = Fan(
            region=self.container.body,
            first=0,
            count=count,
            size=size,
            window=-(-(self.each.concurrency or WINDOW) // size),
            tolerate=tolerated(self.each, count),
            watch=self.each.until is not None,
            deadline=deadline,
        )
        return Open(fan, items)

    def go_on(self, fan: Fan, outcomes: Sequence[Outcome]) -> Action:
        """Look at what has ended."""
        left = next((each for each in outcomes if each.left), None)
        if left is not None:
            return Done(left.value)
        failed = [each for each in outcomes if each.error is not None] if fan.failed else []
        if fan.failed > fan.tolerate and failed:
            first = failed[0]
            error = first.error or {}
            details: dict[str, Json] = {"item": first.index, "failed": len(failed), "count": fan.count}
            message = f"Item {first.index} failed: {error.get('message')}"
            raise Fail(str(error.get("code")), message, details)
        if self.each.until is not None and outcomes and not fan.over:
            results: list[Json] = []
            if "results" in self.each.until:
                results = [each.value for each in outcomes if each.error is None]
            done: Json = len(outcomes) - len(failed)
            names = {"results": results, "done": done, "failed": len(failed), "count": fan.count}
            if _is_true("until", self.ask("until", **names)):
                return Done(self._collected(outcomes, fan.count))
        return Done(self._collected(outcomes, fan.count)) if fan.over else Stay(fan.ended)

    def _collected(self, outcomes: Iterable[Outcome], count: int) -> Json:
        """Return the result: in the order of the items, with failures as the author wants them."""
        found = list(outcomes)
        match self.each.on_item_error:
            case "drop":
                return [each.value for each in found if each.error is None]
            case "partition":
                return {
                    "succeeded": [each.value for each in found if each.error is None],
                    "failed": [
                        {"index": each.index, "error": each.error} for each in found if each.error is not None
                    ],
                }
        if len(found) == count:
            return [each.value for each in found]
        return [each.value for each in found if each.error is None]


def tolerated(each: ForEach, count: int) -> int:
    """Return how many of so many items may fail before the map does."""
    if each.tolerate_count is not None:
        return each.tolerate_count
    if each.tolerate_percent is not None:
        return int(count * each.tolerate_percent / 100)
    return 0 if each.on_item_error == "fail" else count


@dataclass(frozen=True, slots=True)
class _Loop:
    container: Container
    loop: Loop
    ask: Ask

    def begin(self, deadline: int | None) -> Action:
        """Ask whether there is a first iteration."""
        initial = self.ask("initial")
        if not self.loop.until and not self._goes_on(initial, 0):
            return Done([] if self.loop.collect else initial)
        return Open(self._fan(0, deadline), [initial])

    def go_on(self, fan: Fan, outcomes: Sequence[Outcome]) -> Action:
        """Ask whether there is another iteration."""
        if not fan.over:
            return Stay(fan.ended)
        last = outcomes[-1]
        if last.error is not None:
            details: dict[str, Json] = {"iteration": last.index}
            raise Fail(
                str(last.error.get("code")),
                f"Iteration {last.index} failed: {last.error.get('message')}",
                details,
            )
        finished = last.index + 1
        if last.left:
            return Done(last.value)
        if not self._goes_on(last.value, finished):
            return Gather() if self.loop.collect else Done(last.value)
        if finished >= self.loop.max_iterations:
            message = f"The loop is not over after {finished:,} iterations."
            raise Fail("loop.too_many_iterations", message)
        return Open(self._fan(finished, fan.deadline))

    def _goes_on(self, item: Json, index: int) -> bool:
        word = "until" if self.loop.until else "while"
        return _is_true(word, self.ask("condition", item=item, index=index)) is not self.loop.until

    def _fan(self, index: int, deadline: int | None) -> Fan:
        return Fan(self.container.body, index, 1, 1, 1, 0, deadline=deadline)


def _circle(
    container: Container, part: Part, fan: Fan | None, outcomes: Sequence[Outcome], led: Collection[str]
) -> Action:
    """Go round once more, if the last round has taken an edge back."""
    if fan is None:
        return Open(_single(container.body, None), [{}])
    if not fan.over:
        return Stay(fan.ended)
    last = outcomes[-1]
    if last.error is not None:
        raise _failed(last)
    finished = last.index + 1
    if not any(parts.leads_to(each, part.first) for each in led):
        return Done({"nodes": last.value})
    if finished >= part.most:
        message = f"The circle from {part.first} is not over after {finished:,} rounds."
        raise Fail("loop.too_many_iterations", message, {"node": part.first})
    return Open(Fan(container.body, finished, 1, 1, 1, 0))


def _each(part: Part, fan: Fan | None, outcomes: Sequence[Outcome]) -> Action:
    """Wait for all edges and for what they have opened, and list what each node came to, in the order of the edges."""
    failed = next((each for each in outcomes if each.error is not None), None)
    if failed is not None:
        raise _failed(failed)
    if fan is None or not fan.over:
        return Stay(0 if fan is None else fan.ended)
    seen = [each.value if isinstance(each.value, dict) else {} for each in outcomes]
    found: dict[str, Json] = {}
    for name in part.shown:
        contexts = [each.get(name) for each in seen]
        if any(isinstance(each, dict) and "output" in each for each in contexts):
            found[name] = {
                "output": [each.get("output") if isinstance(each, dict) else None for each in contexts]
            }
    return Done({"nodes": found})


def _failed(outcome: Outcome) -> Fail:
    """Return the failure of an instance as that of the part: it is the node's own."""
    error = outcome.error or {}
    details = error.get("details")
    more: dict[str, Json] = {"node": error.get("node"), "index": outcome.index}
    return Fail(
        str(error.get("code")),
        str(error.get("message")),
        {**(details if isinstance(details, dict) else {}), **more},
    )


def _scope(container: Container, outcomes: Outcomes, undone: Sequence[int], deadline: int | None) -> Action:
    """Go from the body to what undoes it, to who catches its failure, and to what is done in the end anyway."""
    if container.body not in outcomes:
        return Open(_single(container.body, deadline))
    outcome = outcomes[container.body][-1]
    if outcome.error is not None:
        undoing = _undo(outcomes, undone, outcome.error)
        if undoing is not None:
            return undoing
        error = with_compensations(container, outcomes, outcome.error)
        outcome = Outcome(outcome.index, None, error)
        caught = next((each for each in container.catch if catches(each, error)), None)
        if caught is not None:
            if caught.region not in outcomes:
                return Open(_single(caught.region, None), error=error)
            outcome = outcomes[caught.region][-1]
    if container.last is not None:
        if container.last not in outcomes:
            return Open(_single(container.last, None), error=outcome.error)
        final = outcomes[container.last][-1]
        outcome = final if final.error is not None else outcome
    if outcome.error is not None:
        error = outcome.error
        details = error.get("details")
        raise Fail(
            str(error.get("code")), str(error.get("message")), details if isinstance(details, dict) else {}
        )
    return Done(outcome.value)


def _wind_up(container: Container, outcomes: Outcomes, undone: Sequence[int]) -> Action:
    """Undo what a stopped scope has done, unless its body was over, and do what is done in the end anyway. Nobody catches it."""
    error = outcomes[container.body][-1].error
    if error is not None:
        undoing = _undo(outcomes, undone, error)
        if undoing is not None:
            return undoing
        error = with_compensations(container, outcomes, error)
    if container.last is not None and container.last not in outcomes:
        return Open(_single(container.last, None), error=error)
    return Done(None)


def _undo(outcomes: Outcomes, undone: Sequence[int], error: dict[str, Json]) -> Open | None:
    """Return the next step of undoing, if one is left."""
    left = next((each for each in undone if each not in outcomes), None)
    return None if left is None else Open(_single(left, None), error=error)


def with_compensations(container: Container, outcomes: Outcomes, error: dict[str, Json]) -> dict[str, Json]:
    """Return the failure of a scope with those of its compensations among the details. The first failure stays the cause."""
    failed: list[Json] = [
        {"node": node, "error": outcomes[region][-1].error}
        for node, region in container.undo
        if region in outcomes and outcomes[region][-1].error is not None
    ]
    if not failed:
        return error
    details = error.get("details")
    return {**error, "details": {**(details if isinstance(details, dict) else {}), "compensations": failed}}


def catches(handler: Catch, error: Mapping[str, Json]) -> bool:
    """Whether a handler is for an error."""
    known = NodeError(str(error.get("code")), str(error.get("message")))
    return not retry.names(handler.excluding, known) and (not handler.on or retry.names(handler.on, known))


@dataclass(frozen=True, slots=True)
class Leaving:
    """The region whose instance ends early, and whether its container ends with it. Region 0 is the execution."""

    region: int
    closes: bool


def leaving(plan: Plan, region: int, scope: str) -> Leaving:
    """Return what an exit out of a region ends. Raises `Fail` when there is no such thing around it, or not without ado."""
    here = plan.regions[region]
    while here.id:
        container = plan.nodes[here.owner].container
        repeats = container is not None and (container.each is not None or container.loop is not None)
        if scope == here.owner and here.kind == "body":
            return Leaving(here.id, closes=True)
        if scope in ("iteration", "loop") and repeats:
            return Leaving(here.id, closes=scope == "loop")
        if container is not None and (container.last is not None or container.undo):
            message = f"The exit would pass by what {here.owner} does in the end."
            raise Fail("exit.past_finally", message)
        here = plan.regions[here.parent]
    if scope == "workflow":
        return Leaving(0, closes=True)
    message = f"There is no {scope} around the node to be ended."
    raise Fail("exit.nothing_to_end", message)


def _single(region: int, deadline: int | None) -> Fan:
    return Fan(region, 0, 1, 1, 1, 0, deadline=deadline)


def _is_true(word: str, value: Json) -> bool:
    if not isinstance(value, bool):
        message = f"`{word}` is {kind(value)}, not true or false."
        raise Fail("expression.not_boolean", message)
    return value
