from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = ("celeriac", "engine", "nodes", "api", "worker", "bench", "examples", "tests")
ROOMS = PROGRAMS[:5]

DRAWERS = {
    "utils",
    "util",
    "common",
    "helpers",
    "helper",
    "manager",
    "managers",
    "misc",
    "shared",
    "base",
    "lib",
}


def files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_there_are_no_drawers() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in files(*PROGRAMS)
        if DRAWERS & {part.lower() for part in (*path.relative_to(ROOT).parent.parts, path.stem)}
    ]
    assert found == []


def test_every_file_says_first_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in files(*ROOMS)
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_nothing_is_left_for_later_in_the_code() -> None:
    marks = re.compile(r"#.*\b(TODO|FIXME|XXX|HACK)\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files(*ROOMS)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if marks.search(line)
    ]
    assert found == []


def test_only_the_pen_writes_rows_of_executions() -> None:
    """Retention deletes what has ended, and the schema makes the tables; nobody else may name these rows in a write."""
    write = re.compile(
        r"\b(INSERT INTO|UPDATE|DELETE FROM) "
        r"(execution|segment|journal|event|signal|subscription|event_log|approval|approval_vote)\b"
    )
    allowed = {
        "engine/store/holds.py",
        "engine/store/signals.py",
        "engine/store/statements.py",
        "engine/retention.py",
    }
    found = {
        str(path.relative_to(ROOT))
        for path in files(*ROOMS)
        if "migrations" not in path.parts and write.search(path.read_text(encoding="utf-8"))
    }
    assert found - allowed == set()
    importers = {
        str(path.relative_to(ROOT))
        for path in files(*ROOMS)
        if re.search(
            r"\bsql\.(INSERT|UPDATE|CLAIM|SETTLE|SUSPEND|CALL|RETURN|FORSAKE|DOUBT|RELEASE|LOSE|WAKE|RESEND|WRITE)",
            path.read_text(),
        )
    }
    assert importers
    assert all(each.startswith("engine/transitions/") for each in importers)
