"""How a driver is told what to do: a line of JSON in, a line of JSON out. It ends when its input does.

A driver is a process of its own so that what submitting costs is counted apart, and so that neither side's threads, nor
its settings of the garbage collector, touch the other's figures.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 90.0
"""Seconds after which a run counts as stuck: no case takes half of it."""

_PR_SET_PDEATHSIG = 1

Order = dict[str, Any]
Report = dict[str, Any]


class Failed(Exception):
    """A driver could not do what it was told."""


class Driver:
    """A driver process, seen from outside."""

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        self.module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            cwd=ROOT,
            start_new_session=True,  # a Ctrl-C in the terminal is for us, who then end it
        )
        self._orders = cast("IO[bytes]", self._process.stdin)
        self._reports = cast("IO[bytes]", self._process.stdout)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def ask(self, **order: Any) -> Report:
        """Have it do something. Raises `Failed` with what went wrong, or when it takes too long."""
        with suppress(BrokenPipeError):
            self._orders.write(json.dumps(order).encode() + b"\n")
            self._orders.flush()
        readable, _, _ = select.select([self._reports], [], [], PATIENCE)
        line = self._reports.readline() if readable else b""
        if not line:
            why = "has ended" if readable else f"has not answered within {PATIENCE:g} s"
            message = f"{self.module} {why}; it was told {order}."
            raise Failed(message)
        report: Report = json.loads(line)
        if "error" in report:
            message = f"{self.module}: {report['error']}"
            raise Failed(message)
        return report

    def close(self) -> None:
        """End it."""
        with suppress(BrokenPipeError):
            self._orders.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reports.close()


def serve(handle: Callable[[Order], Report]) -> None:
    """Be a driver: hand over each order, and answer with the report or with the error that befell it."""
    # The input's end is not seen in the middle of a run: the kernel ends a driver whose parent was killed.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Whatever a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            report = handle(json.loads(line))
        except Exception as error:  # noqa: BLE001  whoever asked has to be told of any
            report = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(report) + "\n")
        answers.flush()
