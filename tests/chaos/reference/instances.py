"""One instance of a graph: all of its nodes are decided one after the other, by the rules or as the record says they were.

Without a record the rules alone say what becomes of it. With one, it is followed: whatever the rules leave open (who is
first, what time and people decide) is as it was, and everything else has to be as they say.

What has begun and has not ended is *unfinished*, and needs a reason: that something ended the graph around it, or that
a join stopped what could only have led to it. What had begun by then may still end, and nothing may follow from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tests.chaos.reference.expressions import ANYTHING, Failure, evaluate, one_of, render
from tests.chaos.reference.graphs import (
    STOPPED,
    Alone,
    Edge,
    Node,
    Outcome,
    Shown,
    Way,
    cancels_rest,
    graphs,
    in_order,
    leaves_by,
    losers,
    milestone_of,
    owes,
    results,
    start_of,
)
from tests.chaos.reference.limits import Begun, Held
from tests.chaos.reference.record import Ended, Place, Record


class _Unfinished:
    """Something inside has not ended."""


UNFINISHED: Final = _Unfinished()


@dataclass(slots=True)
class Given:
    """What holds for all of an execution, and what is found out about it."""

    definition: Mapping[str, Any]
    payload: Any
    answers: Mapping[str, Sequence[str]]
    perform: Callable[[Run, Node, int, int], Outcome | None]
    """Carries out a node, given the place in the history from which it may, and the time from which it counts its own."""
    record: Record | None = None
    library: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    depth: int = 0
    runs: dict[Place, Outcome | None] = field(default_factory=dict)
    """Every place that may have been reached, with what it came to; nothing for what did not end."""
    held: list[Held] = field(default_factory=list)
    begun: list[Begun] = field(default_factory=list)
    answers_given: list[tuple[Place, Ended]] = field(default_factory=list)
    """The answers that were given by what ended."""
    cut: bool = False
    """Whether something was ended early, so that what ran in it may be heard of later."""
    undecided: set[Place] = field(default_factory=set)
    """Places behind what did not end. What ran there last may not be known."""
    complaints: list[tuple[Place, str]] = field(default_factory=list)

    def complain(self, place: Place, text: str) -> None:
        self.complaints.append((place, text))

    @contextmanager
    def in_base(self) -> Iterator[None]:
        """Follow the record of the execution of which this is a fork, for what was taken over. It is judged by itself."""
        record, complaints, held, begun = self.record, self.complaints, self.held, self.begun
        answered, runs, undecided = self.answers_given, self.runs, self.undecided
        assert record is not None
        self.record, self.complaints, self.held, self.begun = record.base, [], [], []
        self.answers_given, self.runs, self.undecided = [], {}, set()
        try:
            yield
        finally:
            self.record, self.complaints, self.held, self.begun = record, complaints, held, begun
            self.answers_given, self.runs, self.undecided = answered, runs, undecided


@dataclass(frozen=True, slots=True)
class End:
    """What ends an instance before all of it is done: a failure that is nobody's, or an `exit` from it or from around it."""

    node: str
    seq: int
    code: Any = None
    leave: Leave | None = None


class Leave(Exception):
    """An exit out of an instance around; `closes` when all of its container ends with it."""

    def __init__(self, target: Run, *, closes: bool, value: Any, seq: int) -> None:
        super().__init__(target.region)
        self.target = target
        self.closes = closes
        self.value = value
        self.seq = seq


@dataclass(slots=True, eq=False)
class Run:
    """One instance: the names and outcomes around it, and what becomes of its nodes."""

    given: Given
    body: Mapping[str, Any]
    region: str = ""
    item: str = ""
    parent: Run | None = None
    owner: Node | None = None
    since: int = 0
    names: dict[str, Any] = field(default_factory=dict)
    around: dict[str, Any] = field(default_factory=dict)
    predicting: bool = False
    nodes: dict[str, Outcome] = field(default_factory=dict)
    ways: dict[int, Way] = field(default_factory=dict)
    unfinished: set[str] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)
    ends: list[End] = field(default_factory=list)
    last: int = 0
    """The last place in the history at which something in it ended."""
    late: int = 0
    """The same for what scopes in it did in their end, after they were stopped."""

    @property
    def is_end(self) -> bool:
        """Whether it belongs to the end of a scope, over which a stop passes."""
        here: Run | None = self
        while here is not None:
            if here.region.endswith(("@finally", "@undo")):
                return True
            here = here.parent
        return False

    @property
    def edges(self) -> Sequence[Edge]:
        return self.body.get("edges", ())  # type: ignore[no-any-return]

    @property
    def fatal(self) -> set[str]:
        return {each.node for each in self.ends if each.leave is None}

    def found(self, name: str) -> Ended | None:
        """What the record says of a place in it."""
        record = self.given.record
        return None if record is None or self.predicting else record.ends.get((name, self.item))

    def complain(self, name: str, text: str) -> None:
        self.given.complain((name, self.item), text)


