"""A whole installation as plain processes that may die at any time, and a supervisor that starts them again."""

from __future__ import annotations

import json
import random
import secrets
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import redis

from engine.broker import DOWN, Broker, make_app
from engine.canvas import segment
from tests import servers
from tests.builders import Process, SinkProcess, environment, prepared, wait_until

STACKS = {
    "sqlite": ("sqlite", "valkey"),
    "sqlite+valkey": ("sqlite", "valkey"),
    "postgresql": ("postgresql", "valkey"),
    "postgresql+redis": ("postgresql", "valkey"),
    "rabbitmq": ("postgresql", "rabbitmq"),
    "postgresql+rabbitmq": ("postgresql", "rabbitmq"),
}
QUEUES = ("default", "cpu")
TRAPS = {
    "worker-2": {
        "claim.before": 0.0003,
        "claim.after": 0.0003,
        "effect.before": 0.0003,
        "effect.after": 0.0003,
        "settle.before": 0.0003,
        "settle.fenced": 0.0003,
        "commit.before": 0.0005,
        "commit.after": 0.0005,
        "dispatch.before": 0.0003,
        "publish.before": 0.001,
    },
    "api": {"commit.before": 0.001, "commit.after": 0.001, "api.publish.before": 0.002},
    "poller": {"commit.before": 0.002, "commit.after": 0.002, "publish.before": 0.002},
}
"""Places in the engine where some processes die with a small probability: a kill from outside seldom hits them."""


class Member:
    """One process of the installation. It is started again at `back_at` (monotonic seconds) when it is dead."""

    def __init__(
        self, name: str, line: Sequence[str], around: Mapping[str, str], log: Path, *, traps: bool = True
    ) -> None:
        self.name = name
        self._line = line
        self._around = dict(around)
        self._log = log
        self.back_at = 0.0
        self.stalled = False
        self.killed = False
        self.leaving = False
        """Whether it has been asked to end."""
        self.codes: list[int] = []
        """How it ended when nobody had killed it."""
        if traps and name in TRAPS:
            rules = (f"{place}=kill%{share}" for place, share in TRAPS[name].items())
            self._around |= {"CELERIAC_TEST": "1", "CELERIAC_FAILPOINTS": ";".join(rules)}
        self.process = self._started()

    def _started(self) -> Process:
        return Process(self._line, self._around, self._log)

    def revive(self) -> None:
        """Start it again if it is dead and its time has come."""
        code = self.process.code
        if code is None or time.monotonic() < self.back_at:
            return
        if not self.killed:
            self.codes.append(code)
        self.killed = self.stalled = self.leaving = False
        self.process = self._started()

    def kill(self, back_in: float) -> None:
        self.back_at = time.monotonic() + back_in
        self.killed = True
        self.process.kill()

    def leave(self) -> None:
        """Ask it to end, as whoever puts a new release in its place does."""
        self.leaving = True
        self.process.send(signal.SIGTERM)

    def disarm(self) -> None:
        """Let it die at no place of its own any more, from its next start on, which is now."""
        if self._around.pop("CELERIAC_FAILPOINTS", None):
            self.kill(0.0)

    def stall(self, *, on: bool) -> None:
        self.stalled = on
        self.process.send(signal.SIGSTOP if on else signal.SIGCONT)


