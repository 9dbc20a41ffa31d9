"""How an expression is refused: with a stable code, the place in its source, and never a value."""

from __future__ import annotations

SYNTAX = "expression.syntax"
NOT_ALLOWED = "expression.not_allowed"
UNKNOWN_NAME = "expression.unknown_name"
UNKNOWN_KEY = "expression.unknown_key"
UNKNOWN_FILTER = "expression.unknown_filter"
UNKNOWN_TEST = "expression.unknown_test"
UNKNOWN_FUNCTION = "expression.unknown_function"
ARGUMENTS = "expression.arguments"
TYPE = "expression.type"
VALUE = "expression.value"
NUMBER = "expression.number"
TOO_LARGE = "expression.too_large"
BUDGET = "expression.budget"


class ExpressionError(Exception):
    """An expression cannot be compiled, or not be evaluated with these values.

    The message names paths, filters and kinds of values, never a value, because it is stored and shown to people
    who may not see the data. `line` and `column` count from 1 inside `source`; `where` is the place of `source`
    inside the JSON value that `compile_value` walked.
    """

    def __init__(
        self,
        code: str,
        message: str,
        source: str,
        line: int,
        column: int,
        hint: str | None = None,
    ) -> None:
        super().__init__(code, message, source, line, column, hint)
        self.code = code
        self.message = message
        self.source = source
        self.line = line
        self.column = column
        self.hint = hint
        self.where: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        return self.message

    def to_json(self) -> dict[str, str | dict[str, int]]:
        """Return `{code, message, hint?, details}`, the form every surface shows."""
        body: dict[str, str | dict[str, int]] = {"code": self.code, "message": self.message}
        if self.hint:
            body["hint"] = self.hint
        body["details"] = {"line": self.line, "column": self.column}
        return body


class Refused(Exception):
    """A value, filter or operator cannot go on; whoever knows the place turns this into an `ExpressionError`.

    `reason` continues a sentence whose subject is the filter or operator: "needs text, not a list".
    """

    def __init__(self, code: str, reason: str, hint: str | None = None) -> None:
        super().__init__(code, reason, hint)
        self.code = code
        self.reason = reason
        self.hint = hint
