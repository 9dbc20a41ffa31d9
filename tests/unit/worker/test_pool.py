"""The pool with a performer that does as it is told: what Celery hands in, and what it hears back."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from engine.snapshots import Reference
from worker import pool as module
from worker.pool import AsyncPool, Job


class Performer:
    """Performs by keeping what it is handed. `hold` keeps it from ending, `error` makes it fail."""

    made: Performer

    def __init__(self, app: object) -> None:
        Performer.made = self
        self.app = app
        self.performed: list[Sequence[Reference]] = []
        self.begun = threading.Event()
        self.go_on = asyncio.Event()
        self.hold = False
        self.error: Exception | None = None
        self.cancelled = threading.Event()
        self.patience: list[float] = []

    async def begin(self) -> None:
        self.started_in = threading.current_thread().name

    async def perform(self, references: Sequence[Reference]) -> None:
        self.performed.append(references)
        self.begun.set()
        if self.error is not None:
            raise self.error
        if self.hold:
            try:
                await self.go_on.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise

    async def end(self, patience: float) -> None:
        self.patience.append(patience)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[AsyncPool]:
    monkeypatch.setattr(module, "Performer", Performer)
    for costly in ("collect", "freeze"):  # the objects of a whole suite are no worker's
        monkeypatch.setattr(gc, costly, lambda: None)
    thresholds = gc.get_threshold()
    made = AsyncPool(1, app=object())
    made.on_start()
    yield made
    made.on_stop()
    gc.set_threshold(*thresholds)
    assert not made._thread.is_alive()


class Told:
    """What Celery hears of one message."""

    def __init__(self) -> None:
        self.accepted: list[int] = []
        self.done: list[Any] = []
        self.event = threading.Event()

    def accept(self, pid: int, time: float) -> None:
        self.accepted.append(pid)

    def callback(self, told: Any) -> None:
        self.done.append(told)
        self.event.set()

    def wait(self) -> None:
        assert self.event.wait(5)


def apply(pool: AsyncPool, body: Any, told: Told, content_type: str = "application/json") -> Job:
    """Hand in a message as Celery's consumer does."""
    arguments: tuple[Any, ...] = ("celeriac.perform", "id", {}, body, content_type, "utf-8")
    return pool.on_apply(lambda: None, arguments, {}, told.accept, told.callback, soft_timeout=None)


MESSAGE = json.dumps([[[["exec_1", 0, ""], ["exec_2", 1, "3"]]], {}, {}])


@pytest.mark.parametrize(
    "body", [MESSAGE, MESSAGE.encode(), json.loads(MESSAGE)], ids=["text", "bytes", "read"]
)
def test_a_message_is_performed_in_the_thread_of_the_loop_and_its_end_is_told(
    pool: AsyncPool, body: Any
) -> None:
    told = Told()
    apply(pool, body, told)
    told.wait()
    assert Performer.made.performed == [[("exec_1", 0, ""), ("exec_2", 1, "3")]]
    assert Performer.made.started_in == "performer"
    assert (len(told.accepted), told.done) == (1, [(0, None, 0.0)])
    assert pool._jobs == set()


def test_who_asks_for_no_word_gets_none(pool: AsyncPool) -> None:
    pool.on_apply(lambda: None, ("t", "id", {}, MESSAGE, "application/json", "utf-8"), {})
    assert Performer.made.begun.wait(5)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('{"a": 1}', "application/json"),
        ("[]", "application/json"),
        ("[[1], {}, {}]", "application/json"),
        ("7", "application/json"),
        (b"\x80\x04N.", "application/x-python-serialize"),
        ("no json", "application/json"),
    ],
)
def test_a_message_that_is_none_of_ours_is_dropped_and_its_end_is_told(
    pool: AsyncPool, body: Any, content_type: str, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    apply(pool, body, told, content_type)
    told.wait()
    assert Performer.made.performed == []
    assert "A message was dropped" in caplog.text


def test_a_failure_inside_the_engine_is_logged_and_the_end_is_told(
    pool: AsyncPool, caplog: pytest.LogCaptureFixture
) -> None:
    Performer.made.error = ValueError("a surprise")
    told = Told()
    apply(pool, MESSAGE, told)
    told.wait()
    assert told.done == [(0, None, 0.0)]
    assert "a surprise" in caplog.text


def test_the_end_is_told_in_celerys_own_loop_when_there_is_one(pool: AsyncPool) -> None:
    class Hub:
        def __init__(self) -> None:
            self.called: list[Any] = []
            self.event = threading.Event()

        def call_soon(self, callback: Callable[..., Any], *arguments: Any) -> None:
            self.called.append((callback, arguments))
            self.event.set()

    hub, told = Hub(), Told()
    pool.register_with_event_loop(hub)
    apply(pool, MESSAGE, told)
    assert hub.event.wait(5)
    assert hub.called == [(told.callback, ((0, None, 0.0),))]
    assert told.done == []


def test_a_revoked_message_is_cancelled_and_its_end_is_told(pool: AsyncPool) -> None:
    Performer.made.hold = True
    told = Told()
    job = apply(pool, MESSAGE, told)
    assert Performer.made.begun.wait(5)
    job.terminate("TERM")
    told.wait()
    assert Performer.made.cancelled.is_set()


def test_a_message_that_has_not_begun_cannot_be_cancelled(pool: AsyncPool) -> None:
    Job(pool).terminate()


def test_what_is_at_work_is_shown_to_operators(pool: AsyncPool) -> None:
    Performer.made.hold = True
    apply(pool, MESSAGE, Told())
    assert Performer.made.begun.wait(5)
    assert pool._get_info()["messages"] == 1
    pool._loop.call_soon_threadsafe(Performer.made.go_on.set)


def test_no_process_is_killed_for_a_pid(pool: AsyncPool, caplog: pytest.LogCaptureFixture) -> None:
    pool.terminate_job(1, "KILL")
    assert "Cancel the execution instead" in caplog.text


def test_a_pool_that_has_stopped_is_stopped_again_in_peace(pool: AsyncPool) -> None:
    pool.on_stop()
    pool.on_terminate()
    assert Performer.made.patience == [module.DRAIN_SECONDS]