class Stack:
    """Broker, database, sink, two workers, a poller and an API; `close` ends them all."""

    def __init__(self, name: str, extra: Mapping[str, str], *, traps: bool = True) -> None:
        database, broker = STACKS[name]
        self.folder = Path(tempfile.mkdtemp(prefix="clrx-", dir="/tmp"))
        self.broker: servers.Valkey | servers.RabbitMQ = (
            servers.start_valkey() if broker == "valkey" else servers.start_rabbitmq()
        )
        self.postgres = servers.start_postgres() if database == "postgresql" else None
        self._database = self.postgres.database() if self.postgres else None
        url = self._database.__enter__() if self._database else None
        self.sink = SinkProcess(self.folder)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.token = secrets.token_hex(20)
        around = environment(self.folder, self.broker.url, url, CELERIAC_API_TOKEN=self.token, **extra)
        self.settings = prepared(around)
        lines = {
            "worker-1": ["-m", "celery", "-A", "worker", "worker", "-Q", ",".join(QUEUES), "-n", "one@%h"],
            "worker-2": ["-m", "celeriac", "worker"],
            "poller": ["-m", "celeriac", "poller"],
            "poller-2": ["-m", "celeriac", "poller"],
            "api": ["-m", "celeriac", "api", "--port", str(port)],
        }
        self.members = {
            each: Member(each, line, around, self.folder / f"{each}.log", traps=traps)
            for each, line in lines.items()
        }
        self.lock = threading.RLock()
        """Held by whoever changes what runs."""
        self.broker_back_at: float | None = None
        self.frozen: servers.Server | None = None
        """A server that stands still, with its connections open."""
        self._ended = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._supervisor.start()

    def wait_ready(self) -> None:
        """Wait until the API and both workers serve."""
        wait_until(self.answers, 60, "the API")
        wait_until(lambda: all(self._consumes(each) for each in ("worker-1", "worker-2")), 60, "the workers")

    def answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx2.TransportError:
            return False

    def heal(self) -> None:
        """End every fault: what is stopped goes on, what is dead comes back."""
        with self.lock:
            for member in self.members.values():
                if member.stalled:
                    member.stall(on=False)
                member.back_at = 0.0
                member.disarm()
            if self.broker_back_at is not None:
                self.broker_back_at = 0.0
        wait_until(lambda: self.broker_back_at is None, 30, "the broker")
        self.wait_ready()

    def close(self) -> None:
        self._ended.set()
        self._supervisor.join(30)
        for member in self.members.values():
            with suppress(Exception):
                member.process.end(20)
        self.sink.kill()
        if self._database:
            self._database.__exit__(None, None, None)
        if self.postgres:
            self.postgres.stop()
        self.broker.stop()

    def forget(self) -> None:
        """Remove the folder with the database and the logs."""
        shutil.rmtree(self.folder)

    @property
    def whole(self) -> bool:
        """Whether broker and database answer, so that one can do something with them."""
        return self.broker_back_at is None and self.frozen is None

    def freeze(self, server: servers.Server) -> None:
        """Let a server stand still until `thaw`."""
        server.freeze(on=True)
        self.frozen = server

    def thaw(self) -> None:
        """Let it go on."""
        if self.frozen is not None:
            self.frozen.freeze(on=False)
            self.frozen = None

    def queued(self) -> int:
        """How many messages wait in the broker."""
        broker = self.voice()
        try:
            return sum(broker.lengths(QUEUES).values())
        finally:
            broker.close()

    def voice(self) -> Broker:
        """A conversation with the broker."""
        return Broker(make_app(self.settings))

    def send(self, references: Sequence[tuple[str, int, str]]) -> bool:
        """Put references straight into a queue, one message each. Returns whether the broker took them."""
        broker = self.voice()
        try:
            broker.publish([segment.of([each], "default") for each in references])
        except DOWN:
            return False
        finally:
            broker.close()
        return True

    def reorder(self, rng: random.Random, copies: int) -> int:
        """Shuffle what waits in a queue and repeat some of it (Redis only). Returns how much waited."""
        if not isinstance(self.broker, servers.Valkey):
            return 0
        client = self.broker.client
        try:
            with client.pipeline() as pipe:
                pipe.lrange("default", 0, -1)
                pipe.delete("default")
                messages: list[bytes] = pipe.execute()[0]
                if messages:
                    again = [*messages, *rng.choices(messages, k=copies)]
                    rng.shuffle(again)
                    client.rpush("default", *again)
        except redis.RedisError:
            return 0
        return len(messages)

    def flush(self) -> bool:
        """Take from the broker all it holds."""
        if isinstance(self.broker, servers.Valkey):
            try:
                self.broker.flush()
            except redis.RedisError:
                return False
            return True
        import kombu

        with kombu.Connection(self.broker.url) as connection:
            channel: Any = connection.default_channel
            for queue in QUEUES:
                channel.queue_purge(queue)
        return True

    def said(self) -> dict[str, int]:
        """How often each kind of error stands in the logs."""
        found: dict[str, int] = {}
        for member in self.members:
            for line in (self.folder / f"{member}.log").read_text(errors="replace").splitlines():
                if "ERROR" in line or "CRITICAL" in line or "failed inside the engine" in line:
                    words = line.split("]", 1)[-1].strip()[:100]
                    text = " ".join(
                        "#" if any(each.isdigit() for each in word) else word for word in words.split()
                    )
                    found[f"{member}: {text}"] = found.get(f"{member}: {text}", 0) + 1
        return found

    def _consumes(self, name: str) -> bool:
        process = self.members[name].process
        if process.code is not None:
            raise AssertionError(f"{name} ended with {process.code}:\n{process.said()[-2000:]}")
        return time.monotonic() > self.members[name].back_at and process.code is None

    def _supervise(self) -> None:
        while not self._ended.wait(0.05):
            with self.lock:
                for member in self.members.values():
                    member.revive()
                if self.broker_back_at is not None and time.monotonic() >= self.broker_back_at:
                    self.broker.restart()
                    self.broker_back_at = None


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def body_of(reply: httpx2.Response) -> Any:
    """The JSON of an answer."""
    return json.loads(reply.content)
