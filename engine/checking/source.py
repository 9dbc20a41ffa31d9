"""The author's text: JSON to a value, and from a place in the value back to its line and column.

A definition is read by a person again when it is wrong, so what JSON leaves open is closed here: a key stands
once, a number is finite, text is text. Reading is the C decoder's work; a text is read more closely only when
a cheap look has found something in it, and positions are computed only when somebody asks.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from celeriac import Json

MAX_BYTES: Final = 8 * 1024 * 1024
MAX_DEPTH: Final = 64
MAX_DIGITS: Final = 309
"""More digits than a double has, so that no reader of the same JSON loses what another one keeps."""

MAX_FLAWS: Final = 10_000
"""The flaws of one text that are told; with more, a program wrote it, and its author reads the first ones."""

Path = tuple[str | int, ...]
"""A place in a value: the keys and indices that lead there."""

_SPACE = re.compile(r"[ \t\n\r]*")
_SUSPICIOUS = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_UNUSABLE = re.compile("[\x00\ud800-\udfff]")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]', re.DOTALL)
_LINE_END = re.compile(r"(?:\\r|\\u000[dD])(?:\\n|\\u000[aA])|\\[rn]|\\u000[aAdD]")
_CHARACTER = re.compile(rf"{_LINE_END.pattern}|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u....|\\.|.", re.DOTALL)
_STEP = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
"""Steps over a value. Numbers stay text, so that none can be too large to step over."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with the text itself. `at` is an offset in characters; `key` says that it is a key's."""

    path: Path
    code: str
    message: str
    hint: str | None
    at: int


@dataclass(frozen=True, slots=True)
class Spot:
    """A place somebody wants to show: a value, its key, or a line and column (from 1) inside a text value."""

    path: Path
    key: bool = False
    inside: tuple[int, int] | None = None


@dataclass(frozen=True)
class Source:
    """A text that was read.

    Unless it is `broken`, its value is good for further checks even when there are flaws: the last of two
    equal keys counts, an unusable number is 0, an unusable character is U+FFFD.
    """

    text: str
    value: Json
    flaws: tuple[Flaw, ...] = ()
    broken: bool = False

    def position(self, at: int) -> tuple[int, int]:
        """Return line and column of an offset. Both count from 1, columns in characters."""
        line = bisect_left(self._line_ends, at)
        start = self._line_ends[line - 1] + 1 if line else 0
        return line + 1, at - start + 1

    def positions(self, spots: Iterable[Spot]) -> list[tuple[int, int]]:
        """Return line and column of each spot, in one pass. A path that leads nowhere is placed where it gets
        lost.
        """
        wanted = list(spots)
        if not wanted:
            return []
        places = _Places(self.text, (each.path for each in wanted)).found
        return [self.position(self._offset(each, places)) for each in wanted]

    def _offset(self, spot: Spot, places: dict[Path, tuple[int, int]]) -> int:
        path = spot.path
        while path not in places:
            path = path[:-1]
        key_at, value_at = places[path]
        if path == spot.path and spot.key:
            return key_at
        return self._inside(value_at, *spot.inside) if path == spot.path and spot.inside else value_at

    def _inside(self, quote_at: int, line: int, column: int) -> int:
        """Follow the author's escapes from an opening quote to a decoded line and column."""
        characters = _CHARACTER.finditer(self.text, quote_at + 1)
        here = (1, 1)
        match = next(characters)
        while match.group() != '"' and here < (line, column):
            here = (here[0] + 1, 1) if _LINE_END.fullmatch(match.group()) else (here[0], here[1] + 1)
            match = next(characters)
        return match.start()

    @cached_property
    def _line_ends(self) -> list[int]:
        return [match.start() for match in re.finditer("\n", self.text)]


