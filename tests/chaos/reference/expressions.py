"""The part of the expression language that definitions of the tests use, a second time: text in, a value out."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from typing import Any, Final


class Anything:
    """Equal to every value."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


ANYTHING: Final = Anything()


class Missing:
    """What is not there, with the code of the failure that it is when it is needed."""

    def __init__(self, code: str) -> None:
        self.code = code


NO_NAME: Final = Missing("expression.unknown_name")
NO_KEY: Final = Missing("expression.unknown_key")


class OneOf:
    """Equal to each of some values."""

    def __init__(self, values: frozenset[Any]) -> None:
        self.values = values

    def __eq__(self, other: object) -> bool:
        return other in self.values

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return " or ".join(sorted(map(str, self.values)))


class Telling:
    """Equal to every error of a code."""

    def __init__(self, code: Any) -> None:
        self.code = code

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and bool(other.get("code") == self.code)

    def __hash__(self) -> int:
        return 0


def one_of(values: frozenset[Any]) -> Any:
    """Return what equals each of some values: the value itself, when there is one."""
    return next(iter(values)) if len(values) == 1 else OneOf(values)


class Failure(Exception):
    """A node came to nothing."""

    def __init__(self, code: Any) -> None:
        super().__init__(code)
        self.code = code


_EXPRESSIONS: Final = {"transform": ("expression",), "if": ("condition",), "switch": ("when",)}
"""Fields that hold an expression without braces."""
_OPERATORS: Final = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "+": operator.add, "-": operator.sub, "*": operator.mul, "%": operator.mod,
}  # fmt: skip
_CONSTANTS: Final = {"true": True, "false": False, "null": None, "none": None}
_TEMPLATE: Final = re.compile(r"\{\{([^{}]*)\}\}")
_TOKEN: Final = re.compile(r"\s*(\d+|'[^']*'|[A-Za-z_][\w.@]*|==|!=|<=|>=|[<>+\-*%|(),\[\]])")


def render(value: Any, scope: Mapping[str, Any], node_type: str, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {key: render(each, scope, node_type, key) for key, each in value.items()}
    if isinstance(value, list):
        return [render(each, scope, node_type, name) for each in value]
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
    if isinstance(value, Missing):
        raise Failure(value.code)
    return value


def _applied(sign: str, left: Any, right: Any) -> Any:
    try:
        return _OPERATORS[sign](left, right)
    except TypeError:
        raise Failure("expression.type") from None


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
        return _applied(sign, left, right)

    def _sum(self) -> Any:
        value = self._product()
        while sign := self._next("+", "-"):
            left, right = _there(value), _there(self._product())
            value = _applied(sign, left, right)
        return value

    def _product(self) -> Any:
        value = self._filtered()
        while sign := self._next("*", "%"):
            left, right = _there(value), _there(self._filtered())
            value = _applied(sign, left, right)
        return value

    def _filtered(self) -> Any:
        value = self._indexed()
        while self._next("|"):
            assert [self.tokens.pop(0), self.tokens.pop(0)] == ["default", "("]
            other = self.either()
            assert self.tokens.pop(0) == ")"
            value = other if isinstance(value, Missing) else value
        return value

    def _indexed(self) -> Any:
        value = self._atom()
        while self._next("["):
            index = self.either()
            assert self.tokens.pop(0) == "]"
            value = _there(value)[index]
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
        if token in _CONSTANTS:
            return _CONSTANTS[token]
        first, *path = token.split(".")
        found: Any = self._scope.get(first, NO_NAME)
        for name in path if found is not NO_NAME else ():
            found = found.get(name, NO_KEY) if isinstance(found, Mapping) else NO_KEY
        return found
