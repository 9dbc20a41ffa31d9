"""What is given to a workflow: JSON on the command line, in a file (`@file`), or on stdin (`@-`)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from celeriac.commands.terminal import refuse
from celeriac.outcomes import Json

Input = Annotated[
    str | None,
    typer.Option("--input", "-i", metavar="JSON|@FILE", help="The input; @FILE reads a file, @- stdin."),
]


def read(text: str | None, what: str = "--input") -> Json:
    """Return the value an option means; nothing is an empty object. Raises `Refused`."""
    if text is None:
        return {}
    source = text
    if text.startswith("@"):
        try:
            source = sys.stdin.read() if text == "@-" else Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            refuse("file.unreadable", f"{text[1:]} cannot be read: {error}.", "Name a file that exists.")
    try:
        value: Json = json.loads(source, parse_constant=_none)
    except (ValueError, RecursionError) as error:
        hint = f'Quote it for the shell: {what} \'{{"name": "Ada"}}\', or read a file: {what} @input.json'
        refuse("input.invalid_json", f"{what} is not JSON: {error}.", hint)
    return value


def secret(file: str) -> str:
    """Return what stands in a file, or on stdin (`-`). Raises `Refused`."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        refuse("file.unreadable", f"{file} cannot be read: {error}.", "Name a file that exists.")
    return text.strip()


def _none(constant: str) -> Any:
    message = f"{constant} is no number of JSON"
    raise ValueError(message)