def walk(run: Run) -> None:
    """Decide every node of a graph."""
    for index, edge in enumerate(run.edges):
        if edge["from"] == "trigger":
            run.ways[index] = Way(evaluate(edge.get("when", "true"), scope_of(run)), ran=True, seq=run.since)
    for name, node in in_order(run.body["nodes"], run.edges):
        entering = [run.ways.get(index) for index, each in enumerate(run.edges) if each["to"] == name]
        starts, since = start_of(node, entering) if entering else (True, run.since)
        if starts is None:
            run.given.undecided.add((name, run.item))
            continue
        if not starts:
            run.nodes[name] = Outcome("skipped", seq=since)
            run.given.runs.setdefault((name, run.item), run.nodes[name])
            _decide(run, name)
            continue
        if "enabled_while" not in node or not _is_past(run, node, since):
            _start(run, node, since, _ready(run, entering, since))
        if cancels_rest(node):
            _stop(run, losers(run.body, name), since)
    first = min((each.seq for each in run.ends if each.seq), default=0)
    run.given.cut = run.given.cut or bool(run.ends)
    if first:
        _nothing_follows(run, run.nodes, first)
    asked = 0 if run.given.record is None or run.predicting else run.given.record.asked
    if asked and not run.is_end:
        _nothing_follows(run, run.nodes, asked)


def _is_past(run: Run, node: Node, since: int) -> bool:
    """Hold a node against its milestone. Returns whether it did not begin, as that had ended."""
    record, name = run.given.record, node["id"]
    if record is None or run.predicting:
        return False
    if (name, run.item) in record.kept and (name, run.item) not in record.skipped:
        return False
    milestone = str(milestone_of(node))
    end, found = run.found(milestone), run.found(name)
    skipped = record.skipped.get((name, run.item))
    if skipped is not None:
        kept = {(name, run.item), (milestone, run.item)} & {*record.kept}
        if not kept and (end is None or not 0 < end.seq < skipped):
            run.complain(name, f"it was skipped at {skipped}, and {milestone} had not ended: {end}")
        run.nodes[name] = run.given.runs[name, run.item] = Outcome("skipped", seq=skipped)
        _decide(run, name, had_its_turn=True)
        return True
    claimed = any(
        since <= seq < (end.seq if end else seq + 1) for seq, item in record.claims if item == run.item
    )
    again = (milestone, run.item) in record.kept  # then its end is carried again, before or after
    if found is not None and not claimed and not again:
        run.complain(name, f"nobody took it up after {since} and before the end of {milestone}: {end}")
    return False


def joined(run: Run, node: Node, since: int) -> Iterator[Mapping[str, Any]]:
    """Yield the names that a node has because of its join: what can have met there, of several the least first.

    What was taken before somebody took it up may be among it.
    """
    rule = node.get("join")
    if not isinstance(rule, Mapping) or "collect" not in rule:
        yield {}
        return
    taken = [
        (run.ways[number].seq, each["written"])
        for number, each in enumerate(run.edges)
        if each["to"] == node["id"] and number in run.ways and run.ways[number].taken
    ]
    found = run.found(node["id"])
    later = {seq for seq, _ in taken if found is not None and since < seq < found.seq}
    own = seen(run)
    for until in [since, *sorted(later)]:
        met = {name: own.get(name, {}).get("output") for seq, name in taken if seq <= until}
        yield {"joined": met if rule["collect"] == "map" else list(met.values())}


def _ready(run: Run, entering: Sequence[Way | None], since: int) -> int:
    """The time from which a node counts its own."""
    record = run.given.record
    at_first = 0 if record is None else record.times.get(run.since, record.created_at)
    return max((each.ready for each in entering if each is not None and each.seq == since), default=at_first)


def _start(run: Run, node: Node, since: int, ready: int) -> None:
    name = node["id"]
    run.given.runs[name, run.item] = None
    record = run.given.record
    try:
        if record is not None and not run.predicting and (name, run.item) in record.kept:
            _compare_kept(run, name, record)
            places = run.last, run.late  # those of the base are none here
            with run.given.in_base():
                outcome = run.given.perform(run, node, since, ready)
            outcome = outcome and replace(outcome, seq=0, commit=0, ready=record.created_at)
            run.last, run.late = places
        else:
            outcome = run.given.perform(run, node, since, ready)
    except Leave as leave:
        run.ends.append(End(name, leave.seq, leave=leave))
        return
    if outcome is None:
        run.unfinished.add(name)
        return
    run.nodes[name] = run.given.runs[name, run.item] = outcome
    run.last = max(run.last, outcome.seq)
    if outcome.fatal:
        run.ends.append(End(name, outcome.seq, outcome.code))
    else:
        _decide(run, name)


