"""Secrets that a person types or a file holds: never on the command line, which every user of the machine can read."""

from __future__ import annotations

import sys
from pathlib import Path

from celeriac.commands.terminal import refuse, say


def read(what: str, file: str | None, option: str, *, twice: bool = False) -> str:
    """Return a secret from a file, from stdin (`-`), or from a prompt; `twice` when a slip of the finger would stay hidden."""
    if file is not None:
        try:
            text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            refuse("file.unreadable", f"{file} cannot be read: {error}.", "Name a file that exists.")
        return text.strip()
    if not sys.stdin.isatty():
        hint = f"Read it from a file: {option} FILE, or from stdin: {option} -"
        refuse("usage.secret", "There is nobody to ask for the secret.", hint)
    import getpass

    say("It is not shown while you type, and never again afterwards.")
    typed = getpass.getpass(f"{what}: ", stream=sys.stderr)
    if twice and getpass.getpass("once more: ", stream=sys.stderr) != typed:
        refuse("usage.secret", "The two are not the same.", "Try again.")
    return typed
