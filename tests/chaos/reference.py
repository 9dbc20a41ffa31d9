"""What a definition means, a second time: a sequential interpreter that shares nothing with the engine.

It walks the nodes in topological order and decides every edge once, taken or not (joins all, any, n; what cannot be
reached any more is skipped). It knows the few node types and the small part of the expression language that the random
definitions use. What a real run leaves open (the text of a wait's end) is `ANYTHING`.

When a failure is nobody's, the execution ends at once, and how far its other branches came depends on their order. Then
`succeeded` holds every node that may have succeeded, and `fatal` those of which one must have ended the execution.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a node came to: succeeded, continued (failed, and all goes on), failed, skipped; open is one of the first two."""

    state: str
    output: Any = None
    code: str | None = None


@dataclass(slots=True)
class Result:
    """What an execution comes to. `effects` are the nodes whose keyed effect is applied if they succeed."""

    status: str
    nodes: dict[str, Outcome]
    fatal: set[str]
    effects: set[str]
    output: Any = None


@dataclass(slots=True)
class _Run:
    body: Mapping[str, Any]
    payload: Any
    nodes: dict[str, Outcome] = field(default_factory=dict)
    decided: dict[int, bool] = field(default_factory=dict)
    fatal: set[str] = field(default_factory=set)


def interpret(
    document: Mapping[str, Any], payload: Any, answers: Mapping[str, Sequence[str]] | None = None
) -> Result:
    """Run a definition. `answers` are the words its calls get, one a try, the last for ever after; else `ok`."""
    body = document["definition"]
    answers = answers or {}
    run = _Run(body, payload)
    edges: list[Mapping[str, Any]] = list(body.get("edges", ()))
    for index, edge in enumerate(edges):
        if edge["from"] == "trigger":
            run.decided[index] = evaluate(edge.get("when", "true"), _scope(run))
    for name, node in _in_order(body["nodes"], edges):
        entering = [index for index, each in enumerate(edges) if each["to"] == name]
        goes = _goes(node, [run.decided.get(index) for index in entering]) if entering else True
        if goes is None:
            continue
        if not goes:
            run.nodes[name] = Outcome("skipped")
        else:
            run.nodes[name] = _perform(run, node, answers.get(name, ("ok",)))
        _decide(run, node, edges)
    effects = {
        each["id"]
        for each in body["nodes"]
        if each["type"] == "http_request" and each["config"].get("idempotent") is True
    }
    if run.fatal:
        return Result("failed", run.nodes, run.fatal, effects)
    try:
        return Result("succeeded", run.nodes, set(), effects, _output(run, edges))
    except Failure:
        return Result("failed", run.nodes, {"@output"}, effects)


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


def _perform(run: _Run, node: Mapping[str, Any], answers: Sequence[str]) -> Outcome:
    """Run a node with all its tries, and say what follows a failure."""
    if node["type"] == "http_request" and not node["config"].get("idempotent"):
        return Outcome("open", ANYTHING)
    try:
        return Outcome("succeeded", _call(run, node, answers))
    except Failure as failure:
        if handles_failure(node["id"], run.body.get("edges", ())):
            return Outcome("failed", None, failure.code)
        rule = node.get("on_error", run.body.get("on_error", "fail"))
        if rule == "continue":
            return Outcome("continued", None, failure.code)
        if isinstance(rule, Mapping):
            return Outcome("continued", rule["default"], failure.code)
        run.fatal.add(node["id"])
        return Outcome("failed", None, failure.code)


def _call(run: _Run, node: Mapping[str, Any], answers: Sequence[str]) -> Any:
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
            return _http(run, node, config, answers)
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


def _http(run: _Run, node: Mapping[str, Any], config: Mapping[str, Any], answers: Sequence[str]) -> Any:
    policy = node.get("retry", run.body.get("retry"))
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
_TOKEN: Final = re.compile(r"\s*(\d+|'[^']*'|[A-Za-z_][\w.]*|==|!=|<=|>=|[<>+\-*%|(),])")


def _scope(run: _Run) -> dict[str, Any]:
    nodes: dict[str, Any] = {}
    for name, outcome in run.nodes.items():
        if outcome.state in ("succeeded", "continued"):
            nodes[name] = {"output": outcome.output}
        if outcome.code is not None:
            nodes.setdefault(name, {})["error"] = {"code": outcome.code}
    payload = run.payload if isinstance(run.payload, dict) else {}
    own = {"trigger": {"payload": run.payload}, "nodes": nodes, "vars": dict(run.body.get("variables", {}))}
    own["execution"] = {"id": ANYTHING}
    return {**payload, **own}


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
