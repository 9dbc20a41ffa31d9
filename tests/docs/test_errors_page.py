"""The page of error codes against the source of every room: each code has a line, and each line a code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("celeriac", "engine", "api", "worker", "nodes")
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
ROWS = [row.split(" | ") for row in re.findall(r"^\| (`.*) \|$", PAGE, re.MULTILINE)]
CODES = [row[0].strip("`") for row in ROWS]

CODE = re.compile(r"[a-z][a-z_]*\.[a-z][a-z0-9_]*[a-z0-9]")
FILES = {
    "api.md",
    "api.token",
    "ca.pem",
    "celeriac.db",
    "examples.json",
    "log_triage.json",
    "model.safetensors",
    "secret.key",
    "site.log",
    "tables.sql",
    "tokenizer.json",
    "up.json",
    "up.lock",
    "valkey.sock",
}
NAMES = {
    "api.server",
    "celeriac.flight",
    "celeriac.join",
    "celeriac.nodes",
    "celeriac.perform",
    "celeriac.said",
    "celeriac.segment",
    "r.status",
    "trigger.payload",
    "w.created_at",
    "w.enabled",
    "w.id",
    "w.name",
    "w.updated_at",
    "websocket.close",
    "websocket.disconnect",
    "worker.child",
    "worker.model_child",
}
"""Modules, tasks, and what else has a name with a dot."""
EVENTS = {
    "execution.cancel_forced",
    "execution.cancel_requested",
    "execution.created",
    "execution.ending",
    "execution.failed",
    "execution.paused",
    "execution.resumed",
    "execution.succeeded",
    "node.called",
    "node.compensation_failed",
    "node.failed",
    "node.items_changed",
    "node.kept",
    "node.log",
    "node.opened",
    "node.paid",
    "node.pinned",
    "node.responded",
    "node.retrying",
    "node.saying",
    "node.skipped",
    "node.started",
    "node.succeeded",
    "node.uncertain",
    "node.waiting",
    "segment.claimed",
    "segment.limited",
    "segment.lost",
    "segment.ready",
    "segment.released",
    "segment.resolved",
    "segment.signalled",
    "step.succeeded",
    "webhook.test",
    "workflow.executed",
}
NO_CODES = FILES | NAMES | EVENTS


def is_failpoint(part: ast.AST) -> bool:
    return isinstance(part, ast.Call) and ast.unparse(part.func).rpartition(".")[2] in (
        "failpoint",
        "crossing",
    )


def texts(tree: ast.AST) -> Iterator[str]:
    """Every text of a file, but for the names of failpoints and crossings."""
    for part in ast.iter_child_nodes(tree):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value
        if not is_failpoint(part):
            yield from texts(part)


def dotted_in_the_source() -> set[str]:
    files = [file for room in ROOMS for file in (ROOT / room).rglob("*.py")]
    found = (text for file in files for text in texts(ast.parse(file.read_text(encoding="utf-8"))))
    return {text for text in found if CODE.fullmatch(text)}


def test_every_code_of_the_source_has_a_line_on_the_page_and_every_line_is_a_code() -> None:
    assert sorted(CODES) == sorted(dotted_in_the_source() - NO_CODES)


def test_what_is_taken_for_no_code_is_still_there() -> None:
    assert dotted_in_the_source() & NO_CODES == NO_CODES


def test_the_lines_of_each_table_are_in_order_and_leave_nothing_out() -> None:
    for table in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE):
        head, _, *rows = table.splitlines()
        width = len(re.split(r"(?<!\\)\|", head))
        assert rows == sorted(rows, key=lambda row: row.split("`")[1])
        assert [row for row in rows if len(re.split(r"(?<!\\)\|", row)) != width] == []
