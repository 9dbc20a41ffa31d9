"""Server-Sent Events, read as their bytes come (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import codecs
import re

_END = re.compile(r"\r\n|\n|\r")


class Events:
    """Gathers bytes, and gives out the data of each event that has come to its end. What an event is called is left out.

    It keeps what has not ended; how large that may become is the business of whoever reads the bytes.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._rest = ""
        self._lines: list[str] = []

    def feed(self, data: bytes) -> list[str]:
        """Return the data of the events that these bytes end."""
        text = self._rest + self._decode(data)
        # A return at the very end may be the first half of a line's end.
        kept = len(text) - text.endswith("\r")
        *lines, last = _END.split(text[:kept])
        self._rest = last + text[kept:]
        found = []
        for line in lines:
            if line.startswith("data:"):
                self._lines.append(line[5:].removeprefix(" "))
            elif not line and self._lines:
                found.append("\n".join(self._lines))
                self._lines = []
        return found
