"""An installation for each database that bears to be broken: two workers that survive, and whoever is to die."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from engine import admission, catalog
from engine import operations as op
from engine.broker import Broker, make_app
from engine.canvas import segment
from engine.settings import Settings
from engine.snapshots import Reference
from tests import servers
from tests.builders import (
    BRISK,
    Client,
    Process,
    SinkProcess,
    celery_worker,
    environment,
    is_ready,
    prepared,
    wait_until,
)
from tests.chaos import checker
from tests.chaos.drafts import Case

LEASE = int(BRISK["LEASE"]) / 1000
BOUND = LEASE + 2
"""Seconds after a death within which everything it held has ended."""


class Site:
    """Broker, database, sink, workers, a client inside the test, and the judge. The data may be on a disk of their own."""

    def __init__(
        self,
        dialect: str,
        folder: Path,
        opened: ExitStack,
        broker: str = "valkey",
        survivors: int = 2,
        disk: Path | None = None,
        **more: str,
    ) -> None:
        self.opened = opened
        self.dialect = dialect
        self.folder = folder
        self.broker: servers.Server = servers.Valkey() if broker == "valkey" else servers.start_rabbitmq()
        opened.callback(self.broker.stop)
        url = None if disk is None else f"sqlite:///{disk / 'celeriac.db'}"
        if dialect == "postgresql":
            self.postgres = servers.Postgres(room=disk or Path("/tmp"))
            opened.callback(self.postgres.stop)
            url = opened.enter_context(self.postgres.database())
        self.around = environment(
            folder, self.broker.url, url, **{"CELERIAC_EGRESS_ALLOW": "127.0.0.1,localhost", **more}
        )
        self.settings: Settings = prepared(self.around)
        self.sink = SinkProcess(folder)
        opened.callback(self.sink.kill)
        self.workers = [self.worker(f"survivor-{index}") for index in range(survivors)]
        opened.callback(self._end_workers)
        self.client = Client(self.settings)
        opened.callback(self.client.close)
        self.cases: dict[str, Case] = {}
        self.names: dict[str, str] = {}
        for worker in self.workers:
            wait_until(lambda worker=worker: is_ready(worker), 40, "a worker")  # type: ignore[misc]

    @property
    def valkey(self) -> servers.Valkey:
        """The broker, for who flushes it."""
        assert isinstance(self.broker, servers.Valkey)
        return self.broker

    def _end_workers(self) -> None:
        for worker in self.workers:
            worker.end()

    def worker(self, name: str, queues: str = "default,cpu", **more: str) -> Process:
        return celery_worker({**self.around, **more}, self.folder / f"{name}.log", queues, name)

    def push(
        self, body: dict[str, Any], name: str, answers: dict[str, tuple[str, ...]] | None = None
    ) -> catalog.Active:
        """Save a definition, and remember what it means."""
        named = {**body, "name": name}
        named["definition"].setdefault("variables", {})
        self.cases[name] = Case(named, {}, answers or {})
        return self.client.push(named)

    def start(self, active: catalog.Active, payload: Any = None, key: str | None = None) -> str:
        execution = self.client.start(active, payload if payload is not None else {"k": 1, "s": "x"}, key)
        self.names[execution] = active.name
        return execution

    def accept_silently(self, active: catalog.Active, payload: Any = None, **more: Any) -> str:
        """Accept an execution and send nothing, as an API does that dies after its commit."""
        request = admission.Request(active, payload if payload is not None else {"k": 1, "s": "x"}, **more)
        wish = admission.operation(self.client.runtime, request)
        started: op.Started = self.client.runtime.ledger.ask(wish)
        return started.execution

    def send(self, references: Sequence[Reference], queue: str = "default") -> None:
        """Put references into a queue, a message each."""
        broker = Broker(make_app(self.settings))
        try:
            broker.publish([segment.of([each], queue) for each in references])
        finally:
            broker.close()

    def judge(self, executions: Sequence[str], ops: Sequence[checker.Op] = ()) -> list[checker.Violation]:
        """Hold these executions against the reference and the ledger of effects. Raises with a report."""
        chosen = set(executions)
        found = [each for each in checker.read(self.settings.database_url) if each.id in chosen]
        assert len(found) == len(chosen)
        effects = [each for each in self.sink.effects() if each.execution in chosen]
        known = {str(each.key) for each in found if each.key}
        said = [each for each in ops if each.key in known] or [
            checker.Op(str(each.key), "ok", each.id, 0) for each in found if each.key
        ]
        evidence = checker.Evidence(found, self.cases, effects, said)
        violations = checker.check(evidence)
        assert not violations, checker.report(violations, evidence, "none")
        return violations

    def applied(self, execution: str, node: str) -> int:
        """How often an effect was carried out."""
        return sum(
            each.applied for each in self.sink.effects() if (each.execution, each.node) == (execution, node)
        )

    def received(self, execution: str, node: str) -> int:
        return sum((each.execution, each.node) == (execution, node) for each in self.sink.effects())

    def call(self, name: str, script: str = "ok", delay: float = 0.0) -> dict[str, Any]:
        """A node with a keyed effect on the sink."""
        return {
            "id": name,
            "type": "http_request",
            "config": {
                "method": "POST",
                "url": f"{self.sink.url}/effect?node={name}&script={script}&delay={delay}",
                "idempotent": True,
                "body": {"execution": "{{ execution.id }}", "node": name, "value": "{{ k }}"},
            },
        }

    def accept_all(self, active: catalog.Active, count: int, prefix: str) -> list[str]:
        """Start many at once."""
        requests = [
            admission.Request(active, {"k": index, "s": "x"}, idempotency_key=f"{prefix}-{index}")
            for index in range(count)
        ]
        return [each.execution for each in self.client.start_all(requests)]

    def ended(self, executions: Sequence[str], seconds: float = 20.0) -> None:
        """Wait for the end of these executions."""
        deadline = time.monotonic() + seconds
        for each in executions:
            self.client.finished(each, max(0.1, deadline - time.monotonic()))

    def pause(self, seconds: float) -> None:
        """Let time pass in which something is to be under way."""
        self.client.do(asyncio.sleep(seconds))


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as opened:
        yield Site(request.param, tmp_path_factory.mktemp(f"site-{request.param}"), opened)
