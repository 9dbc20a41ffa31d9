"""Markdown (CommonMark, with tables) as HTML. HTML in it stays text, and links lead to the web or to mail."""

from __future__ import annotations

from pydantic import BaseModel, Field

from celeriac import Context, Fail, Json, node
from celeriac.contract import PREVIOUS

MOST_BYTES = 1_000_000


class Config(BaseModel, extra="forbid"):
    """The text."""

    text: str = Field(
        "",
        description="The text. Left out, it is what the node before came to.",
        json_schema_extra={PREVIOUS: True},
    )
    images: bool = Field(
        default=False, description="Whether images are shown; they tell whoever has them that somebody looks."
    )


@node("markdown_html", output={"type": "string"})
def markdown_html(config: Config, _ctx: Context) -> Json:
    """Turn Markdown into HTML that is safe to show."""
    from markdown_it import MarkdownIt

    if len(config.text.encode()) > MOST_BYTES:
        raise Fail("conversion.too_large", f"The text has more than {MOST_BYTES:,} bytes.")
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    if not config.images:
        reader.disable("image")
    html: str = reader.render(config.text)
    return html
