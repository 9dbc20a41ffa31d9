"""What a definition means, a second time: a sequential interpreter that shares nothing with the engine.

It walks the nodes in topological order and decides every edge once, taken or not (joins all, any, n; what cannot be
reached any more is skipped). It knows the few node types and the small part of the expression language that the random
definitions use. What a real run leaves open (the text of a wait's end) is `ANYTHING`.

When a failure is nobody's, the execution ends at once, and how far its other branches came depends on their order. So do
the other branches of an instance that failed, and the other items of a map that did. What may have happened there and
need not is not `certain`; `fatal` are the nodes of which one must have ended the execution.

Node runs are named as the journal names them: by node and by the path of the items around.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final


class Anything:
    """Equal to every value."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


ANYTHING: Final = Anything()
MISSING: Final = object()
_REPEATED: Final = {
    "429": "http.rate_limited",
    "500": "http.server_error",
    "drop": "http.unreachable",
    "lose": "http.unreachable",
}
"""Answers after which the call is repeated, and the code of the failure when the last one is among them."""


class Failure(Exception):
    """A node came to nothing."""

    def __init__(self, code: Any) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a node came to: succeeded, continued (failed, and all goes on), failed, skipped; open is one of the first two."""

    state: str
    output: Any = None
    code: Any = None
    certain: bool = True


Place = tuple[str, str]
"""A node and the path of its item."""


@dataclass(slots=True)
class Result:
    """What an execution comes to. `nodes` are those outside of every container."""

    status: str
    nodes: dict[str, Outcome]
    fatal: set[str]
    runs: dict[Place, Outcome]
    output: Any = None


@dataclass(frozen=True, slots=True)
class _Given:
    """What holds for all of an execution."""

    definition: Mapping[str, Any]
    payload: Any
    answers: Mapping[str, Sequence[str]]


@dataclass(slots=True)
class _Run:
    """One instance of a graph: the names and outcomes around it, and what becomes of its nodes."""

    given: _Given
    body: Mapping[str, Any]
    item: str = ""
    names: dict[str, Any] = field(default_factory=dict)
    around: dict[str, Any] = field(default_factory=dict)
    nodes: dict[str, Outcome] = field(default_factory=dict)
    inside: dict[Place, Outcome] = field(default_factory=dict)
    decided: dict[int, bool] = field(default_factory=dict)
    fatal: set[str] = field(default_factory=set)

    def runs(self, *, certain: bool = True) -> dict[Place, Outcome]:
        """All node runs of it and inside it."""
        own = {(name, self.item): outcome for name, outcome in self.nodes.items()}
        return _weighed(own | self.inside, certain=certain)


def _weighed(runs: Mapping[Place, Outcome], *, certain: bool) -> dict[Place, Outcome]:
    return {place: replace(each, certain=each.certain and certain) for place, each in runs.items()}


def interpret(
    document: Mapping[str, Any], payload: Any, answers: Mapping[str, Sequence[str]] | None = None
) -> Result:
    """Run a definition. `answers` are the words its calls get, one a try, the last for ever after; else `ok`."""
    body = document["definition"]
    run = _Run(_Given(body, payload, answers or {}), body)
    edges: list[Mapping[str, Any]] = list(body.get("edges", ()))
    for index, edge in enumerate(edges):
        if edge["from"] == "trigger":
            run.decided[index] = evaluate(edge.get("when", "true"), _scope(run))
    _walk(run, edges)
    if run.fatal:
        return Result("failed", run.nodes, run.fatal, run.runs(certain=False))
    try:
        return Result("succeeded", run.nodes, set(), run.runs(), _output(run, edges))
    except Failure:
        return Result("failed", run.nodes, {"@output"}, run.runs())


def _walk(run: _Run, edges: Sequence[Mapping[str, Any]]) -> None:
    """Decide every node of a graph."""
    for name, node in _in_order(run.body["nodes"], edges):
        entering = [index for index, each in enumerate(edges) if each["to"] == name]
        goes = _goes(node, [run.decided.get(index) for index in entering]) if entering else True
        if goes is None:
            continue
        if not goes:
            run.nodes[name] = Outcome("skipped")
        else:
            run.nodes[name] = _perform(run, node)
        _decide(run, node, edges)


def leaves(body: Mapping[str, Any]) -> list[str]:
    """The nodes whose outputs are the default result."""
    left = {
        each["from"]
        for each in body.get("edges", ())
        if each.get("on", "success") in ("success", "any") and each.get("port") != "error"
    }
    return [each["id"] for each in body["nodes"] if each["id"] not in left]


def handles_failure(node: str, edges: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a failure of the node has edges of its own to follow."""
    return any(
        each["from"] == node and (each.get("on") in ("error", "timeout") or each.get("port") == "error")
        for each in edges
    )


