"""All patterns at once on real workers, of which one is killed meanwhile: both databases, a real broker, real time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from engine import operations as op
from engine.cutting import build
from engine.definition import Workflow
from tests.builders import Client, Process, celery_worker, environment, is_ready, prepared, wait_until
from tests.patterns.pattern import PATTERNS, Case, Deed, Pattern
from tests.patterns.trace import History, Mark, ended, read_by_time
from tests.servers import Postgres, Valkey

pytestmark = pytest.mark.timeout(180)

ROUNDS = 3
"""How often each case is started."""


@dataclass(frozen=True)
class Stack:
    """Two workers, a client, a broker and a database."""

    client: Client
    workers: list[Process]

    def marks(self, execution: str) -> list[Mark]:
        """What has begun and ended in an execution so far."""
        return self.client.runtime.reader.ask(lambda connection: read_by_time(connection, execution))

    def history(self, execution: str) -> History:
        """What became of an execution that has ended."""
        marks = self.marks(execution)
        return self.client.runtime.reader.ask(lambda connection: ended(connection, execution, marks))

    def is_due(self, execution: str, pattern: Pattern, deed: Deed) -> bool:
        """Whether a task has ended, or somebody has taken the segment it stands in."""
        kind, node = deed.after
        if kind == "end":
            return any((each.kind, each.node) == deed.after for each in self.marks(execution))
        plan = build(Workflow.parse(pattern.document), self.client.runtime.registry)
        claimed = "SELECT 1 FROM segment WHERE execution_id = ? AND segment = ? AND epoch > 0"
        return bool(self.client.query(claimed, execution, plan.segment_of[node]))

    def do(self, execution: str, word: str) -> None:
        """Do what a driver does."""
        if word != "cancel":
            message = f"the driver cannot {word}"
            raise ValueError(message)
        at = self.client.runtime
        at.ledger.ask(op.Cancel(execution, at.clock.now(), "no longer needed"))


@pytest.fixture(params=["sqlite", "postgresql"])
def stack(request: pytest.FixtureRequest, valkey: Valkey, tmp_path: Path) -> Iterator[Stack]:
    valkey.flush()
    with ExitStack() as opened:
        url = None
        if request.param == "postgresql":
            server: Postgres = request.getfixturevalue("postgres")
            url = opened.enter_context(server.database())
        around = environment(tmp_path, valkey.url, url)
        settings = prepared(around)
        workers = []
        for name in ("first", "second"):
            worker = celery_worker(around, tmp_path / f"{name}.log", name=name)
            opened.callback(worker.kill)
            workers.append(worker)
        client = Client(settings)
        opened.callback(client.close)
        for each in workers:
            wait_until(partial(is_ready, each), 30, "the workers")
        yield Stack(client, workers)


def test_every_pattern_comes_to_a_trace_it_allows(stack: Stack) -> None:
    started: dict[str, tuple[Pattern, Case]] = {}
    for pattern in PATTERNS:
        active = stack.client.push(pattern.document)
        for case in [*pattern.cases] * ROUNDS:
            started[stack.client.start(active, case.input)] = (pattern, case)
    deeds = [(name, pattern, deed) for name, (pattern, case) in started.items() for deed in case.meanwhile]
    stack.workers[0].kill()
    for name, pattern, deed in deeds:
        wait_until(partial(stack.is_due, name, pattern, deed), 30, f"{deed} of {pattern.label}")
        stack.do(name, deed.word)
    stack.client.all_finished(90)
    found = [
        f"{pattern.label} on {case.input}: {text}"
        for name, (pattern, case) in started.items()
        for text in case.complaints(stack.history(name), pattern.tasks)
    ]
    assert found == []
