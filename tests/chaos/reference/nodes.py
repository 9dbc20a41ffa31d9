"""What single nodes come to. What other executions, people and time decide is taken from the record, if it may be so."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from tests.chaos.reference.expressions import ANYTHING, Failure, render
from tests.chaos.reference.graphs import Alone, Node, Routed, owes
from tests.chaos.reference.instances import Given, Leave, Run, scope_of
from tests.chaos.reference.record import Ended, Published, Record

QUICK: Final = ("set", "transform", "if", "switch", "merge", "noop", "log", "fail", "beat")
"""Types that take no time: what rests after them may count from when they, or their last attempt, could begin."""

CALLS: Final = 8
"""Calls that may stand inside each other."""

_REPEATED: Final = {
    "429": "http.rate_limited",
    "500": "http.server_error",
    "drop": "http.unreachable",
    "lose": "http.unreachable",
}
"""Answers after which the call is repeated, and the code of the failure when the last one is among them."""


def come_to(run: Run, node: Node, found: Ended | None, ready: int) -> Any:
    """Carry out a node with all its tries. Raises `Failure`, or `Leave` for an exit."""
    kind = node["type"].partition("@")[0]
    config = node.get("config", {})
    if kind == "workflow":
        fixed = {name: config[name] for name in ("definition",) if name in config}
        config = {name: each for name, each in config.items() if name not in fixed}
        config = {**render(config, scope_of(run), kind), **fixed}
    else:
        config = render(config, scope_of(run), kind)
    match kind:
        case "set":
            return config["values"]
        case "transform":
            return config["expression"]
        case "compute":
            return config.get("value")
        case "aloud":
            return config["text"]
        case "noop" | "merge" | "log":
            return None
        case "fail":
            raise Failure(config.get("code", "workflow.failed"))
        case "if":
            return Routed(("true" if config["condition"] else "false",), {"result": config["condition"]})
        case "switch":
            return _switch(config)
        case "exit":
            return _exit(run, config, found)
        case "http_request":
            return _http(run, node, config, found)
        case "mcp_call":
            return _add(**config["arguments"])
        case "workflow":
            return _call(run, node, config, found)
        case "wait":
            return ANYTHING if found is None else _wait(run, node["id"], config, found, ready)
        case "emit":
            return {"id": ANYTHING} if found is None else _emit(run, node["id"], config, found)
        case "respond":
            return _respond(run, node["id"], config, found)
        case "beat":
            return (
                {"from": ANYTHING, "count": config["count"]}
                if found is None
                else _beat(run, node, config, found)
            )
        case "approval":
            return ANYTHING if found is None else _approval(run, node["id"], config, found)
    message = f"the reference does not know {node['type']}"
    raise AssertionError(message)


def _add(a: int, b: int) -> dict[str, Any]:
    """What the one tool comes to that is used here (`tests/tool_program.py`)."""
    text = str(a + b)
    return {"text": text, "data": {"is": a + b}, "content": [{"type": "text", "text": text}]}


def permitted(node: Node) -> Iterator[str]:
    """Yield the failures that a node may come to whatever it does: by time, by its limits, by a crash."""
    rule = node.get("timeout", {})
    if not isinstance(rule, Mapping) or {"attempt", "total"} & rule.keys():
        yield "node.timeout"
    yield from (
        f"timeout.{each}" for each in ("queue", "heartbeat") if isinstance(rule, Mapping) and each in rule
    )
    limit = node.get("concurrency")
    if isinstance(limit, Mapping):
        if limit.get("strategy") == "reject":
            yield "limit.rejected"
        if "max_queued" in limit:
            yield "limit.queue_full"
    if node["type"] == "http_request" and not node["config"].get("idempotent"):
        yield "effect.uncertain"


def in_time(run: Run, node: Node, found: Ended, ready: int) -> None:
    """Hold a failure that a limit on waiting explains against that limit.

    Three processes take part: one says when the wait began, one that it is over, and one when the node failed. Each may be
    wrong in the same direction against the next.
    """
    slack = 2 * _record(run).slack
    if found.code == "timeout.queue" and found.at - ready < node["timeout"]["queue"] * 1000 - slack:
        run.complain(node["id"], f"it waited from {ready} to {found.at} only: {node['timeout']}")


def _switch(config: Mapping[str, Any]) -> Routed:
    matched = [each["name"] for each in config["cases"] if each["when"]]
    if config.get("mode", "first") == "first":
        matched = matched[:1]
    if matched:
        return Routed(tuple(matched), {"matched": matched})
    if config.get("default"):
        return Routed((config["default"],), {"matched": []})
    if config.get("none") == "skip":
        return Routed((), {"matched": []})
    raise Failure("switch.no_match")


def _exit(run: Run, config: Mapping[str, Any], found: Ended | None) -> Any:
    """End what is named: this branch, an iteration, a map or loop, a scope, or the execution."""
    scope, value = config.get("scope", "workflow"), config.get("value")
    if scope == "branch":
        return Alone(value)
    seq = 0 if found is None else found.seq
    here = run
    while here.owner is not None and here.parent is not None:
        is_body = here.region == here.owner["id"]
        repeats = is_body and bool({"for_each", "loop"} & here.owner.keys())
        if scope == here.owner["id"] and is_body:
            raise Leave(here, closes=True, value=value, seq=seq)
        if scope in ("iteration", "loop") and repeats:
            raise Leave(here, closes=scope == "loop", value=value, seq=seq)
        if owes(here.owner):
            raise Failure("exit.past_finally")
        here = here.parent
    if scope != "workflow":
        raise Failure("exit.nothing_to_end")
    raise Leave(here, closes=True, value=value, seq=seq)


def _http(run: Run, node: Node, config: Mapping[str, Any], found: Ended | None) -> Any:
    """Call the sink, which answers with the words it was told."""
    if not config.get("idempotent") and found is not None:
        return found.output
    answers = run.given.answers.get(node["id"].removesuffix("@item"), ("ok",))
    policy = node.get("retry", run.given.definition.get("retry"))
    tries = 3 if policy is None else policy.get("max_attempts", 1)
    if not run.predicting and run.given.record is not None:
        tries -= run.given.record.refused.get((node["id"], run.item), 0)
    code = "http.unreachable"
    applied = False
    for index in range(tries):
        word = "ok" if applied else answers[min(index, len(answers) - 1)]
        if word == "ok":
            said = config["body"]
            text = json.dumps({"done": said.get("node"), "value": said.get("value")})
            headers = {"content-type": "application/json", "content-length": str(len(text))}
            return {"status": 200, "headers": headers, "body": json.loads(text)}
        applied = word == "drop"
        code = _REPEATED.get(word, "http.client_error")
        if word not in _REPEATED:
            break
    raise Failure(code)


def _respond(run: Run, name: str, config: Mapping[str, Any], found: Ended | None) -> Any:
    """Answer whoever waits for the execution. Whether the answer counts is judged at the end."""
    if found is not None:
        run.given.answers_given.append(((name, run.item), found))
    return {
        "status": config.get("status", 200),
        "headers": config.get("headers", {}),
        "body": config.get("body"),
    }


def judge_answers(given: Given) -> None:
    """Hold the answer of an execution against those that were given: the first one counts, and is the answer."""
    record = given.record
    assert record is not None
    counting = [place for place, counts in record.answered if counts]
    if counting != [place for place, _ in record.answered[:1]]:
        given.complain(("", ""), f"of {record.answered} the first one was to count")
    of_place = dict(given.answers_given)
    for place, _ in record.answered:
        if place not in of_place:
            given.complain(place, "it answered, and should not")
    outputs = [of_place[each].output for each in counting if each in of_place]
    if [record.answer] != (outputs or [None]):
        given.complain(("", ""), f"the answer is {record.answer}, not {outputs}")
    told = {place for place, _ in record.answered}
    for place in of_place.keys() - told if not (given.cut or record.asked) else ():
        given.complain(place, "it has ended, and answered nobody")


def _beat(run: Run, node: Node, config: Mapping[str, Any], found: Ended) -> Any:
    """Count to a number and say so each time; whoever goes on does so from what was said last."""
    last, output = _record(run).beats.get((node["id"], run.item)), found.output
    first = output["from"] if isinstance(output, Mapping) else None
    if found.state == "succeeded" and last not in (None, config["count"]):
        run.complain(node["id"], f"it said {last} last, of {config['count']}")
    if found.state == "succeeded" and not (isinstance(first, int) and 0 <= first <= config["count"]):
        run.complain(node["id"], f"it went on from {first}")
    return {"from": first, "count": config["count"]}


# --- Calls --------------------------------------------------------------------------------------------------


def _call(run: Run, node: Node, config: Mapping[str, Any], found: Ended | None) -> Any:
    """Start another workflow, and come to what that comes to; or go on at once."""
    given = run.given
    if given.depth >= CALLS:
        raise Failure("workflow.too_deep")
    record = None if run.predicting else given.record
    if record is None:
        return _foresee(run, config)
    children = record.children.get((node["id"], run.item), ())
    for each in children:
        if each.input != config.get("input", {}):
            run.complain(node["id"], f"it called with {each.input}, not {config.get('input', {})}")
        meant = given.definition if config.get("workflow") == "self" else config.get("definition")
        if meant is not None and each.definition != meant:
            run.complain(node["id"], f"it called another definition: {each.workflow}")
        if meant is None and each.workflow != config["workflow"]:
            run.complain(node["id"], f"it called {each.workflow}, not {config['workflow']}")
    if not children:
        run.complain(node["id"], "it has ended, and called nobody")
        raise Failure("workflow.failed_child")
    last = children[-1]
    if not config.get("wait", True):
        return {"execution": last.execution}
    if found is not None and len(children) != found.tries:
        run.complain(node["id"], f"{len(children)} calls in {found.tries} tries")
    if last.status == "succeeded":
        return last.output
    raise Failure("workflow.failed_child")


def _foresee(run: Run, config: Mapping[str, Any]) -> Any:
    from tests.chaos.reference import interpret

    given = run.given
    definition = given.definition if config.get("workflow") == "self" else config.get("definition")
    if definition is None:
        definition = given.library[config["workflow"]]
    if not config.get("wait", True):
        return {"execution": ANYTHING}
    result = interpret(
        {"definition": definition},
        config.get("input", {}),
        given.answers,
        library=given.library,
        depth=given.depth + 1,
    )
    if result.status != "succeeded":
        raise Failure("workflow.failed_child")
    return result.output


# --- Signals ------------------------------------------------------------------------------------------------


def _emit(run: Run, name: str, config: Mapping[str, Any], found: Ended) -> Any:
    """Publish an event."""
    record = _record(run)
    event = record.published.get(str((found.output or {}).get("id")))
    wanted = (config["event"], str(config.get("correlation", "")), config.get("data"))
    if event is None or (event.type, event.correlation, event.data) != wanted:
        run.complain(name, f"it was to publish {wanted}, and published {event}")
    elif event.source != record.execution:
        run.complain(name, f"it published in the name of {event.source}")
    return found.output


def _wait(run: Run, name: str, config: Mapping[str, Any], found: Ended, begun: int) -> Any:
    """Rest for a time, or until the first of several things happens."""
    if "for" in config:
        return _rest(run, name, config["for"], found, begun)
    branches = _branches(config)
    output = found.output if isinstance(found.output, Mapping) else {}
    branch = next((each for each in branches if each["name"] == output.get("name")), None)
    if branch is None:
        run.complain(name, f"it waits for {[each['name'] for each in branches]}, and ended by {output}")
        return found.output
    if "for" in branch:
        _by_time(run, name, branches, branch, found, begun)
    elif "event" in branch:
        _by_event(run, name, branch["event"], output)
    port = branch["name"] if "any_of" in config or branch["name"] == "timeout" else "out"
    return Routed((port,), output)


def _branches(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "any_of" in config:
        return list(config["any_of"])
    kind = "event" if "event" in config else "callback"
    found: list[Mapping[str, Any]] = [{"name": kind, kind: config[kind]}]
    return [*found, {"name": "timeout", "for": config["timeout"]}] if "timeout" in config else found


def _rest(run: Run, name: str, seconds: float, found: Ended, begun: int) -> Any:
    until = milliseconds((found.output or {}).get("until"))
    slack = _record(run).slack
    if found.at < until - slack or until - begun < int(seconds * 1000) - slack:
        run.complain(name, f"a rest of {seconds} s from {begun} ended at {found.at}: {found.output}")
    return found.output


def _by_time(
    run: Run,
    name: str,
    branches: Sequence[Mapping[str, Any]],
    branch: Mapping[str, Any],
    found: Ended,
    begun: int,
) -> None:
    """Check a wait that nothing ended but the time: the shortest, once it was over, with no event overlooked."""
    record = _record(run)
    seconds = min(each["for"] for each in branches if "for" in each)
    until = milliseconds(found.output["at"])
    slack = _record(run).slack
    early = found.at < until - slack or until - begun < int(seconds * 1000) - slack
    if branch["for"] != seconds or early:
        run.complain(name, f"{branch} of {branches} ended it at {found.at}, begun at {begun}")
    listening = record.listening.get((name, run.item), 0)
    for each in branches:
        topic = each.get("event")
        if topic is None or topic.get("transient"):
            continue
        for identity, event in record.published.items():
            emitted = record.emitted.get(identity, 0)
            # Before its beginning by a clock that was set back is before its beginning.
            since = 0 < emitted < listening and event.at >= record.created_at
            if _is_about(event, topic) and since and identity not in record.heard:
                run.complain(name, f"it overlooked {event}")


def _by_event(run: Run, name: str, topic: Mapping[str, Any], output: Mapping[str, Any]) -> None:
    record = _record(run)
    at = milliseconds(output["at"])
    for event in record.published.values():
        # A wait hears what is written down while it listens, though it was asked for long ago, and then at its own time;
        # what it finds in the log, it hears when it begins.
        listened = topic.get("transient") or event.at == at
        early = not listened and "lookback" not in topic and event.at < record.created_at - record.slack
        if (
            _is_about(event, topic)
            and event.data == output["payload"]
            and event.at <= at + record.slack
            and not early
        ):
            return
    run.complain(name, f"it heard {output}, which nobody published about {topic}")


def _is_about(event: Published, topic: Mapping[str, Any]) -> bool:
    return (event.type, event.correlation) == (topic["type"], str(topic.get("correlation", "")))


def _approval(run: Run, name: str, config: Mapping[str, Any], found: Ended) -> Any:
    """Ask people: what enough of them say decides, or the time does."""
    output = found.output if isinstance(found.output, Mapping) else {}
    payload = output.get("payload") or {}
    decision, votes = output.get("name"), payload.get("votes", [])
    if payload.get("by") == "time":
        rule = config.get("on_timeout", "reject")
        wanted = {"approve": "approved", "branch": "timeout"}.get(rule, "rejected")
        early = found.at < milliseconds(output["at"]) - _record(run).slack
        if "timeout" not in config or decision != wanted or early:
            run.complain(name, f"time decided {decision}")
    else:
        said = [each["decision"] for each in votes]
        if decided(config, said) != decision or any(
            decided(config, said[:count]) is not None for count in range(len(said))
        ):
            run.complain(name, f"{said} decided {decision}")
        first = config.get("approvers", {}).get("users", ())
        asked = {*first, *config.get("escalate_to", {}).get("users", ())} if first else set()
        people = [each["principal"] for each in votes]
        if len(set(people)) < len(people) or (asked and not set(people) <= asked):
            run.complain(name, f"{people} decided, and {sorted(asked)} were asked")
        cast = _record(run).votes.get((name, run.item), ())
        if not {(each["principal"], each["decision"]) for each in votes} <= {
            (each.principal, each.decision) for each in cast
        }:
            run.complain(name, f"nobody said {votes}")
    return Routed((str(decision),), output)


def decided(config: Mapping[str, Any], votes: Sequence[str]) -> str | None:
    """What votes come to, or None while more are needed."""
    quorum = config.get("quorum", 1)
    approved = votes.count("approved")
    rejected = len(votes) - approved
    if config.get("rule", "reject_wins") == "reject_wins":
        return "rejected" if rejected else "approved" if approved >= quorum else None
    if approved * 2 > quorum:
        return "approved"
    return "rejected" if rejected * 2 > quorum or len(votes) >= quorum else None


def _record(run: Run) -> Record:
    assert run.given.record is not None
    return run.given.record


def milliseconds(text: Any) -> int:
    """A time as it stands in outputs, in milliseconds since the epoch; 0 when it is none."""
    try:
        return round(datetime.fromisoformat(str(text)).timestamp() * 1000)
    except ValueError:
        return 0
