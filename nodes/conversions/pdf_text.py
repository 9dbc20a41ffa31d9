"""The text of a PDF, page by page. In a process of its own: files of strangers are costly, and may be worse."""

from __future__ import annotations

import io

from pydantic import BaseModel, Field, JsonValue

from celeriac import Context, Fail, Json, files, node
from celeriac.contract import PREVIOUS

MOST_PAGES = 2_000


class Config(BaseModel, extra="forbid"):
    """The file."""

    file: JsonValue = Field(
        None,
        description="The file, {base64}, as nodes hand it on. Left out, it is what the node before came to.",
        json_schema_extra={PREVIOUS: True},
    )
    pages: int = Field(200, description="How many pages at most.", ge=1, le=MOST_PAGES)
    password: str | None = Field(None, description="What opens it, if it is locked.")


OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["text", "pages", "count", "title"],
    "properties": {
        "text": {"type": "string", "description": "All of it, with a form feed between pages."},
        "pages": {"type": "array", "items": {"type": "string"}},
        "count": {"type": "integer", "description": "How many pages there are."},
        "title": {"type": ["string", "null"]},
    },
    "additionalProperties": False,
}


@node("pdf_text", process=True, queue="cpu", timeout=120.0, output=OUTPUT)
def pdf_text(config: Config, _ctx: Context) -> Json:
    """Return the text of a PDF."""
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    file = config.file
    if isinstance(file, dict) and isinstance(file.get("content"), dict):
        file = file["content"]  # as the nodes that fetch files return them
    if not (isinstance(file, dict) and isinstance(file.get("base64"), str)):
        raise Fail("file.invalid", "The file is no {base64}.")
    content, _ = files.content_of(file)
    try:
        reader = PdfReader(io.BytesIO(content), strict=False)
        if reader.is_encrypted and not reader.decrypt(config.password or ""):
            raise Fail("conversion.locked", "The file is locked, and the password does not open it.")
        count = len(reader.pages)
        pages = [
            reader.pages[number].extract_text().replace("\0", "")
            for number in range(min(count, config.pages))
        ]
        title = reader.metadata.title if reader.metadata else None
    except (PyPdfError, ValueError, KeyError, TypeError, RecursionError, AttributeError, IndexError) as error:
        raise Fail("conversion.invalid", f"The file is no PDF that can be read: {error}.") from error
    told: list[Json] = [*pages]
    return {"text": "\f".join(pages), "pages": told, "count": count, "title": title}
