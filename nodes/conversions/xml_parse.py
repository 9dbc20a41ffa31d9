"""XML as JSON. A document type, which could name files and grow without bound, is refused."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.parsers import expat

from pydantic import BaseModel, Field

from celeriac import Context, Fail, Json, node
from celeriac.contract import PREVIOUS

MOST_BYTES = 5_000_000
DEEPEST = 50


class Config(BaseModel, extra="forbid"):
    """The document, and how it is written as JSON."""

    text: str = Field(
        "",
        description="The document. Left out, it is what the node before came to.",
        json_schema_extra={PREVIOUS: True},
    )
    lists: list[str] = Field(
        [],
        description="Elements that are lists even where there is one alone, so that the shape is always the same.",
    )
    namespaces: bool = Field(default=False, description="Whether names keep their namespace, like {uri}name.")


OUTPUT: dict[str, Json] = {
    "type": "object",
    "description": "One member, the root: attributes are @name, text beside them is #text, and what is there twice is a list.",
}


@node("xml_parse", output=OUTPUT)
def xml_parse(config: Config, _ctx: Context) -> Json:
    """Turn an XML document into JSON."""
    try:
        root = element_of(config.text)
    except ParseError as error:
        raise Fail("conversion.invalid", f"The text is no XML: {error}.") from error
    return {_name(root.tag, config): _value(root, config)}


def element_of(text: str) -> Element:
    """Return the root of a document. Raises `ParseError`, and `Fail` (`conversion.invalid`) for one that is not read."""
    content = text.encode()
    if len(content) > MOST_BYTES:
        raise Fail(
            "conversion.too_large", f"The document has {len(content):,} bytes; the limit is {MOST_BYTES:,}."
        )
    builder, depth = TreeBuilder(), 0

    def begin(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEEPEST:
            raise Fail("conversion.invalid", f"Elements are nested more than {DEEPEST} deep.")
        builder.start(_braced(tag), {_braced(name): each for name, each in attributes.items()})

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_braced(tag))

    def doctype(*_: object) -> None:
        raise Fail("conversion.invalid", "The document has a DOCTYPE, which is not read.")

    parser: Any = expat.ParserCreate("utf-8", "}")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise ParseError(str(error)) from error
    return builder.close()


def _braced(name: str) -> str:
    return f"{{{name}" if "}" in name else name


def _name(tag: str, config: Config) -> str:
    return tag if config.namespaces else tag.rpartition("}")[2]


def _value(element: Element, config: Config) -> Json:
    found: dict[str, Json] = {f"@{_name(name, config)}": each for name, each in element.attrib.items()}
    for child in element:
        name, value = _name(child.tag, config), _value(child, config)
        known = found.get(name)
        if isinstance(known, list):
            known.append(value)
        elif name in found or name in config.lists:
            found[name] = [value] if name not in found else [known, value]
        else:
            found[name] = value
    text = (element.text or "").strip()
    if not found:
        return text or None
    if text:
        found["#text"] = text
    return found
