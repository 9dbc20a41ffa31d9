"""Random definitions: every shape of graph, choice, join and failure that the reference interpreter knows.

Drawn from a `random.Random`, so that a seed is a definition; `cases` makes a hypothesis strategy of the same.

Three rules keep their meaning independent of the order in which things happen, and of how often a call is repeated after
a crash: a node reads only nodes that are decided whenever it starts, a call either succeeds before its tries are spent or
fails for ever, and in a body at most one node fails that nothing inside of it takes over.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from tests.chaos import constructs
from tests.chaos.drafts import Body, Case, Draft, Taste, braced, number, truth
from tests.chaos.reference import folded, graphs
from tests.chaos.reference.graphs import cancels_rest, losers
from tests.chaos.rounds import chains, in_parts, lead_back, readable, written

__all__ = ["Case", "Taste", "cases", "draw", "library", "orders"]


def draw(rng: random.Random, taste: Taste, name: str = "random") -> Case:
    """Draw a definition with its input."""
    draft = Draft(rng, taste, rng.random() < taste.fatal)
    _grow(draft, 1 + int(taste.nodes * rng.random() ** 1.7))
    _settle_failures(draft)
    body: Body = {"nodes": draft.nodes, "edges": draft.edges, "variables": {"v": rng.randint(0, 9)}}
    if rng.random() < 0.3:
        everything = readable(chains(draft.nodes, draft.edges), draft.known, ())
        for graph in graphs(folded(body)):
            for each in graph["nodes"]:
                if cancels_rest(each):  # whether a loser came to its end in spite of it is nobody's to say
                    everything -= written(graph, losers(graph, each["id"]))
        body["outputs"] = {"total": braced(number(draft, everything)), "k": "{{ trigger.payload.k }}"}
    if rng.random() < 0.1:
        body["queue"] = "cpu"
    if taste.rich and rng.random() < 0.05:
        body["timeout"] = 3.0
    if taste.turns and rng.random() < taste.turns:
        body |= constructs.turn(rng)
    payload: Body = {"k": rng.randint(0, 99), "s": rng.choice(("x", "y", "long text"))}
    if taste.regions:
        payload["many"] = [rng.randint(0, 99) for _ in range(rng.randint(1, 5))]
        payload["nothing"] = []
    return Case({"name": name, "definition": body}, payload, draft.answers)


def _grow(draft: Draft, count: int) -> None:
    shape = draft.rng.choice(("chain", "wide", "mixed", "mixed", "layers"))
    for index in range(count):
        _add(draft, f"{draft.prefix}{index}", _sources(draft, index, shape))


def library(rng: random.Random, taste: Taste, count: int) -> dict[str, Case]:
    """Draw definitions to be called, by their names, besides those that are not drawn."""
    found = {
        name: Case({"name": name, "definition": body}, {}, {}) for name, body in constructs.LIBRARY.items()
    }
    for name in [f"callee-{index}" for index in range(count)]:
        case = draw(rng, replace(taste, limited=False, library=tuple(constructs.LIBRARY)), name)
        case.document["definition"]["outputs"] = {"n": "{{ k + 1 }}"}
        found[name] = case
    return found


def cases(taste: Taste) -> st.SearchStrategy[Case]:
    """The same, drawn by hypothesis: a seed, and a size that shrinks."""
    sizes = st.integers(1, taste.nodes).map(lambda nodes: replace(taste, nodes=nodes))
    return st.builds(draw, orders(), sizes)


def orders() -> st.SearchStrategy[random.Random]:
    """What decides an order, drawn by hypothesis. One number each: a draw for every choice would take minutes."""
    return st.integers(0, 2**32 - 1).map(random.Random)


def _sources(draft: Draft, index: int, shape: str) -> list[str]:
    """The nodes that lead to the next one."""
    rng, names = draft.rng, [each["id"] for each in draft.nodes]
    if not names:
        return []
    if shape == "chain" and rng.random() < 0.85:
        return [names[-1]]
    if shape == "wide" and rng.random() < 0.7:
        return [names[0]]
    if shape == "layers":
        size = max(1, len(names) // 3)
        return rng.sample(names[-size:], min(size, rng.randint(1, 3)))
    if rng.random() < 0.08:
        return []
    several = rng.random() < 0.4
    return rng.sample(names, min(len(names), rng.randint(2, 4) if several else 1))


def _add(draft: Draft, name: str, sources: Sequence[str]) -> None:
    rng = draft.rng
    entering = [each for source in sources for each in _edges(draft, source, name)]
    made: Body = {"id": name}
    known = [draft.known[each] | {each} for each in sources]
    joined = draft.outside.union(*known)
    if draft.taste.rich and entering and rng.random() < draft.taste.rich / 5:
        made["join"] = "each"
        joined = set[str].intersection(*known) | draft.outside
    elif draft.taste.rich and len(entering) > 1 and rng.random() < draft.taste.rich:
        made["join"] = constructs.join(draft, entering)
        joined = set[str].intersection(*known) | draft.outside
    elif len(entering) > 1 and rng.random() < 0.4:
        count = rng.randint(1, len(entering))
        made["join"] = rng.choice(("any", {"mode": "any"}, {"mode": "n", "count": count}))
        joined = set[str].intersection(*known) | draft.outside
    elif len(entering) > 1 and rng.random() < 0.2:
        made["join"] = "all"
    draft.known[name] = joined
    found = chains([*draft.nodes, made], [*draft.edges, *entering])
    chain = found.get(name, ())
    draft.reads[name] = reads = readable(found, joined, chain)
    here = draft.arriving() if chain else draft
    container = draft.depth < draft.taste.depth and rng.random() < draft.taste.regions / (1 + draft.depth)
    if draft.taste.rich and isinstance(made.get("join"), dict) and rng.random() < draft.taste.rich:
        made |= constructs.met(here, made["join"], reads)
    else:
        made |= _contain(here, name, reads) if container else _work(here, name, reads)
    if draft.taste.rich:
        made |= constructs.limits(here, name, made)
        made |= constructs.patience(here, name, made)
        made |= constructs.milestone(here, name, made, entering, found)
    draft.kinds[name] = made["type"] if "for_each" not in made and "loop" not in made else "scope"
    if rng.random() < 0.05 and made["type"] != "scope":
        made["queue"] = rng.choice(("default", "cpu"))
    draft.nodes.append(made)
    draft.edges += entering
    if draft.taste.rich and rng.random() < draft.taste.rich / 3:
        lead_back(draft, name)


def _edges(draft: Draft, source: str, target: str) -> list[Body]:
    """One or two edges between two nodes."""
    rng, kind = draft.rng, draft.kind(source)
    made: Body = {"from": source, "to": target}
    if source in draft.failing and rng.random() < 0.5:
        return [made | rng.choice(({"on": "error"}, {"port": "error"}, {"on": "any"}))]
    if source in draft.ports and rng.random() < 0.85:
        return [made | {"port": rng.choice(draft.ports[source])}]
    if kind == "wait" and source in draft.failing and rng.random() < 0.3:
        return [made | {"on": "timeout"}]
    if kind == "if" and rng.random() < 0.85:
        if rng.random() < 0.15:
            return [made | {"port": "true"}, made | {"port": "false"}]
        return [made | {"port": rng.choice(("true", "false"))}]
    if kind == "switch" and rng.random() < 0.85:
        return [made | {"port": rng.choice(("low", "high", "rest"))}]
    if rng.random() < 0.12:
        return [made | {"when": truth(draft, draft.reads[source])}]
    if rng.random() < 0.06:
        return [made | {"on": rng.choice(("any", "success"))}]
    return [made]


def _contain(draft: Draft, name: str, known: set[str]) -> Body:
    """A map, a loop or a scope, each of a body or (the first two) of a node by itself."""
    rng = draft.rng
    kind = rng.choice(("map", "map", "loop", "scope", "scope"))
    if kind == "map":
        return _map(draft, name, known)
    if kind == "loop":
        return _loop(draft, name, known)
    scope, fails = _scope(draft, name, known)
    if fails:
        draft.failing.add(name)
    return scope


def _map(draft: Draft, name: str, known: set[str]) -> Body:
    rng = draft.rng
    rule: Body = {
        "items": rng.choice(("many", "many", "many", "nothing", "[k, 7]", f"[{number(draft, known)}]"))
    }
    atoms = ["index"]
    if rng.random() < 0.15:
        rule["batch"] = rng.randint(2, 3)
    else:
        atoms += ["item", "item"]
        if rng.random() < 0.4:
            rule["as"] = f"{name}_item"
            atoms.append(rule["as"])
    if rng.random() < 0.5:
        rule["concurrency"] = rng.randint(1, 3)
    rule["on_item_error"] = rng.choice(("fail", "fail", "null", "drop", "partition"))
    if rng.random() < 0.2:
        rule["tolerate"] = {"count": rng.randint(0, 3)}
    made, fails = _performed(draft, name, known, *atoms)
    draft.paths.pop(name, None)
    draft.ports.pop(name, None)
    if draft.taste.rich and rng.random() < draft.taste.rich:
        rule |= {"until": f"done >= {rng.randint(1, 3)}", "rest": rng.choice(("cancel", "finish"))}
    if fails and (rule["on_item_error"] == "fail" or "tolerate" in rule):
        draft.failing.add(name)
    return {**made, "for_each": rule}


def _loop(draft: Draft, name: str, known: set[str]) -> Body:
    rng = draft.rng
    rule: Body = {"initial": braced(number(draft, known))}
    rounds = rng.randint(0, 3)
    if rng.random() < 0.5:
        rule["while"] = f"index < {rounds}"
    else:
        rule["until"] = f"index >= {rounds}"
    if rng.random() < 0.3:
        rule["collect"] = True
    if rng.random() < 0.1:
        rule["max_iterations"] = rng.randint(1, 2)
        draft.failing.add(name)
    if rng.random() < 0.4:
        made: Body = {"type": "transform", "config": {"expression": "item + index"}}
        fails = False
    else:
        made, fails = _scope(draft, name, known, "item", "index", catches=False)
        made["body"]["output"] = braced("item + 1")
    if fails:
        draft.failing.add(name)
    draft.paths.pop(name, None)
    if "collect" not in rule and name not in draft.failing:
        draft.paths[name] = "output"
    return {**made, "loop": rule}


def _performed(draft: Draft, name: str, known: set[str], *atoms: str) -> tuple[Body, bool]:
    """What a map does with an item. Returns whether that may fail, too."""
    if draft.rng.random() < 0.3:
        for _ in range(20):
            within = draft.inside(f"{name}x", known, *atoms, fatal=True)
            within.exits = ("branch",)
            made = _work(within, name, known)
            if made["type"] not in ("if", "switch") and name not in {*draft.open, *draft.ports}:
                return made, name in within.failing
            draft.open.discard(name)
            draft.ports.pop(name, None)
    return _scope(draft, name, known, *atoms)


def _scope(draft: Draft, name: str, known: set[str], *atoms: str, catches: bool = True) -> tuple[Body, bool]:
    """A scope, with what follows a failure in it. Returns whether it may fail as a whole."""
    rng = draft.rng
    exits = (*draft.exits, name)
    if atoms:
        exits = (*(each for each in draft.exits if each != "loop"), name, "iteration", "loop")
    within, body, fails = _body(
        draft, f"{name}b", known, *atoms, fatal=rng.random() < 0.5, exits=tuple(dict.fromkeys(exits))
    )
    made: Body = {"type": "scope", "body": body}
    passes = within.exited - ({"branch"} if atoms else {"branch", name})
    draft.exited |= passes - {name, *(("iteration", "loop") if atoms else ())}
    if draft.taste.rich and not atoms and rng.random() < draft.taste.rich / 2:
        made["timeout"] = round(0.2 + 2 * draft.taste.waits * rng.random(), 3)
        fails = True
    if rng.random() < 0.5:
        body["output"] = {"n": braced(number(within, known))}
        draft.paths[name] = "output.n"
    compensates = rng.random() < (0.6 if fails else 0.2)
    several = in_parts(body["nodes"], body["edges"]) if compensates else set()
    for each in body["nodes"] if compensates and not passes else ():
        if (
            each["id"] not in several
            and each["type"] in ("set", "http_request", "transform")
            and rng.random() < 0.7
        ):
            each["compensate"] = _undo(within, each["id"], known)
    handles = not atoms or draft.taste.handled
    if catches and handles and rng.random() < (0.6 if fails else 0.2):
        handlers = [_handler(draft, name, index, known, *atoms) for index in (0, 1)]
        on = rng.choice((["test.on_purpose"], ["http.*"], ["*"], []))
        made["catch"] = [{"body": handlers[0][0]} | ({"on": on} if on else {})]
        if on and rng.random() < 0.4:
            made["catch"].append({"body": handlers[1][0]})
        fails = fails or any(each[1] for each in handlers)
    if handles and not passes and rng.random() < 0.3:
        _, made["finally"], last_fails = _body(draft, f"{name}f", known, *atoms, fatal=rng.random() < 0.1)
        fails = fails or last_fails
    return made, fails


def _handler(draft: Draft, name: str, index: int, known: set[str], *atoms: str) -> tuple[Body, bool]:
    """What takes a scope's failure over, and tells of it."""
    within, body, fails = _body(draft, f"{name}c{index}", known, *atoms, fatal=draft.rng.random() < 0.2)
    values = {"code": "{{ nodes." + name + ".error.code }}"}
    body["nodes"].append({"id": f"{name}told{index}", "type": "set", "config": {"values": values}})
    body["output"] = {"n": braced(number(within, known))}
    return body, fails


