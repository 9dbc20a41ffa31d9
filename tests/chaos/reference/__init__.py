"""What a definition means, a second time: the executable specification of the language. It shares nothing with the engine.

`interpret` says what becomes of an execution as far as the rules alone decide it. `judge` holds a recorded execution against
the rules: it follows the recorded order of decisions, takes from it what the rules leave open (which of several was first,
when time ran out, what people and other executions decided), and complains of everything else that is not as they say.

- `expressions`: the small part of the expression language that the tests' definitions use
- `graphs`: when a node starts, and which ways it leaves by
- `instances`: one graph, walked through from its roots to its end
- `containers`: maps and loops; `scopes`; `parts`: circles and joins `each`; `nodes`: everything else
- `limits`: what mutexes, limits and rates say of the order across executions
- `record`: what is known of an execution that was carried out
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.chaos.reference.containers import contain
from tests.chaos.reference.expressions import ANYTHING, Failure, evaluate, render
from tests.chaos.reference.graphs import Node, Outcome, graphs, handles_failure, ports_of
from tests.chaos.reference.instances import (
    UNFINISHED,
    Given,
    Run,
    agrees,
    final_outputs,
    joined,
    scope_of,
    told,
    value_of,
    walk,
)
from tests.chaos.reference.limits import Begun, Held, begun, crowds, held, overlaps, turns
from tests.chaos.reference.nodes import QUICK, come_to, in_time, judge_answers, permitted
from tests.chaos.reference.parts import folded
from tests.chaos.reference.record import Child, Ended, Place, Published, Record, Vote

__all__ = [
    "ANYTHING", "Begun", "Child", "Ended", "Held", "Outcome", "Place", "Published", "Record", "Result", "Vote", "crowds",
    "evaluate", "folded", "graphs", "interpret", "judge", "overlaps", "ports_of",
]  # fmt: skip


LIMITED = {"mutex", "concurrency"}


@dataclass(slots=True)
class Result:
    """What an execution comes to. `nodes` are those outside of every container; `fatal` may have ended it.

    `runs` are all places that were reached, and `undecided` those behind what did not end. Something of it may
    have ended `early`, while other branches were at work. `complaints` are what of a record is not as it has to be.
    """

    status: str
    nodes: dict[str, Outcome]
    fatal: set[str]
    runs: dict[Place, Outcome | None]
    output: Any
    undecided: set[Place]
    early: bool
    held: list[Held]
    begun: list[Begun]
    complaints: list[tuple[Place, str]]


def interpret(
    document: Mapping[str, Any],
    payload: Any,
    answers: Mapping[str, Sequence[str]] | None = None,
    *,
    library: Mapping[str, Mapping[str, Any]] | None = None,
    depth: int = 0,
) -> Result:
    """Run a definition. `answers` are the words its calls get, one a try, the last for ever after; else `ok`.

    `library` are the definitions it may call, by name.
    """
    given = Given(
        document["definition"], payload, answers or {}, _perform, library=library or {}, depth=depth
    )
    run = Run(given, folded(document["definition"]))
    walk(run)
    left = [each.leave for each in run.ends if each.leave is not None]
    status, output, fatal = "succeeded", None, run.fatal
    if left and not fatal:
        output = left[0].value
    elif not fatal:
        try:
            output = _output(run)
        except Failure:
            fatal = {"@output"}
    if fatal:
        status = "failed"
    return Result(status, run.nodes, fatal, given.runs, output, given.undecided, given.cut, [], [], [])


def judge(
    document: Mapping[str, Any], payload: Any, answers: Mapping[str, Sequence[str]], record: Record
) -> Result:
    """Hold a recorded execution against the rules."""
    given = Given(document["definition"], payload, answers, _perform, record, depth=record.depth)
    run = Run(given, folded(document["definition"]))
    given.held, given.begun = turns(record, document["definition"], scope_of(run))
    walk(run)
    _judge_end(run, record)
    judge_answers(given)
    for place in record.ends.keys() - given.runs.keys():
        if not place[0].startswith("@"):
            given.complain(place, "it has run, and should not")
    for place, outcome in given.runs.items():
        if outcome is not None and outcome.state == "skipped" and place in record.ends:
            given.complain(place, f"it is skipped, and has run: {told(record.ends[place])}")
    runs, undecided = given.runs, given.undecided
    return Result(
        record.status,
        run.nodes,
        run.fatal,
        runs,
        record.output,
        undecided,
        given.cut,
        given.held,
        given.begun,
        given.complaints,
    )


def _judge_end(run: Run, record: Record) -> None:
    """Hold the end of an execution against what may have ended it."""
    end: Place = ("", "")
    missing = sorted(run.unfinished - run.stopped)
    if 0 < record.over <= run.late:
        run.given.complain(end, f"it ended at {record.over}, and scopes in it at {run.late}")
    match record.status:
        case "succeeded":
            outputs = [each.leave.value for each in run.ends if each.leave is not None]
            if not run.ends and not missing:
                try:
                    outputs.append(_output(run))
                except Failure as failure:
                    run.given.complain(end, f"it succeeded, and its output fails with {failure.code}")
                    return
            for name in missing if not run.ends else ():
                run.complain(name, "it has not ended, and nothing has stopped it")
            if record.output not in outputs and (run.ends or not missing):
                run.given.complain(end, f"it succeeded with {record.output}, not {outputs}")
        case "failed":
            blamed = record.error.get("node") if isinstance(record.error, Mapping) else None
            guilty = set(run.fatal)
            if not run.ends and not missing:
                try:
                    _output(run)
                except Failure:
                    guilty.add("@output")
            if blamed not in {*guilty, *_inside(run, guilty)}:
                run.given.complain(end, f"{blamed} ended it ({record.error}), not {sorted(guilty)}")
        case "timed_out":
            seconds = run.given.definition.get("timeout")
            if seconds is None or record.finished_at - record.created_at < seconds * 1000 - record.slack:
                run.given.complain(
                    end, f"it ran out of time after {record.finished_at - record.created_at} ms"
                )


def _perform(run: Run, node: Node, since: int, ready: int) -> Outcome | None:
    """Carry out a node, and say what follows a failure. Returns nothing for one that has not ended."""
    name = node["id"]
    found = run.found(name)
    following = run.given.record is not None and not run.predicting
    container = "body" in node or "for_each" in node or "loop" in node
    if following and found is None and not container and node["type"] != "exit":
        return None
    if found is not None and 0 < found.seq <= since:
        run.complain(name, f"it ended at {found.seq}, before it could begin at {since}")
    try:
        outcome = Outcome("succeeded", _came_to(run, node, found, since, ready, container=container))
    except Failure as failure:
        outcome = _failed(run, node, failure.code)
    if outcome.output is UNFINISHED:
        outcome = Outcome("unfinished")
    if not following:
        return None if outcome.state == "unfinished" else outcome
    if found is None or run.given.record is None:
        return None
    if LIMITED & node.keys() and not {"for_each", "loop"} & node.keys():
        run.given.held += held(run.given.record, node, (name, run.item), found, scope_of(run))
    if "rate" in node and not {"for_each", "loop"} & node.keys():
        run.given.begun += begun(run.given.record, node, (name, run.item), found, ready, scope_of(run))
    if not agrees(found, outcome):
        run.complain(name, f"{told(found)} instead of {outcome.state} {outcome.code or value_of(outcome)}")
        outcome = Outcome(found.state, found.output, found.code, fatal=outcome.fatal)
    code = outcome.code if outcome.code is None else found.code
    again = run.given.record.repeated.get((name, run.item), 0)
    now = max(ready, again) if node["type"] in QUICK and not container else found.at
    return replace(outcome, code=code, seq=found.seq, commit=found.commit, ready=now)


def _came_to(run: Run, node: Node, found: Ended | None, since: int, ready: int, *, container: bool) -> Any:
    if container:
        value = contain(run, node, since, found)
        if found is not None and found.code in permitted(node):
            raise Failure(found.code)
        return value
    if found is not None and found.code in permitted(node):
        in_time(run, node, found, ready)
        raise Failure(found.code)
    if node["type"] == "exit" and found is None and run.given.record is not None and not run.predicting:
        return UNFINISHED
    names = run.names
    value = None
    for each in joined(run, node, since):
        run.names = {**names, **each}
        value = come_to(run, node, found, ready)
        if found is None or (found.state == "succeeded" and bool(value == found.output)):
            break
    run.names = names
    return value


def _failed(run: Run, node: Node, code: Any) -> Outcome:
    """What follows a failure: edges for it, a value to go on with, or the end of what is around."""
    if handles_failure(node["id"], run.edges):
        return Outcome("failed", None, code)
    rule = node.get("on_error", run.given.definition.get("on_error", "fail"))
    if rule == "continue":
        return Outcome("continued", None, code)
    if isinstance(rule, Mapping):
        return Outcome("continued", rule["default"], code)
    return Outcome("failed", None, code, fatal=True)


def _inside(run: Run, names: Collection[str]) -> Iterator[str]:
    """Yield the nodes of those parts that are among some nodes."""
    for each in run.body["nodes"]:
        if each["id"] in names and "part" in each:
            yield from each["part"]["nodes"]


def _output(run: Run) -> Any:
    """The result of an execution: as its author says, or what its leaves came to."""
    if "outputs" in run.body:
        return render(run.body["outputs"], scope_of(run), "")
    return final_outputs(run)
