"""Examples of requests and answers, for the API's own description.

They are taken down from a tour of the API, which a test repeats: what is shown is what comes back.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from celeriac import Json

FILE: Final = Path(__file__).with_name("examples.json")


@dataclass(frozen=True, slots=True)
class Example:
    """One operation: what is asked, and what is answered. Media types are those of JSON, unless they are told."""

    status: int
    answer: Json = None
    request: Json = None
    parameters: dict[str, str] | None = None
    type: str = "application/json"
    request_type: str = "application/json"


@functools.cache
def examples() -> dict[str, Example]:
    """Return one example an operation. Tokens, addresses and digests in them are shortened."""
    found: dict[str, dict[str, object]] = json.loads(FILE.read_text(encoding="utf-8"))
    return {operation: Example(**each) for operation, each in found.items()}  # type: ignore[arg-type]  # as it was written