def _body(
    draft: Draft,
    prefix: str,
    known: set[str],
    *atoms: str,
    fatal: bool,
    exits: tuple[str, ...] = ("branch",),
) -> tuple[Draft, Body, bool]:
    within = draft.inside(prefix, known, *atoms, fatal=fatal)
    within.exits = exits
    _grow(within, 1 + int(4 * draft.rng.random() ** 1.5))
    _settle_failures(within, most=1)
    if fatal and not any(_is_fatal(within, each) for each in within.nodes) and draft.rng.random() < 0.8:
        _trap(within)
    fails = any(_is_fatal(within, each) for each in within.nodes)
    fails = fails or any("max_iterations" in each for each in within.edges)
    return within, {"nodes": within.nodes, "edges": within.edges}, fails


def _is_fatal(draft: Draft, node: Body) -> bool:
    """Whether a node may fail, and nothing in its graph takes that over."""
    handled = {each["from"] for each in draft.edges if _catches(each)}
    return node["id"] in draft.failing - handled and "on_error" not in node


def _trap(draft: Draft) -> None:
    """Let some items fail, and others not; or whoever comes by."""
    rng, (last, trap) = draft.rng, (draft.nodes[-1]["id"], f"{draft.prefix}t")
    code = rng.choice(("test.on_purpose", "test.of_another_kind"))
    draft.nodes.append({"id": trap, "type": "fail", "config": {"message": "A trap.", "code": code}})
    draft.kinds[trap] = "fail"
    draft.failing.add(trap)
    made: Body = {"from": last, "to": trap, "on": "any"}
    if "index" in draft.atoms and rng.random() < 0.8:
        made["when"] = rng.choice(("index % 2 == 1", "index > 1", truth(draft, draft.reads[last])))
    draft.edges.append(made)


