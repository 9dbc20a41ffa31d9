"""The core and its faults with RabbitMQ as the broker. Without RabbitMQ on the machine the run says that it did not test this."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection

from engine import admission
from tests.builders import (
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
from tests.chaos.dags import Case, Taste, draw
from tests.servers import RabbitMQ

pytestmark = [
    pytest.mark.timeout(180),
    # py-amqp leaves its socket to the garbage collector when a broker hangs up during the handshake.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


@dataclass
class Stack:
    """Two workers, one client, RabbitMQ, SQLite and a sink."""

    client: Client
    workers: list[Process]
    sink: SinkProcess
    database: str
    around: dict[str, str]
    folder: Path


@pytest.fixture
def stack(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Stack]:
    around = environment(tmp_path, rabbitmq.url)
    with ExitStack() as opened:
        settings = prepared(around)
        sink = SinkProcess(tmp_path)
        opened.callback(sink.kill)
        workers = [celery_worker(around, tmp_path / f"worker-{index}.log") for index in range(2)]
        opened.callback(lambda: end(workers))
        client = Client(settings)
        opened.callback(client.close)
        for each in workers:
            wait_until(lambda each=each: is_ready(each), 30, "a worker")  # type: ignore[misc]
        yield Stack(client, workers, sink, settings.database_url, around, tmp_path)
    gc.collect()


def end(workers: list[Process]) -> None:
    for each in workers:
        each.kill()


def accepted(stack: Stack, count: int, seed: int) -> tuple[dict[str, Case], list[checker.Op]]:
    rng = random.Random(seed)
    taste = Taste(sink=stack.sink.url, nodes=12, waits=0.3, delay=0.05)
    cases = {f"case-{seed}-{index}": draw(rng, taste, f"case-{seed}-{index}") for index in range(count)}
    requests = [
        admission.Request(
            stack.client.push(case.document), {**case.payload, "k": index}, idempotency_key=f"{seed}-{index}"
        )
        for index, case in enumerate(cases.values())
    ]
    answers = stack.client.start_all(requests)
    return cases, [
        checker.Op(f"{seed}-{index}", "ok", each.execution, 0) for index, each in enumerate(answers)
    ]


def purge(url: str) -> int:
    with Connection(url) as connection:
        channel: Any = connection.default_channel
        return sum(channel.queue_purge(queue) or 0 for queue in ("default", "cpu"))


def test_the_core_keeps_its_promises_while_messages_vanish_and_a_worker_dies(
    stack: Stack, rabbitmq: RabbitMQ
) -> None:
    cases, ops = accepted(stack, 40, 1)
    purge(rabbitmq.url)
    stack.workers[0].kill()
    stack.workers[0] = celery_worker(stack.around, stack.folder / "worker-again.log")
    stack.client.all_finished(60)
    evidence = checker.Evidence(checker.read(stack.database), cases, stack.sink.effects(), ops)
    violations = checker.check(evidence)
    assert not violations, checker.report(violations, evidence, 1)


def test_work_accepted_while_the_broker_is_down_is_done_when_it_is_back(
    stack: Stack, rabbitmq: RabbitMQ
) -> None:
    rabbitmq.kill()
    cases, ops = accepted(stack, 10, 2)
    rabbitmq.restart()
    stack.client.all_finished(60)
    evidence = checker.Evidence(checker.read(stack.database), cases, stack.sink.effects(), ops)
    violations = checker.check(evidence)
    assert not violations, checker.report(violations, evidence, 2)
    assert all(each.code is None for each in stack.workers)
