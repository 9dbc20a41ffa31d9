"""How commands talk: data to stdout, talk to stderr, one JSON object with `--json`, and exit codes that mean something."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, NoReturn, TextIO

import typer

SUCCEEDED, FAILED, REFUSED = 0, 1, 2
"""Exit codes: done; it failed; a bad definition, a bad input, or a wrong use of the command."""

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value, for programs.")]
Url = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="The API to talk to, instead of the installation on this machine."
    ),
]

_ANSWER_SHOWN = 200
"""The characters of an answer's body that are shown."""

_LOOK = "celeriac doctor looks for what is missing."

_COLOURS = {
    "succeeded": "32",
    "done": "32",
    "ok": "32",
    "failed": "31",
    "timed_out": "31",
    "quarantined": "31",
    "error": "31",
    "running": "36",
    "ready": "36",
    "waiting": "33",
    "backing_off": "33",
    "uncertain": "33",
    "warning": "33",
    "continued": "33",
    "kept": "32",
    "pinned": "36",
    "again": "33",
    "changed": "33",
    "added": "36",
    "removed": "2",
    "cancelled": "2",
    "skipped": "2",
    "not_reached": "2",
    "pending": "2",
    "dim": "2",
    "bold": "1",
}


def is_live(stream: TextIO) -> bool:
    """Whether a person looks at the stream."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """Return text in the colour of a status or a style, where a person looks and does not mind colours."""
    stream = stream or sys.stdout
    colour = _COLOURS.get(style)
    if colour is None or not is_live(stream) or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{colour}m{text}\x1b[0m"


def say(text: str) -> None:
    """Talk."""
    print(text, file=sys.stderr, flush=True)


def show(data: Any, as_json: bool, human: Callable[[], str]) -> None:
    """Print data: as JSON, or as `human` writes it."""
    print(json.dumps(data, indent=2, ensure_ascii=False) if as_json else human(), flush=True)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, status: int | None = None) -> str:
    """Return rows in columns. The column `status` is painted by its text."""
    widths = [max(len(cell) for cell in column) for column in zip(headers, *rows, strict=True)]
    lines = [
        paint(
            "  ".join(f"{name:<{width}}" for name, width in zip(headers, widths, strict=True)).rstrip(), "dim"
        )
    ]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        if status is not None:
            cells[status] = paint(cells[status], row[status])
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def when(milliseconds: int | None) -> str:
    """Return a time as the clock on the wall shows it."""
    if milliseconds is None:
        return "-"
    return datetime.fromtimestamp(milliseconds / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def lasting(milliseconds: float | None) -> str:
    """Return a duration as a person says it."""
    if milliseconds is None:
        return "-"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


def answered(answer: dict[str, Any]) -> str:
    """Return what an execution answered, in a line."""
    text = json.dumps(answer["body"], ensure_ascii=False)
    return (
        f"answered {answer['status']}: {text if len(text) <= _ANSWER_SHOWN else f'{text[:_ANSWER_SHOWN]}...'}"
    )


def error_text(error: dict[str, Any]) -> str:
    """Return an error `{code, message, hint?}` as two lines: what is wrong, and what to do."""
    text = f"{paint('error', 'error', sys.stderr)}: {error['message']} ({error['code']})"
    return f"{text}\n  {error['hint']}" if error.get("hint") else text


def refuse(code: str, message: str, hint: str | None = None) -> NoReturn:
    """End the command: it was used wrongly."""
    from celeriac.client import Refused

    raise Refused(code, message, hint=hint, status=400)


@contextmanager
def answering(as_json: bool) -> Iterator[None]:
    """Turn what goes wrong inside into an error for people or programs, and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(130) from None
    except BrokenPipeError:
        # Whoever read the output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(FAILED) from None
    except Exception as error:
        known = _known(error)
        if known is None:
            raise
        body, exit_code = known
        if as_json:
            print(json.dumps({"error": body}, indent=2, ensure_ascii=False))
        say(error_text(body))
        for each in body.get("errors", ()):
            say(problem_text(each))
        raise typer.Exit(exit_code) from None


def problem_text(problem: dict[str, Any], file: str = "") -> str:
    """Return one mistake: its place, what is wrong, and what to do."""
    file = problem.get("file", file)
    place = ":".join(str(each) for each in (file, problem.get("line"), problem.get("column")) if each)
    where = f"{place}: " if place else ""
    severity = problem.get("severity", "error")
    pointer = problem.get("pointer")
    lines = [
        f"{where}{paint(severity, severity, sys.stderr)}: {problem['message']} ({problem.get('code', 'invalid')})"
    ]
    if pointer:
        lines.append(f"  at {pointer}")
    if problem.get("hint"):
        lines.append(f"  {problem['hint']}")
    return "\n".join(lines)


def _known(error: Exception) -> tuple[dict[str, Any], int] | None:
    """Return an error that has a code, and the exit code for it."""
    from celeriac.client import Refused
    from engine.errors import CeleriacError, Invalid

    if isinstance(error, Refused):
        return error.to_json(), REFUSED if error.status in (400, 413, 415, 422) else FAILED
    if isinstance(error, (OSError, sqlite3.Error)):
        return {"code": "system.refused", "message": str(error), "hint": _LOOK}, FAILED
    driver = sys.modules.get("psycopg")
    if driver is not None and isinstance(error, driver.Error):
        message = f"The database does not answer: {str(error).strip()}"
        return {"code": "service.unavailable", "message": message, "hint": _LOOK}, FAILED
    if isinstance(error, CeleriacError):
        usage = isinstance(error, Invalid) or error.code == "settings.invalid"
        return error.to_json(), REFUSED if usage else FAILED
    return None