def _in_order(
    nodes: Sequence[Mapping[str, Any]], edges: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the nodes, each after all that lead to it."""
    left = {each["id"]: each for each in nodes}
    before = {name: {each["from"] for each in edges if each["to"] == name} - {"trigger"} for name in left}
    while left:
        free = [name for name in left if not before[name] & left.keys()]
        for name in free:
            yield name, left.pop(name)


def _goes(node: Mapping[str, Any], arrived: Sequence[bool | None]) -> bool | None:
    """Whether a node runs, given its edges; None when that is never decided."""
    join = node.get("join", "all")
    mode = join if isinstance(join, str) else join.get("mode", "all")
    taken = sum(each is True for each in arrived)
    if mode != "all" and taken >= (1 if mode == "any" else join["count"]):
        return True
    if None in arrived:
        return None
    return mode == "all" and taken > 0


def _decide(run: _Run, node: Mapping[str, Any], edges: Sequence[Mapping[str, Any]]) -> None:
    """Decide the edges out of a node that ran or was skipped; none of one that ended the execution."""
    name, outcome = node["id"], run.nodes[node["id"]]
    if name in run.fatal:
        return
    for index, edge in enumerate(edges):
        if edge["from"] != name:
            continue
        taken = outcome.state != "skipped" and _leaves_by(edge, outcome)
        if taken and "when" in edge:
            try:
                taken = evaluate(edge["when"], _scope(run))
            except Failure:
                run.fatal.add(name)
                return
        run.decided[index] = taken


def _leaves_by(edge: Mapping[str, Any], outcome: Outcome) -> bool:
    on, port = edge.get("on", "success"), edge.get("port")
    if outcome.state == "failed":
        return on in ("any", "error") or port == "error"
    if on not in ("success", "any") or port == "error":
        return False
    ports = _ports(outcome)
    return bool(ports) and (port is None or port in ports)


def _ports(outcome: Outcome) -> tuple[str, ...]:
    if outcome.state == "succeeded" and isinstance(outcome.output, _Routed):
        return outcome.output.ports
    return ("out",)


class _Routed(dict[str, Any]):
    """The output of a node that chose its exits."""

    def __init__(self, ports: tuple[str, ...], value: Mapping[str, Any]) -> None:
        super().__init__(value)
        self.ports = ports


def _perform(run: _Run, node: Mapping[str, Any]) -> Outcome:
    """Run a node with all its tries, and say what follows a failure."""
    try:
        if "for_each" in node:
            return Outcome("succeeded", _map(run, node))
        if "loop" in node:
            return Outcome("succeeded", _loop(run, node))
        if node["type"] == "scope":
            return Outcome("succeeded", _contain(run, node))
        if node["type"] == "http_request" and not node["config"].get("idempotent"):
            return Outcome("open", ANYTHING)
        return Outcome("succeeded", _call(run, node))
    except Failure as failure:
        if handles_failure(node["id"], run.body.get("edges", ())):
            return Outcome("failed", None, failure.code)
        rule = node.get("on_error", run.given.definition.get("on_error", "fail"))
        if rule == "continue":
            return Outcome("continued", None, failure.code)
        if isinstance(rule, Mapping):
            return Outcome("continued", rule["default"], failure.code)
        run.fatal.add(node["id"])
        return Outcome("failed", None, failure.code)


def _instance(
    run: _Run, region: str, body: Mapping[str, Any], index: int, names: Mapping[str, Any], around: Any = None
) -> tuple[_Run, Outcome]:
    """Perform a body once. Returns what happened in it and what it came to; its node runs are not in `run` yet."""
    seen = _seen(run) | (around or {})
    item = f"{run.item}.{index}" if run.item else str(index)
    within = _Run(run.given, body, item, {**run.names, **names}, seen)
    edges = list(body.get("edges", ()))
    _walk(within, edges)
    if within.fatal:
        codes = {within.nodes[name].code for name in within.fatal}
        outcome = Outcome("failed", None, (codes.pop() or ANYTHING) if len(codes) == 1 else ANYTHING)
    else:
        try:
            outcome = Outcome("succeeded", _result(within))
        except Failure as failure:
            outcome = Outcome("failed", None, failure.code)
    within.inside[f"{region}@end", item] = outcome
    return within, outcome


def _result(run: _Run) -> Any:
    """What an instance comes to: as its author says, or what its leaves came to."""
    if "output" in run.body:
        return _render(run.body["output"], _scope(run), "")
    final = leaves(run.body)
    found = {name: run.nodes[name].output for name in final if run.nodes[name].state != "skipped"}
    return found if len(final) != 1 else found.get(final[0])


def _repeated(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body that a repetition performs. What a scope does with a failure concerns one item: a scope inside."""
    body = node.get("body")
    if body and not (
        {"catch", "finally"} & node.keys() or any("compensate" in each for each in body["nodes"])
    ):
        return body  # type: ignore[no-any-return]
    left_out = {"for_each", "loop", "join", "on_error", "compensate"}
    inner = {name: value for name, value in node.items() if name not in left_out}
    return {"nodes": [{**inner, "id": f"{node['id']}@item", "on_error": "fail"}], "edges": []}


def _map(run: _Run, node: Mapping[str, Any]) -> Any:
    rule = node["for_each"]
    items = evaluate(rule["items"], _scope(run))
    size = rule.get("batch", 1)
    if size > 1:
        items = [items[index : index + size] for index in range(0, len(items), size)]
    found = []
    for index, item in enumerate(items):
        names = {"item": item, "index": index} | ({rule["as"]: item} if "as" in rule else {})
        found.append(_instance(run, node["id"], _repeated(node), index, names))
    failed = [each.code for _, each in found if each.state == "failed"]
    kind = rule.get("on_item_error", "fail")
    tolerated = rule.get("tolerate", {}).get("count", 0 if kind == "fail" else len(items))
    for within, outcome in found:
        good = outcome.state == "succeeded"
        end = (f"{node['id']}@end", within.item)
        run.inside |= within.runs(certain=good and len(failed) <= tolerated)
        run.inside[end] = replace(outcome, certain=len(failed) <= tolerated)
    if len(failed) > tolerated:
        raise Failure(failed[0] if len(set(failed)) == 1 else ANYTHING)
    values = [each.output for _, each in found if each.state == "succeeded"]
    if kind == "drop":
        return values
    if kind == "partition":
        lost = [
            {"index": index, "error": Telling(each.code)}
            for index, (_, each) in enumerate(found)
            if each.state == "failed"
        ]
        return {"succeeded": values, "failed": lost}
    return [each.output for _, each in found]


class Telling:
    """Equal to every error of a code."""

    def __init__(self, code: Any) -> None:
        self.code = code

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and bool(other["code"] == self.code)

    def __hash__(self) -> int:
        return 0


def _loop(run: _Run, node: Mapping[str, Any]) -> Any:
    rule = node["loop"]
    item = _render(rule.get("initial"), _scope(run), "")
    collected: list[Any] = []
    index = 0
    while True:
        scope = {**_scope(run), "item": item, "index": index}
        if ("while" in rule and not evaluate(rule["while"], scope)) or (
            "until" in rule and index and evaluate(rule["until"], scope)
        ):
            return collected if rule.get("collect") else item
        if index >= rule.get("max_iterations", 1000):
            raise Failure("loop.too_many_iterations")
        within, outcome = _instance(run, node["id"], _repeated(node), index, {"item": item, "index": index})
        run.inside |= within.runs(certain=outcome.state == "succeeded")
        if outcome.state == "failed":
            raise Failure(outcome.code)
        item, index = outcome.output, index + 1
        collected.append(item)


def _contain(run: _Run, node: Mapping[str, Any]) -> Any:
    """Perform a scope: its body, what undoes it, who takes its failure over, and what is done in the end anyway."""
    name = node["id"]
    body, outcome = _instance(run, name, node["body"], 0, {})
    run.inside |= body.runs(certain=outcome.state == "succeeded")
    run.inside[f"{name}@end", body.item] = outcome
    seen = _seen(body)
    if outcome.state == "failed":
        seen[name.removesuffix("@item")] = {"error": {"code": outcome.code}}
        for each in node["body"]["nodes"]:
            done = body.nodes.get(each["id"])
            if "compensate" in each and done is not None and done.state in ("succeeded", "open"):
                undo = {**each["compensate"], "id": f"{each['id']}@undo"}
                within, _ = _instance(run, undo["id"], {"nodes": [undo]}, 0, {}, seen)
                run.inside |= within.runs(certain=False)
        for number, handler in enumerate(node.get("catch", ())):
            if not handler.get("on") or any(_names(each, outcome.code) for each in handler["on"]):
                within, outcome = _instance(run, f"{name}@catch{number}", handler["body"], 0, {}, seen)
                run.inside |= within.runs(certain=outcome.state == "succeeded")
                break
    if "finally" in node:
        within, last = _instance(run, f"{name}@finally", node["finally"], 0, {}, seen)
        run.inside |= within.runs(certain=last.state == "succeeded")
        outcome = last if last.state == "failed" else outcome
    if outcome.state == "failed":
        raise Failure(outcome.code)
    return outcome.output


def _names(selector: str, code: Any) -> bool:
    return selector in ("*", code) or (selector[-2:] == ".*" and str(code).startswith(selector[:-1]))


def _call(run: _Run, node: Mapping[str, Any]) -> Any:
    config = _render(node.get("config", {}), _scope(run), node["type"])
    match node["type"].partition("@")[0]:
        case "set":
            return config["values"]
        case "transform":
            return config["expression"]
        case "compute":
            return config.get("value")
        case "noop" | "merge" | "log":
            return None
        case "wait":
            return ANYTHING
        case "fail":
            raise Failure(config.get("code", "workflow.failed"))
        case "if":
            return _Routed(("true" if config["condition"] else "false",), {"result": config["condition"]})
        case "switch":
            return _switch(config)
        case "http_request":
            return _http(run, node, config)
    message = f"the reference does not know {node['type']}"
    raise AssertionError(message)


def _switch(config: Mapping[str, Any]) -> _Routed:
    matched = [each["name"] for each in config["cases"] if each["when"]]
    if config.get("mode", "first") == "first":
        matched = matched[:1]
    if matched:
        return _Routed(tuple(matched), {"matched": matched})
    if config.get("default"):
        return _Routed((config["default"],), {"matched": []})
    if config.get("none") == "skip":
        return _Routed((), {"matched": []})
    raise Failure("switch.no_match")


def _http(run: _Run, node: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    answers = run.given.answers.get(node["id"].removesuffix("@item"), ("ok",))
    policy = node.get("retry", run.given.definition.get("retry"))
    tries = 3 if policy is None else policy.get("max_attempts", 1)
    code = "http.unreachable"
    applied = False
    for index in range(tries):
        word = "ok" if applied else answers[min(index, len(answers) - 1)]
        if word == "ok":
            told = config["body"]
            text = json.dumps({"done": told.get("node"), "value": told.get("value")})
            headers = {"content-type": "application/json", "content-length": str(len(text))}
            return {"status": 200, "headers": headers, "body": json.loads(text)}
        applied = word == "drop"
        code = _REPEATED.get(word, "http.client_error")
        if word not in _REPEATED:
            break
    raise Failure(code)


def _output(run: _Run, edges: Sequence[Mapping[str, Any]]) -> Any:
    if "outputs" in run.body:
        return _render(run.body["outputs"], _scope(run), "")
    return {name: run.nodes[name].output for name in leaves(run.body) if run.nodes[name].state != "skipped"}


# --- Expressions --------------------------------------------------------------------------------------------

_EXPRESSIONS: Final = {"transform": ("expression",), "if": ("condition",), "switch": ("when",)}
"""Fields that hold an expression without braces."""
_COMPARED: Final = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge
}  # fmt: skip
_TEMPLATE: Final = re.compile(r"\{\{([^{}]*)\}\}")
_TOKEN: Final = re.compile(r"\s*(\d+|'[^']*'|[A-Za-z_][\w.@]*|==|!=|<=|>=|[<>+\-*%|(),\[\]])")


def _seen(run: _Run) -> dict[str, Any]:
    """The outcomes of nodes as expressions see them."""
    nodes: dict[str, Any] = dict(run.around)
    for name, outcome in run.nodes.items():
        if outcome.state in ("succeeded", "continued"):
            nodes[name] = {"output": outcome.output}
        if outcome.code is not None:
            nodes.setdefault(name, {})["error"] = {"code": outcome.code}
    return nodes


def _scope(run: _Run) -> dict[str, Any]:
    payload = run.given.payload if isinstance(run.given.payload, dict) else {}
    variables = dict(run.given.definition.get("variables", {}))
    own = {"trigger": {"payload": run.given.payload}, "nodes": _seen(run), "vars": variables}
    own["execution"] = {"id": ANYTHING}
    return {**payload, **own, **run.names}


def _render(value: Any, scope: Mapping[str, Any], node_type: str, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {key: _render(each, scope, node_type, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_render(each, scope, node_type, name) for each in value]
    if not isinstance(value, str):
        return value
    if "{{" not in value:
        bare = name in _EXPRESSIONS.get(node_type, ())
        return evaluate(value, scope) if bare else value
    if whole := _TEMPLATE.fullmatch(value):
        return evaluate(whole[1], scope)
    return _TEMPLATE.sub(lambda match: str(evaluate(match[1], scope)), value)


def evaluate(text: str, scope: Mapping[str, Any]) -> Any:
    """The value of an expression. Raises `Failure` for what is not there."""
    parser = _Parser(_TOKEN.findall(text), scope)
    value = parser.either()
    if parser.tokens:
        raise AssertionError(f"the reference cannot read {text!r}")
    return _there(value)


def _there(value: Any) -> Any:
    if value is MISSING:
        raise Failure("expression.unknown_name")
    return value


class _Parser:
    def __init__(self, tokens: list[str], scope: Mapping[str, Any]) -> None:
        self.tokens = tokens
        self._scope = scope

    def _next(self, *wanted: str) -> str | None:
        return self.tokens.pop(0) if self.tokens and self.tokens[0] in wanted else None

    def either(self) -> Any:
        value = self._both()
        while self._next("or"):
            other = self._both()
            value = _there(value) or _there(other)
        return value

    def _both(self) -> Any:
        value = self._comparison()
        while self._next("and"):
            other = self._comparison()
            value = _there(value) and _there(other)
        return value

    def _comparison(self) -> Any:
        value = self._sum()
        sign = self._next("==", "!=", "<", "<=", ">", ">=")
        if sign is None:
            return value
        left, right = _there(value), _there(self._sum())
        return _COMPARED[sign](left, right)

    def _sum(self) -> Any:
        value = self._product()
        while sign := self._next("+", "-"):
            left, right = _there(value), _there(self._product())
            value = left + right if sign == "+" else left - right
        return value

    def _product(self) -> Any:
        value = self._filtered()
        while sign := self._next("*", "%"):
            left, right = _there(value), _there(self._filtered())
            value = left * right if sign == "*" else left % right
        return value

    def _filtered(self) -> Any:
        value = self._atom()
        while self._next("|"):
            assert [self.tokens.pop(0), self.tokens.pop(0)] == ["default", "("]
            other = self.either()
            assert self.tokens.pop(0) == ")"
            value = other if value is MISSING else value
        return value

    def _atom(self) -> Any:
        token = self.tokens.pop(0)
        if token == "(":
            value = self.either()
            assert self.tokens.pop(0) == ")"
            return value
        if token == "[":
            values: list[Any] = []
            while not self._next("]"):
                values.append(_there(self.either()))
                self._next(",")
            return values
        if token.isdecimal():
            return int(token)
        if token.startswith("'"):
            return token[1:-1]
        if token in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[token]
        found: Any = self._scope
        for name in token.split("."):
            found = found.get(name, MISSING) if isinstance(found, Mapping) else MISSING
        return found
