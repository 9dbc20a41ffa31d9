"""Files as nodes hand them on: text, `{base64, media_type, size}`, or JSON."""

from __future__ import annotations

import base64
import binascii
import json

from celeriac.outcomes import Fail, Json


def content_of(file: Json) -> tuple[bytes, str]:
    """Return the bytes of a file and its media type. Raises `Fail` (`file.invalid`)."""
    if isinstance(file, str):
        return file.encode(), "text/plain; charset=utf-8"
    if isinstance(file, dict) and isinstance(file.get("base64"), str):
        try:
            content = base64.b64decode(str(file["base64"]), validate=True)
        except binascii.Error as error:
            raise Fail("file.invalid", "What is to be base64 is none.") from error
        media_type = str(file.get("media_type") or "application/octet-stream")
        if not (media_type.isascii() and media_type.isprintable()):
            raise Fail("file.invalid", f"{media_type!r} is no media type.")
        return content, media_type
    return json.dumps(file, ensure_ascii=False, allow_nan=False).encode(), "application/json"


def file_of(content: bytes, media_type: str | None) -> dict[str, Json]:
    """Return bytes in the form in which nodes hand them on."""
    return {"base64": base64.b64encode(content).decode(), "media_type": media_type, "size": len(content)}
