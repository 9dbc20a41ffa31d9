"""Random nodes whose outcome others decide: other executions, events, people, time and limits; and what ends graphs early."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.chaos.drafts import Body, Draft, braced, number
from tests.chaos.reference.parts import leads
from tests.chaos.rounds import Chains

EVENTS = ("paid", "sent", "lost")
EVERYBODY = "all"
"""The correlation that executions share."""

PEOPLE = ("ann", "bob", "eve")
DEEP = 12
"""Calls that are more than may stand inside each other."""

INPUT = {"s": "{{ s }}", "many": "{{ many }}", "nothing": "{{ nothing }}"}
RECURSIVE = "countdown"
LIBRARY: dict[str, Body] = {
    RECURSIVE: {
        "nodes": [
            {"id": "more", "type": "if", "config": {"condition": "k > 0"}},
            {
                "id": "less",
                "type": "workflow",
                "config": {"workflow": "self", "input": {**INPUT, "k": "{{ k - 1 }}"}},
            },
            {
                "id": "sum",
                "type": "transform",
                "config": {"expression": "k + nodes.less.output.n | default(0)"},
            },
        ],
        "edges": [
            {"from": "more", "to": "less", "port": "true"},
            {"from": "more", "to": "sum", "port": "false"},
            {"from": "less", "to": "sum"},
        ],
        "outputs": {"n": "{{ nodes.sum.output }}"},
    }
}
"""Definitions that are called and are not drawn."""


def work(draft: Draft, name: str, known: set[str]) -> Body | None:
    """Return a node, or nothing when it is to be one of the plain ones."""
    if draft.rng.random() >= draft.taste.rich:
        return None
    kinds = {"wait": 3.0, "emit": 3.0, "approval": 1.5, "exit": 1.0, "late": 1.0, "respond": 1.0}
    kinds["beat"] = 1.5 if draft.taste.beats else 0.0
    kinds["workflow"] = 3.0 if draft.taste.library and draft.depth < 2 else 0.0
    match draft.rng.choices(list(kinds), list(kinds.values()))[0]:
        case "wait":
            return _wait(draft, name)
        case "emit":
            data = {"by": name, "execution": "{{ execution.id }}", "n": braced(number(draft, known))}
            return {"type": "emit", "config": {**_topic(draft, "event"), "data": data}}
        case "approval":
            return _approval(draft, name)
        case "exit":
            scope = draft.rng.choice(draft.exits)
            draft.exited.add(scope)
            return {"type": "exit", "config": {"scope": scope, "value": braced(number(draft, known))}}
        case "respond":
            return {
                "type": "respond",
                "config": {
                    "status": draft.rng.choice((200, 202)),
                    "body": {"by": name, "n": braced(number(draft, known))},
                },
            }
        case "beat":
            return _beat(draft, name)
        case "late":
            draft.failing.add(name)
            seconds = round(draft.taste.waits * draft.rng.random(), 3)
            return {"type": "wait", "config": {"for": 2 * seconds + 0.2}, "timeout": seconds + 0.1}
    return _call(draft, name, known)


def _beat(draft: Draft, name: str) -> Body:
    """A call that says how far it is, and is repeated from there."""
    rng = draft.rng
    made: Body = {"type": "beat", "config": {"count": rng.randint(1, 4)}}
    if rng.random() < 0.6:
        made["timeout"] = {"heartbeat": round(0.05 + rng.random(), 3)}
        made["retry"] = {"max_attempts": rng.randint(1, 4), "delay": 0.05}
        draft.failing.add(name)
    return made


def met(draft: Draft, rule: Body, known: set[str]) -> Body:
    """Return a node that tells what has met at its join."""
    rule["collect"] = draft.rng.choice(("map", "list"))
    return {"type": "set", "config": {"values": {"n": braced(number(draft, known)), "met": "{{ joined }}"}}}


def patience(draft: Draft, name: str, made: Body) -> Body:
    """Return what limits the time for which a node waits for a worker."""
    if (
        {"timeout", "for_each", "loop"} & made.keys()
        or made["type"] in ("scope", "workflow")
        or draft.rng.random() >= draft.taste.rich / 5
    ):
        return {}
    draft.failing.add(name)
    return {"timeout": {"queue": round(0.05 + draft.rng.random(), 3)}}


def milestone(draft: Draft, name: str, made: Body, entering: Sequence[Body], found: Chains) -> Body:
    """Return what a node does not begin after, if there is such a node beside it, and no circle."""
    rng, edges = draft.rng, [*draft.edges, *entering]
    place = {each["id"]: number for number, each in enumerate(draft.nodes)}
    goes_round = any(place[each["from"]] >= place[each["to"]] for each in draft.edges)
    if {"mutex", "concurrency", "rate"} & made.keys() or goes_round or rng.random() >= draft.taste.rich / 2:
        return {}
    beside = [each for each in place if found.get(each) == found.get(name) and not leads(each, name, edges)]
    return {"enabled_while": {"not_ended": rng.choice(beside)}} if beside else {}


def limits(draft: Draft, name: str, made: Body) -> Body:
    """Return what limits a node besides. Scopes and nodes have keys of their own, so that nobody waits for himself."""
    rng = draft.rng
    if not draft.taste.limited or made["type"] == "workflow" or rng.random() >= draft.taste.rich / 2:
        return {}
    whole = made["type"] == "scope"
    if whole and draft.depth and draft.atoms:
        return {}  # an item that waits for a key may keep others from being opened, whose keys it waits for
    level = f"{draft.depth}" if whole else "node"
    if draft.taste.keys > 1:
        level = f"{level} {rng.randrange(draft.taste.keys)}"
    kind = rng.choice(("mutex", "concurrency", "rate"))
    if kind == "mutex":
        return {"mutex": f"door {level}"}
    if kind == "rate":
        rule: Body = {"key": f"road {level}", "limit": rng.randint(1, 3), "period": "1s"}
        return {} if whole else {"rate": rule}
    rule = {"key": f"hall {level}", "limit": rng.randint(1, 2)}
    if not whole and rng.random() < 0.3:
        rule |= rng.choice(({"strategy": "reject"}, {"max_queued": 1}))
        draft.failing.add(name)
    return {"concurrency": rule}


def turn(rng: random.Random) -> Body:
    """Return how many executions may be at work, or start, at a time."""
    if rng.random() < 0.25:
        return {"rate": {"key": "stream", "limit": rng.randint(1, 3), "period": "1s"}}
    strategy = rng.choice(("queue", "queue", "reject", "cancel_oldest", "coalesce"))
    rule: Body = {
        "key": rng.choice(("gate", "gate {{ s }}")),
        "limit": rng.randint(1, 2),
        "strategy": strategy,
    }
    if strategy == "queue" and rng.random() < 0.3:
        rule["max_queued"] = 1
    return {"concurrency": rule}


def join(draft: Draft, entering: Sequence[Body]) -> Body | str:
    """Return a rule that does not wait for everything."""
    rng = draft.rng
    rule: Body = {"mode": rng.choice(("any", "n"))}
    if rule["mode"] == "n":
        rule["count"] = rng.randint(1, len(entering))
    if rng.random() < 0.6:
        rule["cancel_rest"] = True
    if rng.random() < 0.2:
        rule["when"] = "done"
    return rule


def _topic(draft: Draft, word: str) -> Body:
    correlation = draft.rng.choice(("{{ execution.id }}", "{{ execution.id }}", EVERYBODY))
    return {word: draft.rng.choice(EVENTS), "correlation": correlation}


def _seconds(draft: Draft) -> float:
    return round(draft.taste.waits * (0.2 + 2 * draft.rng.random()), 3)


def _wait(draft: Draft, name: str) -> Body:
    """A wait for an event or a call, which ends in any case."""
    rng = draft.rng
    event = _topic(draft, "type")
    if rng.random() < 0.15:
        event["transient"] = True
    if rng.random() < 0.4:
        draft.ports[name] = ("out", "timeout")
        what: Body = {"event": event} if rng.random() < 0.7 else {"callback": True}
        return {"type": "wait", "config": {**what, "timeout": _seconds(draft)}}
    names = ("first", "second", "late")
    draft.ports[name] = names
    second = rng.choice(({"event": _topic(draft, "type")}, {"callback": True}, {"for": _seconds(draft)}))
    branches = [{"event": event}, second, {"for": _seconds(draft)}]
    named = [{"name": one, **each} for one, each in zip(names, branches, strict=True)]
    return {"type": "wait", "config": {"any_of": named}}


def _approval(draft: Draft, name: str) -> Body:
    rng = draft.rng
    config: Body = {
        "title": "Is {{ k }} enough?",
        "quorum": rng.randint(1, 3),
        "rule": rng.choice(("reject_wins", "majority")),
        "timeout": _seconds(draft),
        "on_timeout": rng.choice(("reject", "approve", "branch", "escalate")),
    }
    if rng.random() < 0.4:
        config["approvers"] = {"users": rng.sample(PEOPLE, 2)}
    if config["on_timeout"] == "escalate":
        config["escalate_to"] = {"users": [rng.choice(PEOPLE)]}
    branch = ("timeout",) if config["on_timeout"] == "branch" else ()
    draft.ports[name] = ("approved", "rejected", *branch)
    return {"type": "approval", "config": config}


def _call(draft: Draft, name: str, known: set[str]) -> Body:
    """A call of another workflow, which may fail."""
    rng = draft.rng
    called = rng.choice(draft.taste.library)
    amount: str | int = braced(number(draft, known))
    if called == RECURSIVE:
        amount = DEEP if rng.random() < 0.1 else rng.randint(0, 3)
    config: Body = {"workflow": called, "input": {**INPUT, "k": amount}}
    if rng.random() < 0.2:
        nodes = [{"id": f"{name}c", "type": "set", "config": {"values": {"n": "{{ k * 2 }}"}}}]
        if rng.random() < 0.3:
            nodes.append({"id": f"{name}w", "type": "wait", "config": {"for": _seconds(draft)}})
        inline: Body = {"nodes": nodes, "edges": [], "outputs": {"n": f"{{{{ nodes.{name}c.output.n }}}}"}}
        config = {"definition": inline, "input": {**INPUT, "k": amount}}
    if rng.random() < 0.2:
        return {"type": "workflow", "config": {**config, "wait": False}}
    draft.paths[name] = "output.n"
    draft.failing.add(name)
    made: Body = {"type": "workflow", "config": config}
    if rng.random() < 0.3:
        made["retry"] = {"max_attempts": 2, "delay": 0.1}
    if rng.random() < 0.15:
        made["timeout"] = _seconds(draft)
    return made
