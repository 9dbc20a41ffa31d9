"""Tell at the end how many of the patterns hold."""

from __future__ import annotations

import re

import pytest

from tests.patterns.pattern import NAMES

_LABEL = re.compile(r"tests/patterns/test_\w+\.py::.*\[WCP-(\d+)\]")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A pattern holds when all of its tests in this run have passed; one without tests in it is missing."""
    verdicts: dict[str, set[int]] = {}
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, ()):
            found = _LABEL.search(report.nodeid)
            if found is not None:
                verdicts.setdefault(outcome, set()).add(int(found[1]))
    if not verdicts:
        return
    held = verdicts.get("passed", set()) - verdicts.get("failed", set()) - verdicts.get("error", set())
    terminalreporter.write_line(f"workflow patterns: {len(held)}/{len(NAMES)}")
    for number, name in NAMES.items():
        if number not in held:
            terminalreporter.write_line(f"  missing: WCP-{number} {name}")