def read(text: str | bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Source:
    """Read a JSON text. Never raises: what is wrong stands in `flaws`, with its place."""
    suspicious = False
    size = len(text)
    if isinstance(text, str):
        size = len(text.encode(errors="surrogatepass"))
        suspicious = not text.isascii() and _UNUSABLE.search(text) is not None
    if size > max_bytes:
        message = f"The definition has {size:,} bytes; at most {max_bytes:,} are accepted."
        hint = "Keep data out of the definition: pass it with the trigger, or load it with a node."
        return _broken("", Flaw((), "definition.too_large", message, hint, 0))
    if isinstance(text, bytes):
        try:
            decoded = text.decode()
        except UnicodeDecodeError as error:
            readable = text[: error.start].decode()
            message = f"The text is not UTF-8: the byte 0x{text[error.start]:02x} cannot stand here."
            hint = "Save the file in the encoding UTF-8."
            return _broken(readable, Flaw((), "definition.not_utf8", message, hint, len(readable)))
        text = decoded
    text = text.removeprefix("\ufeff")
    look = _Look()
    try:
        value = look.decoder.decode(text)
    except json.JSONDecodeError as error:
        return _broken(text, _no_json(text, error))
    except RecursionError:
        return _broken(text, _too_deep(text, max_depth))
    if deeper_than(max_depth, value):
        return _broken(text, _too_deep(text, max_depth))
    if look.found or suspicious or ("\\u" in text and _SUSPICIOUS.search(text)):
        closer = _Closer(text)
        return Source(text, closer.value, tuple(closer.flaws))
    return Source(text, value)


def pointer(path: Path) -> str:
    """Return a path as an RFC 6901 JSON pointer."""
    return "".join("/" + str(each).replace("~", "~0").replace("/", "~1") for each in path)


def deeper_than(limit: int, value: Json) -> bool:
    """Whether lists and objects are nested in more than `limit` levels. Level by level: depth costs no
    stack.
    """
    level: list[Any] = [value] if isinstance(value, dict | list) else []
    depth = 0
    while level and depth <= limit:
        depth += 1
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) is dict or type(child) is list
        ]
    return depth > limit


def _broken(text: str, flaw: Flaw) -> Source:
    return Source(text, None, (flaw,), broken=True)


def _too_deep(text: str, max_depth: int) -> Flaw:
    """Find the first place beyond the limit. Works on tokens: what follows that place need not be JSON."""
    path: list[str | int] = []
    last = ""
    tokens = _TOKEN.finditer(text)
    while True:
        match = next(tokens)
        token = match.group()
        if token in "[{":
            if len(path) == max_depth:
                message = f"Lists and objects are nested in more than {max_depth} levels here."
                keys = tuple(json.loads(each) if isinstance(each, str) else each for each in path)
                return Flaw(keys, "definition.too_deep", message, "Flatten the value.", match.start())
            path.append(0 if token == "[" else '""')
        elif token in "]}":
            path.pop()
        elif token == ",":
            if isinstance(path[-1], int):
                path[-1] += 1
        elif token == ":":
            path[-1] = last
        else:
            last = token


def _no_json(text: str, error: json.JSONDecodeError) -> Flaw:
    """Point at the mistake. Versions of Python disagree on where a comma too many is; the comma itself is
    meant.
    """
    code = "definition.not_json"
    comma = text[: error.pos + 1].rstrip(" \t\r\n]}")
    closes = text[error.pos : error.pos + 1] in ("]", "}") or error.msg.startswith("Illegal trailing comma")
    if closes and comma.endswith(","):
        message = "A comma stands before the end of a list or an object."
        return Flaw((), code, message, "Remove the last comma.", len(comma) - 1)
    return Flaw((), code, *_syntax_words(text, error), error.pos)


def _syntax_words(text: str, error: json.JSONDecodeError) -> tuple[str, str | None]:
    """Say what stands in the way, in words about the text and not about its reader."""
    at = error.pos
    rest = text[at : at + 2]
    if not text.strip():
        return "The text is empty.", "Write a workflow: an object with `name` and `definition`."
    if error.msg.startswith("Unterminated string"):
        return "A quote is opened here and never closed.", None
    if not rest:
        return "The text ends before the JSON does.", "Close what is open: a quote, a bracket or a brace."
    if rest in ("//", "/*") or rest[0] == "#":
        return "JSON has no comments.", "Remove the comment; `description` is there for words."
    if rest[0] == "'":
        return "JSON quotes with double quotes.", "Write \"text\" and not 'text'."
    if error.msg.startswith("Extra data"):
        return "Something follows the end of the JSON.", "A definition is one object; remove what follows it."
    if error.msg.startswith("Invalid control character"):
        return "A line break or control character stands inside quotes.", r"Write \n for a line break."
    if error.msg.startswith("Invalid \\"):
        return "This is no escape of JSON.", r"Write \\ for a backslash."
    if error.msg.startswith("Expecting ','"):
        return f"A comma or the end of the list or object is missing before {rest[0]!r}.", None
    if error.msg.startswith("Expecting ':'"):
        return f"A colon is missing after the key, before {rest[0]!r}.", None
    if error.msg.startswith("Expecting property name"):
        return f"A key in double quotes is expected here, not {rest[0]!r}.", None
    return (
        f"A value is expected here, not {rest[0]!r}.",
        "Text stands in double quotes; true, false and null do not.",
    )


