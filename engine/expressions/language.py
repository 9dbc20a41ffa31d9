"""From source to syntax tree: Jinja2's lexer and parser, and nothing else of Jinja2.

This is the only module that asks Jinja2 to do anything. No template is ever compiled or rendered by it: its lexer
cuts the source into tokens, which are checked here one by one, and its parser puts them together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TypeVar

import jinja2
from jinja2 import TemplateSyntaxError, nodes
from jinja2.lexer import TokenStream, describe_token
from jinja2.parser import Parser

from engine.expressions.error import NOT_ALLOWED, SYNTAX, TOO_LARGE, ExpressionError
from engine.expressions.limits import Limits
from engine.expressions.values import size
from engine.nearest import nearest

Tree = TypeVar("Tree")

STATEMENTS = ("if", "elif", "else", "endif", "for", "endfor", "set")
_KNOWN_STATEMENTS = (*STATEMENTS, "endset")
"""The end of a `set` that spans text passes too, so that its beginning is refused and says what to write."""

_NEWLINE = re.compile(r"\r\n|\r|\n")
_ESCAPE = re.compile(
    r"\\(?:[\\'\"abfnrtv\n]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8})|\\(.)", re.DOTALL
)

_NAME_IN_BRACES = re.compile(r"\{\{[ \n\t]*((?:[A-Za-z_][A-Za-z0-9_]*\.)*[A-Za-z_][A-Za-z0-9_]*)[ \n\t]*\}\}")
_NO_NAMES = frozenset(
    ["true", "false", "none", "True", "False", "None", "not", "and", "or", "in", "is", "if", "else", "elif"]
)

_environment = jinja2.Environment(keep_trailing_newline=True, autoescape=False)  # noqa: S701 - it never renders
_lexer = _environment.lexer

_PLAINER = {
    "end of print statement": "}}",
    "begin of print statement": "{{",
    "end of statement block": "%}",
    "begin of statement block": "{%",
}
_HABITS = {
    "&": "Write `and` for both, and `~` to join text.",
    "|": "Write `or` for either; one `|` applies a filter.",
    "!": "Write `not a`, or `a != b`.",
    "?": "Write `x if condition else y`.",
    "$": "A name stands alone inside the braces: `{{ name }}`.",
    "@": "A name is made of letters, digits and underscores.",
    "`": "Text stands in quotes, ' or \".",
    "=": "Compare with `==`.",
}


class Source:
    """One template's text, and where things stand in it.

    Inside, places are offsets. Jinja2's tokens and nodes carry one number for their line; they are handed the
    offset instead, because an author needs the column too.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def normal(self) -> str:
        """The text as Jinja2's lexer sees it: every line ends with one character."""
        return _NEWLINE.sub("\n", self.text) if "\r" in self.text else self.text

    def place(self, offset: int) -> tuple[int, int]:
        """Return line and column, from 1."""
        before = self.normal[:offset]
        return before.count("\n") + 1, offset - before.rfind("\n")

    def original(self, offset: int, text: str) -> str:
        """Return literal text with the line ends it has in the source."""
        if self.normal is self.text or "\n" not in text:
            return text
        ends = _NEWLINE.findall(self.text)[self.normal.count("\n", 0, offset) :]
        lines = text.split("\n")
        return "".join(line + end for line, end in zip(lines, [*ends[: len(lines) - 1], ""], strict=True))

    def error(self, code: str, message: str, offset: int, hint: str | None = None) -> ExpressionError:
        """Return an error at this place."""
        return ExpressionError(code, message, self.text, *self.place(offset), hint)


def is_plain(text: str) -> bool:
    """Return whether a text has no tag in it, and so means itself."""
    return "{{" not in text and "{%" not in text and "{#" not in text


def parse_template(source: Source, limits: Limits) -> list[nodes.Node]:
    """Return the trees of a text with tags in it."""
    _check_size(source, limits)
    return _names_in_text(source.text) or _parse(source, limits, None, Parser.subparse)


def parse_expression(source: Source, limits: Limits) -> nodes.Expr:
    """Return the tree of an expression that stands without braces."""
    _check_size(source, limits)
    return _parse(source, limits, "variable", _whole_expression)


def _check_size(source: Source, limits: Limits) -> None:
    if len(source.text) > limits.source_bytes or size(source.text) > limits.source_bytes:
        message = f"The template is larger than {limits.source_bytes:,} bytes."
        raise ExpressionError(TOO_LARGE, message, source.text, 1, 1, "Keep long text in a variable.")