def _undo(draft: Draft, name: str, known: set[str]) -> Body:
    """What undoes a node: it reads what the node came to."""
    amount = braced(number(draft, known | {name}))
    if draft.taste.sink is None or draft.rng.random() < 0.5:
        return {"type": "set", "config": {"values": {"n": amount}}}
    words = draft.rng.choice((("ok",), ("500", "ok"), ("drop", "ok")))
    draft.answers[f"{name}@undo"] = words
    return {
        "type": "http_request",
        "config": _request(draft, f"{name}@undo", amount, words),
        **_retry(draft.rng, 4),
    }


def _work(draft: Draft, name: str, known: set[str]) -> Body:
    """What a node does."""
    rng, taste = draft.rng, draft.taste
    if taste.rich and (rich := constructs.work(draft, name, known)) is not None:
        return rich
    kinds = {"set": 3.0, "transform": 3.0, "if": 1.5, "switch": 1.0, "merge": 0.7, "noop": 0.7, "log": 0.5}
    kinds |= {"fail": 0.5, "wait": 0.7 if taste.waits else 0.0, "compute": 0.3 if taste.computes else 0.0}
    kinds["http_request"] = 5.0 if taste.sink else 0.0
    kind = rng.choices(list(kinds), list(kinds.values()))[0]
    amount = braced(number(draft, known))
    match kind:
        case "set":
            return {"type": kind, "config": {"values": {"n": amount, "s": "{{ s }}-{{ trigger.payload.k }}"}}}
        case "transform":
            return {"type": kind, "config": {"expression": number(draft, known)}}
        case "if":
            return {"type": kind, "config": {"condition": truth(draft, known)}}
        case "switch":
            cases_ = [{"name": each, "when": truth(draft, known)} for each in ("low", "high")]
            more = {"mode": rng.choice(("first", "all"))}
            return {"type": kind, "config": {"cases": cases_, "default": "rest", **more}}
        case "log":
            return {"type": kind, "config": {"message": "k is {{ k }}"}}
        case "wait":
            return {"type": kind, "config": {"for": round(taste.waits * rng.random(), 3)}}
        case "compute":
            return {"type": kind, "config": {"seconds": 0.05, "value": amount}}
        case "fail":
            draft.failing.add(name)
            config = {"message": "On purpose.", "code": "test.on_purpose"}
            return {"type": kind, "config": config, **_retry(rng, rng.randint(1, 2))}
        case "http_request":
            if taste.once and rng.random() < 0.2:
                return {"type": kind, **_call_once(draft, name, amount)}
            return {"type": kind, **_call(draft, name, amount)}
    return {"type": kind}