class _Look:
    """The C decoder with a cheap look at what JSON leaves open; `found` tells that there was something."""

    def __init__(self) -> None:
        self.found = False
        self.decoder = json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_int=self._int,
            parse_float=self._float,
            parse_constant=self._constant,
        )

    def _object(self, pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        members = dict(pairs)
        if len(members) != len(pairs):
            self.found = True
        return members

    def _int(self, digits: str) -> int:
        if len(digits) > MAX_DIGITS:
            self.found = True
            return 0
        return int(digits)

    def _float(self, digits: str) -> float:
        number = float(digits)
        if math.isinf(number):
            self.found = True
        return number

    def _constant(self, _name: str) -> int:
        self.found = True
        return 0


class _Cursor:
    """A place in a text that is known to be JSON, and the ways to move it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self._blank()

    def step(self) -> Any:
        """Return the value here, numbers as text, and stand behind it."""
        value, self.at = _STEP.raw_decode(self.text, self.at)
        return value

    def members(self) -> Iterator[tuple[int, str | int]]:
        """Yield place and name of each member of the list or object here, standing at its value; step over
        that.
        """
        keyed = self.text[self.at] == "{"
        index = 0
        self.at += 1
        self._blank()
        while self.text[self.at] not in "]}":
            if self.text[self.at] == ",":
                self.at += 1
                self._blank()
            here = self.at
            name = self._key() if keyed else index
            yield here, name
            index += 1
            self._blank()
        self.at += 1

    def _key(self) -> str:
        key: str = self.step()
        self._blank()
        self.at += 1
        self._blank()
        return key

    def _blank(self) -> None:
        self.at = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]  # matches everywhere


class _Places(_Cursor):
    """Where wanted paths stand: `found[path]` is the offset of the key and of the value. Steps over all the
    rest.
    """

    def __init__(self, text: str, paths: Iterable[Path]) -> None:
        super().__init__(text)
        self._wanted = {path[:length] for path in paths for length in range(1, len(path) + 1)}
        self._parents = {path[:-1] for path in self._wanted}
        self.found: dict[Path, tuple[int, int]] = {(): (self.at, self.at)}
        self._visit(())

    def _visit(self, path: Path) -> None:
        if path not in self._parents or self.text[self.at] not in "[{":
            self.step()
            return
        for key_at, name in self.members():
            inner = (*path, name)
            if inner in self._wanted:
                self.found[inner] = (key_at, self.at)
                self._visit(inner)
            else:
                self.step()


class _Closer(_Cursor):
    """A second reading, for the flaws of a text: slower, and it knows where it is."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.flaws: list[Flaw] = []
        self.value = self._visit(())

    def _visit(self, path: Path) -> Json:
        first = self.text[self.at]
        if first == "[":
            return [self._visit((*path, index)) for _, index in self.members()]
        if first == "{":
            return self._object(path)
        at = self.at
        raw = self.step()
        if first == '"':
            return self._usable(raw, path, at)
        return self._number(raw, path, at) if isinstance(raw, str) else raw

    def _object(self, path: Path) -> dict[str, Json]:
        found: dict[str, Json] = {}
        for at, name in self.members():
            key = self._usable(str(name), (*path, name), at)
            if key in found:
                message = f"The key {json.dumps(key, ensure_ascii=False)} stands twice in one object."
                self._add((*path, key), "definition.duplicate_key", message, "Remove one of the two.", at)
            found[key] = self._visit((*path, key))
        return found

    def _usable(self, text: str, path: Path, at: int) -> str:
        bad = _UNUSABLE.search(text)
        if bad is None:
            return text
        name = (
            "the character NUL" if bad.group() == "\x00" else f"half a character (U+{ord(bad.group()):04X})"
        )
        hint = "Remove it; a character outside the basic plane is two escapes, or simply the character."
        self._add(path, "definition.bad_text", f"The text holds {name}, which no database stores.", hint, at)
        return _UNUSABLE.sub("\ufffd", text)

    def _number(self, digits: str, path: Path, at: int) -> int | float:
        number = float(digits)
        if math.isnan(number) or math.isinf(number):
            shown = digits if len(digits) < 20 else f"{digits[:16]}... ({len(digits)} characters)"
            message = f"{shown} is no number that JSON and a double can hold."
            self._add(path, "definition.bad_number", message, "Write it as text, or leave it out.", at)
            return 0
        return int(digits) if digits.lstrip("-").isdecimal() else number

    def _add(self, path: Path, code: str, message: str, hint: str, at: int) -> None:
        if len(self.flaws) < MAX_FLAWS:
            self.flaws.append(Flaw(path, code, message, hint, at))