def _compare_kept(run: Run, name: str, record: Record) -> None:
    """Hold what a fork has taken over against what it was."""
    known = None if record.base is None else record.base.ends.get((name, run.item))
    found = record.ends.get((name, run.item))
    if known is None or found is None or (known.state, known.output) != (found.state, found.output):
        run.complain(name, f"it is kept as {found and told(found)}, and was {known and told(known)}")


def _decide(run: Run, name: str, *, had_its_turn: bool = False) -> None:
    """Decide the edges out of a node that ran or was skipped, maybe when its turn had come."""
    outcome = run.nodes[name]
    ran = outcome.state != "skipped"
    for index, edge in enumerate(run.edges):
        if edge["from"] != name:
            continue
        taken = ran and leaves_by(edge, outcome, run.edges)
        if taken and "when" in edge:
            try:
                taken = evaluate(edge["when"], scope_of(run))
            except Failure as failure:
                run.ends.append(End(name, 0, failure.code))
                return
        run.ways[index] = Way(taken, ran or had_its_turn, outcome.seq, outcome.ready)


def _stop(run: Run, names: set[str], since: int) -> None:
    """Let a join stop what could only have led to it."""
    run.stopped |= names
    run.given.cut = True
    run.ends = [each for each in run.ends if each.node not in names or 0 < each.seq <= since]
    if since:
        _nothing_follows(run, names, since)


def _nothing_follows(run: Run, names: Iterable[str], since: int) -> None:
    """What ends after it was stopped is known, and nothing is to follow from it but what ended in the same moment."""
    for edge in run.edges:
        before, after = run.nodes.get(edge["from"]), run.nodes.get(edge["to"])
        if before is None or after is None or edge["to"] not in names:
            continue
        if since < before.seq < after.seq and before.commit != after.commit:
            run.complain(edge["to"], f"it followed {edge['from']}, which had been stopped at {since}")


def instance(
    run: Run,
    owner: Node,
    region: str,
    body: Mapping[str, Any],
    index: int,
    since: int,
    names: Mapping[str, Any] | None = None,
    around: Mapping[str, Any] | None = None,
) -> tuple[Run, Outcome | None]:
    """Perform a body once. Returns it, and what it came to: nothing, when it has not ended. Raises `Leave`.

    `around` are the nodes that it sees, when these are not those that `run` does.
    """
    item = f"{run.item}.{index}" if run.item else str(index)
    record = run.given.record
    chunked = record is not None and region in record.chunked and (f"{region}@end", item) in record.ends
    within = Run(
        run.given,
        body,
        region,
        item,
        run,
        owner,
        since,
        {**run.names, **(names or {})},
        seen(run) if around is None else dict(around),
        run.predicting or chunked,
    )
    if _was_kept(within):
        with run.given.in_base():
            walk(within)
            outcome = _concluded(within, chunked=chunked)
        run.given.runs[f"{region}@end", item] = outcome
        return within, outcome and replace(outcome, seq=0, commit=0)
    walk(within)
    run.last, run.late = max(run.last, within.last), max(run.late, within.late)
    return within, _concluded(within, chunked=chunked)


def _was_kept(run: Run) -> bool:
    """Whether a fork has taken an item of a map over: its end is what it was, and nothing was done in it."""
    record, place = run.given.record, (f"{run.region}@end", run.item)
    if record is None or record.base is None or run.predicting or place not in record.ends:
        return False
    if run.owner is None or run.region != run.owner["id"] or "for_each" not in run.owner:
        return False
    known, found = record.base.ends.get(place), record.ends[place]
    names = {each["id"] for graph in graphs(run.body) for each in graph["nodes"]}
    inside = any(
        name in names and (item == run.item or item.startswith(f"{run.item}.")) for name, item in record.ends
    )
    same = known is not None and (known.state, known.output) == (found.state, found.output)
    return same and not inside and found.state == "succeeded"