def _call(draft: Draft, name: str, amount: str) -> Body:
    """A keyed effect, and how the sink answers it."""
    rng = draft.rng
    failures = rng.choice((0, 0, 0, 1, 1, 2, 3))
    words = [rng.choice(("500", "429", "drop", "lose")) for _ in range(failures)] + ["ok"]
    if rng.random() < 0.08:
        words = [rng.choice(("400", "500"))]
        draft.failing.add(name)
    draft.answers[name] = tuple(words)
    config = _request(draft, name, amount, words)
    return {"config": config, **_retry(rng, len(words) + rng.randint(0, 2) if failures else 2)}


def _request(draft: Draft, name: str, amount: str, words: Sequence[str]) -> Body:
    taste, rng = draft.taste, draft.rng
    query = f"node={name}&script={','.join(words)}"
    if taste.delay and rng.random() < 0.5:
        query += f"&delay={taste.delay * rng.random():.3f}"
    return {
        "method": "POST",
        "url": f"{taste.sink}/effect?{query}",
        "idempotent": True,
        "body": {"execution": "{{ execution.id }}", "node": name, "value": amount},
    }


def _call_once(draft: Draft, name: str, amount: str) -> Body:
    """An effect that cannot be repeated; after a crash nobody knows of it, and the execution goes on without."""
    draft.open.add(name)
    config = {
        "method": "POST",
        "url": f"{draft.taste.sink}/effect?node={name}&script={draft.rng.choice(('ok', 'drop', 'lose'))}",
        "body": {"execution": "{{ execution.id }}", "node": name, "value": amount},
    }
    return {"config": config, "on_uncertain": "fail", "on_error": "continue"}


def _retry(rng: random.Random, tries: int) -> Body:
    return {"retry": {"max_attempts": tries, "delay": round(0.1 * rng.random(), 3), "backoff": "constant"}}


def _settle_failures(draft: Draft, most: int = 1_000_000) -> None:
    """Say what follows a failure that no edge leads away from. At `most` so many are left to be fatal."""
    rng = draft.rng
    left = (most if draft.fatal else 0) - sum("max_iterations" in each for each in draft.edges)
    caught = {each["from"] for each in draft.edges if _catches(each)}
    for each in draft.nodes:
        if each["id"] not in draft.failing - caught:
            continue
        left -= 1
        if left < 0:
            each["on_error"] = rng.choice(("continue", {"default": {"n": rng.randint(0, 9)}}))


def _catches(edge: Body) -> bool:
    return edge.get("on") == "error" or edge.get("port") == "error"
