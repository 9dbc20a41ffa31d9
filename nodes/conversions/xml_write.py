"""JSON as XML, in the form in which `xml_parse` reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from pydantic import BaseModel, Field, JsonValue

from celeriac import Context, Fail, Json, node
from celeriac.contract import PREVIOUS

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*(?::[A-Za-z_][A-Za-z0-9_.-]*)?")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class Config(BaseModel, extra="forbid"):
    """What to write."""

    value: JsonValue = Field(
        None,
        description="An object with one member, the root: attributes as @name, text as #text, lists for what is repeated. Left "
        "out, it is what the node before came to.",
        json_schema_extra={PREVIOUS: True},
    )
    indent: bool = Field(default=False, description="Whether each element gets a line of its own.")


@node("xml_write", output={"type": "string"})
def xml_write(config: Config, _ctx: Context) -> Json:
    """Turn JSON into an XML document."""
    if not isinstance(config.value, dict) or len(config.value) != 1:
        raise Fail("conversion.invalid", "A document is an object with one member, its root.")
    ((name, value),) = config.value.items()
    if isinstance(value, list):
        raise Fail("conversion.invalid", "A document has one root.")
    end = "\n" if config.indent else ""
    body = end.join(_lines(name, value, "  " if config.indent else "", 0))
    return f'<?xml version="1.0" encoding="UTF-8"?>{end}{body}'


def _lines(name: str, value: Json, indent: str, depth: int) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        raise Fail("conversion.invalid", f"{name!r} cannot be the name of an element.")
    before = indent * depth
    if isinstance(value, list):
        for each in value:
            yield from _lines(name, each, indent, depth)
        return
    if not isinstance(value, dict):
        text = _text(value)
        yield f"{before}<{name}>{escape(text)}</{name}>" if text else f"{before}<{name}/>"
        return
    attributes = "".join(
        f" {_attribute(key)}={quoteattr(_text(each))}" for key, each in value.items() if key.startswith("@")
    )
    text = escape(_text(value.get("#text")))
    children = [
        line
        for key, each in value.items()
        if not key.startswith(("@", "#"))
        for line in _lines(key, each, indent, depth + 1)
    ]
    if not children:
        yield f"{before}<{name}{attributes}>{text}</{name}>" if text else f"{before}<{name}{attributes}/>"
        return
    yield f"{before}<{name}{attributes}>{text}"
    yield from children
    yield f"{before}</{name}>"


def _attribute(key: str) -> str:
    if not _NAME.fullmatch(key[1:]):
        raise Fail("conversion.invalid", f"{key!r} cannot be the name of an attribute.")
    return key[1:]


def _text(value: Json) -> str:
    if isinstance(value, (dict, list)):
        raise Fail("conversion.invalid", "An attribute or a text holds an object or a list.")
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    if _FORBIDDEN.search(text):
        raise Fail("conversion.invalid", "A text holds a character that XML has no place for.")
    return text