def _concluded(run: Run, *, chunked: bool) -> Outcome | None:
    """What an instance came to."""
    place = (f"{run.region}@end", run.item)
    record = run.given.record
    found = record.ends.get(place) if record is not None and (chunked or not run.predicting) else None
    outward = [each.leave for each in run.ends if each.leave is not None and each.leave.target is not run]
    if outward and found is None:
        raise min(outward, key=lambda each: each.seq)
    possible = list(_possible(run, late_allowed=found is not None))
    run.given.runs[place] = None
    if found is None:
        if record is not None and not run.predicting:
            return None
        if not possible:
            return None
        failed = frozenset(str(each.code) for each in possible if each.state == "failed")
        outcome = possible[0] if not failed else Outcome("failed", None, one_of(failed))
        run.given.runs[place] = outcome
        return outcome
    agreed = next((each for each in possible if agrees(found, each)), None)
    outcome = agreed or Outcome(found.state, found.output, found.code)
    if agreed is None:
        left = sorted(run.unfinished - run.stopped)
        run.given.complain(place, f"{told(found)} instead of {possible or f'an end of {left}'}")
    run.given.cut = run.given.cut or outcome.code in ("node.timeout", STOPPED)
    last = max((each.seq for each in run.nodes.values()), default=0)
    outcome = Outcome(outcome.state, outcome.output, found.code or outcome.code, last)
    run.given.runs[place] = outcome
    return outcome


def _possible(run: Run, *, late_allowed: bool) -> Iterable[Outcome]:
    """What an instance can have come to: by what ended it early, by its time, or by itself."""
    for each in run.ends:
        if each.leave is None:
            yield Outcome("failed", None, each.code)
        elif each.leave.target is run:
            yield Outcome("left" if each.leave.closes else "succeeded", each.leave.value)
    if not run.ends and not run.unfinished - run.stopped:
        try:
            yield Outcome("succeeded", _result(run))
        except Failure as failure:
            yield Outcome("failed", None, failure.code)
    timed = run.owner is not None and "timeout" in run.owner and run.region == run.owner["id"]
    if timed and late_allowed:
        yield Outcome("failed", None, "node.timeout")
    if late_allowed and _may_be_stopped(run):
        yield Outcome("failed", None, STOPPED)


def _may_be_stopped(run: Run) -> bool:
    """Whether it is the body of a scope that has something to do in its end, and did not come to anything."""
    owner, record = run.owner, run.given.record
    if owner is None or record is None or run.parent is None or run.region != owner["id"]:
        return False
    return owes(owner) and (owner["id"], run.parent.item) not in record.ends


def _result(run: Run) -> Any:
    """What an instance comes to: as its author says, or what its leaves came to."""
    if "output" in run.body:
        return render(run.body["output"], scope_of(run), "")
    if run.owner is not None and "part" in run.owner:
        return Shown((), seen(run))
    final, found = results(run.body), final_outputs(run)
    return found if len(final) != 1 else found.get(final[0])


def final_outputs(run: Run) -> dict[str, Any]:
    """The outputs of the nodes that came to something and that nothing follows."""
    own = seen(run, around={})
    failed = {name: {"output": None} for name, each in own.items() if "output" not in each}
    return {name: {**own, **failed}[name]["output"] for name in results(run.body) if name in own}


def value_of(outcome: Outcome) -> Any:
    return outcome.output.value if isinstance(outcome.output, Alone) else outcome.output


def agrees(found: Ended, outcome: Outcome) -> bool:
    """Whether what was recorded is what the rules say."""
    if outcome.state == "open":
        return found.state in ("succeeded", "continued")
    if found.state != outcome.state or (outcome.code is not None and outcome.code != found.code):
        return False
    return outcome.state == "failed" or bool(value_of(outcome) == found.output)


def told(found: Ended) -> str:
    return f"{found.state} {found.code or found.output}"


def seen(run: Run, around: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The outcomes of nodes as expressions see them, those around a graph among them."""
    nodes: dict[str, Any] = dict(run.around if around is None else around)
    for name, outcome in run.nodes.items():
        if isinstance(outcome.output, Shown):
            nodes |= outcome.output
            continue
        # What it came to in an earlier round is not what it came to in this one.
        own: dict[str, Any] = {}
        if outcome.state in ("succeeded", "continued"):
            own["output"] = value_of(outcome)
        if outcome.code is not None:
            own["error"] = {"code": outcome.code}
        if own:
            nodes[name] = own
    return nodes


def scope_of(run: Run) -> dict[str, Any]:
    """The names that an expression may use."""
    given = run.given
    payload = given.payload if isinstance(given.payload, dict) else {}
    own = {"trigger": {"payload": given.payload}, "nodes": seen(run)}
    own["vars"] = dict(given.definition.get("variables", {}))
    own["execution"] = {"id": ANYTHING if given.record is None else given.record.execution}
    return {**payload, **own, **run.names}
