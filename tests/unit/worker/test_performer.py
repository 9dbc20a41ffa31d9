"""A worker's parts put together, performing for real on a SQLite file, without Celery's consumer."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.broker import make_app
from engine.settings import Timing
from tests.builders import document, edges, node
from tests.workbench import Workbench
from worker import performer as module
from worker.performer import Performer


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Workbench]:
    made = Workbench(tmp_path)
    yield made
    made.close()


async def test_a_worker_performs_what_a_message_refers_to_and_leaves_nothing_behind(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = dataclasses.replace(
        bench.settings, secret_key="WntK5rKulCecID+vmPQ/ldne2441FpIvwOnKrEb/+T0=", timing=Timing(canary=5)
    )
    monkeypatch.setattr(module, "settings", settings)
    before = {each.name for each in threading.enumerate()}
    performer = Performer(make_app(settings))
    await performer.begin()
    nodes = [node("a"), node("b", "set", {"values": {"x": "{{ k + 1 }}"}})]
    name = bench.start(bench.push(document(nodes, edges("a->b"))), {"k": 1})
    await asyncio.wait_for(performer.perform([(name, 0, "")]), 5)
    assert (bench.status(name), bench.output(name)) == ("succeeded", {"b": {"x": 2}})
    await performer.end(1)
    assert {each.name for each in threading.enumerate()} - before <= {"asyncio_0", "asyncio_1"}