def _names_in_text(text: str) -> list[nodes.Node] | None:
    """Return the trees of a text with nothing but dotted names in braces, or nothing if there is more to it.

    Most templates are of this kind, and most of the time that a definition takes to compile would be spent on them
    in Jinja2's lexer. A test holds the trees against those of its parser.
    """
    if "{%" in text or "{#" in text or "\r" in text:
        return None
    parts: list[nodes.Expr] = []
    end = 0
    for found in _NAME_IN_BRACES.finditer(text):
        name, *keys = found[1].split(".")
        literal = text[end : found.start()]
        if name in _NO_NAMES or "{{" in literal or literal.endswith("{"):
            return None
        if literal:
            parts.append(nodes.TemplateData(literal, lineno=end))
        offset = found.start(1)
        node: nodes.Expr = nodes.Name(name, "load", lineno=offset)
        offset += len(name)
        for key in keys:
            node = nodes.Getattr(node, key, "load", lineno=offset)
            offset += len(key) + 1
        parts.append(node)
        end = found.end()
    if "{{" in text[end:]:
        return None
    if end < len(text):
        parts.append(nodes.TemplateData(text[end:], lineno=end))
    return [nodes.Output(parts, lineno=0)]


def _whole_expression(parser: Parser) -> nodes.Expr:
    tree = parser.parse_tuple(with_condexpr=True)
    if parser.stream:
        parser.fail(f"unexpected {describe_token(parser.stream.current)!r} after the end of the expression")
    return tree


def _parse(source: Source, limits: Limits, state: str | None, grammar: Callable[[Parser], Tree]) -> Tree:
    parser = Parser(_environment, "")
    try:
        parser.stream = TokenStream(_lexer.wrap(_tokens(source, limits, state)), None, None)
        return grammar(parser)
    except TemplateSyntaxError as error:
        raise source.error(SYNTAX, _plain_words(error), error.lineno, _hint(error)) from None
    except RecursionError:
        raise source.error(TOO_LARGE, "The template is nested too deep to be read.", 0) from None


def _tokens(source: Source, limits: Limits, state: str | None) -> Iterator[tuple[int, str, str]]:
    """Yield Jinja2's tokens with their offset for a line, and refuse early what the parser would not survive."""
    text = source.normal
    offset = 0
    brackets = 0
    names_statement = False
    stream = _lexer.tokeniter(text, None, None, state)
    while True:
        try:
            token = next(stream, None)
        except TemplateSyntaxError as error:
            raise source.error(SYNTAX, _plain_words(error), offset, _hint(error)) from None
        if token is None:
            return
        _, kind, value = token
        # Only white space that a dash strips (`{{-`) is missing between two tokens.
        offset = text.find(value, offset)
        if kind == "operator":
            brackets += (value in "([{") - (value in ")]}")
            if brackets > limits.depth:
                raise source.error(TOO_LARGE, f"Brackets stand more than {limits.depth} deep.", offset)
        elif kind == "string":
            _check_escapes(source, offset, value)
        elif kind == "integer" and len(value) > min(limits.int_bits, 4_000):
            raise source.error(TOO_LARGE, f"An integer has more than {limits.int_bits:,} bits.", offset)
        elif kind == "name" and names_statement and value not in _KNOWN_STATEMENTS:
            raise source.error(
                NOT_ALLOWED, f"There is no statement `{value}`.", offset, _statement_hint(value)
            )
        if kind != "whitespace":
            names_statement = kind == "block_begin"
        yield offset, kind, value
        offset += len(value)


def _check_escapes(source: Source, offset: int, literal: str) -> None:
    """Refuse escapes that Python would warn about and keep; whether it warns is up to the process."""
    for found in _ESCAPE.finditer(literal, 1, len(literal) - 1):
        if found.group(1):
            message = f"Text in quotes has no escape `{found.group()}`."
            raise source.error(SYNTAX, message, offset + found.start(), "Write two backslashes for one.")


def _statement_hint(name: str) -> str:
    if (guess := nearest(name, STATEMENTS)) is not None:
        return f"Did you mean `{guess}`?"
    return "The statements are if, for and set."


def _plain_words(error: TemplateSyntaxError) -> str:
    """Return Jinja2's message in terms of what an author wrote."""
    message = re.sub(r" at \d+$", "", error.message or "syntax error")
    for words, mark in _PLAINER.items():
        message = message.replace(words, mark)
    return message[0].upper() + message[1:].rstrip(".") + "."


def _hint(error: TemplateSyntaxError) -> str | None:
    """Return what people who think in another language probably meant."""
    found = re.search(r"(?:unexpected char|got|unexpected) '([^'])'", error.message or "")
    return _HABITS.get(found.group(1)) if found else None
