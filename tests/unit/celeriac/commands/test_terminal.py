from __future__ import annotations

import io
import json

import pytest
import typer

from celeriac.client import Refused
from celeriac.commands import terminal
from engine.errors import Conflict, Invalid, Misconfigured


class Screen(io.StringIO):
    """A terminal that a person looks at."""

    def isatty(self) -> bool:
        return True


def test_colours_are_for_people_who_do_not_mind_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.paint("x", "failed", Screen()) == "\x1b[31mx\x1b[0m"
    assert terminal.paint("x", "failed", io.StringIO()) == "x"
    assert terminal.paint("x", "no such style", Screen()) == "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal.paint("x", "failed", Screen()) == "x"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert terminal.paint("x", "failed", Screen()) == "x"


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, "-"),
        (0, "0 ms"),
        (999, "999 ms"),
        (1000, "1.0 s"),
        (119_900, "119.9 s"),
        (120_000, "2 min 00 s"),
        (3_725_000, "1 h 02 min"),
    ],
)
def test_durations_are_said_as_people_say_them(milliseconds: int | None, text: str) -> None:
    assert terminal.lasting(milliseconds) == text


def test_a_table_lines_up_its_columns() -> None:
    assert terminal.table(["a", "long"], [["xyz", "1"], ["x", "22"]]) == "a    long\nxyz  1\nx    22"


def test_a_table_without_rows_is_its_head() -> None:
    assert terminal.table(["a", "b"], []) == "a  b"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("a.b", "no", status=422), 2),
        (Refused("a.b", "no", status=400), 2),
        (Refused("a.b", "no", status=404), 1),
        (Refused("a.b", "no"), 1),
        (Invalid("no"), 2),
        (Conflict("no"), 1),
        (Misconfigured("no"), 2),
    ],
)
def test_what_goes_wrong_becomes_an_exit_code_and_one_json_object(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as left, terminal.answering(True):
        raise error
    said = capsys.readouterr()
    assert left.value.exit_code == code
    assert json.loads(said.out)["error"]["message"] == "no"
    assert said.err.startswith("error: no (")


def test_without_json_nothing_of_an_error_is_data(capsys: pytest.CaptureFixture[str]) -> None:
    problem = {"message": "no such", "code": "x.y", "line": 3, "column": 5, "pointer": "/a", "hint": "do"}
    with pytest.raises(typer.Exit), terminal.answering(False):
        raise Refused("a.b", "no", hint="try", errors=[problem])
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "error: no (a.b)\n  try\n3:5: error: no such (x.y)\n  at /a\n  do\n"


def test_what_nobody_foresaw_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), terminal.answering(True):
        raise ZeroDivisionError


def test_an_interruption_exits_as_shells_expect() -> None:
    with pytest.raises(typer.Exit) as left, terminal.answering(False):
        raise KeyboardInterrupt
    assert left.value.exit_code == 130
