"""`python3 dev.py bench [CASE...] [--stack sqlite|postgresql|all] [--runs N] [--json]`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType

from rich.console import Console

from bench import doors, figures, measure, table
from bench.cases import CASES, Case, UnknownCase, chosen
from bench.protocol import Failed
from bench.stacks import STACKS, Missing, running
from celeriac import Json
from tests.servers import NoServer

talk = Console(stderr=True)


def main(arguments: Sequence[str]) -> int:
    """Measure; return the exit code: 0 when every chosen case has figures, 1 when one was skipped or failed."""
    parser = argparse.ArgumentParser(
        prog="dev.py bench",
        description="Measure the stack beside the raw Celery canvas of the same DAG.",
        epilog="Cases: " + "; ".join(f"{each.name} ({each.title})" for each in CASES),
    )
    parser.add_argument("case", nargs="*", help="a case, or the beginning of several (W1); all without")
    parser.add_argument("--stack", choices=(*STACKS, "all"), default="all")
    parser.add_argument("--runs", type=int, default=3, help="how often each side runs; figures are medians")
    parser.add_argument("--json", action="store_true", help="one object a case and stack, a line each")
    given = parser.parse_args(arguments)
    try:
        cases = chosen(given.case)
    except UnknownCase as error:
        parser.error(str(error))
    if given.runs < 1:
        parser.error("--runs is at least 1.")
    if not sys.platform.startswith("linux"):
        parser.error("The cost of processes is read from /proc: the benchmark runs on Linux.")
    signal.signal(signal.SIGTERM, _as_interrupt)
    signal.signal(signal.SIGHUP, _as_interrupt)
    whole = True
    for stack in STACKS if given.stack == "all" else (given.stack,):
        try:
            whole &= _stack(stack, cases, given.runs, as_json=given.json)
        except NoServer as error:
            talk.print(f"{stack}: skipped, {error}", style="yellow")
            whole = False
    return 0 if whole else 1


def _stack(stack: str, cases: Sequence[Case], runs: int, *, as_json: bool) -> bool:
    """Measure cases on one stack, and print them; return whether each of them has a figure."""
    found: list[dict[str, Json]] = []

    def attempt(case: Case, work: Callable[[], dict[str, Json]]) -> None:
        talk.print(f"{stack} {case.name}: {case.title}", style="dim")
        try:
            body = work()
        except (Missing, Failed) as error:
            body = figures.skipped(case, stack, str(error))
            talk.print(f"{stack} {case.name}: skipped, {error}", style="yellow", soft_wrap=True)
        found.append(body)
        if as_json:
            print(json.dumps(body), flush=True)

    for case in cases:
        if case.way == "memory":
            attempt(case, partial(measure.weigh, case, stack, runs))
    cases = [each for each in cases if not each.stacks or stack in each.stacks]
    through = [each for each in cases if each.way == "door"]
    if through:
        with doors.opened(stack) as door:
            for case in through:
                attempt(case, partial(doors.measure, case, door, stack, runs))
    others = [each for each in cases if each.way not in ("memory", "door")]
    note = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    if others:
        with running(stack) as started:
            for case in others:
                attempt(case, partial(measure.measure, case, started, runs))
            note = f"{', '.join(started.servers.versions)}; {note}"
    if not as_json:
        Console(width=None if sys.stdout.isatty() else 170).print(table.table(stack, note, found))
    return all("skipped" not in each for each in found)


def _as_interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        talk.print("interrupted; everything that was started has been stopped", style="yellow")
        code = 130
    sys.exit(code)
