"""What a stack is made of: real servers, our worker, Celery's workers, drivers. All of it ends with us, however we end."""

from __future__ import annotations

import base64
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import psycopg

from bench import api_driver, canvases
from bench.protocol import ROOT, Driver
from engine import settings
from engine.store import schema
from tests.servers import Den, NoServer, Postgres, Valkey, start_postgres, start_valkey, valkey_binaries

STACKS = ("sqlite", "postgresql")
READY_WITHIN = 30.0

Environment = dict[str, str]
Roles = dict[str, list[int]]
"""The first processes of each part, by what they are for."""


class Missing(Exception):
    """A part of the stack cannot be had; the message says why."""


@dataclass
class Servers:
    """A broker, and a database unless that is a file."""

    broker: Valkey
    postgres: Postgres | None = None
    environment: Environment = field(default_factory=dict)

    @property
    def versions(self) -> list[str]:
        """What they are."""
        return [self.broker.version, *([self.postgres.version] if self.postgres else [])]

    @cached_property
    def roles(self) -> Roles:
        """The servers that were started here; the cost of others cannot be known."""
        found: Roles = {}
        for name, server in (("broker", self.broker), ("database", self.postgres)):
            if server is not None and not os.environ.get(server.named_by):
                found[name] = [server.pid]
        return found


@contextmanager
def servers(stack: str) -> Iterator[Servers]:
    """Start the servers of a stack: the bundled Valkey, or PostgreSQL and whatever Redis or Valkey the machine has."""
    with ExitStack() as ending:
        broker = Valkey(valkey_binaries()[-1]) if stack == "sqlite" else start_valkey()
        ending.callback(broker.stop)
        found = Servers(broker)
        if stack == "postgresql":
            found.postgres = start_postgres()
            ending.callback(found.postgres.stop)
            if not os.environ.get(Postgres.named_by):
                _make_durable(found.postgres)
            found.environment["DATABASE_URL"] = ending.enter_context(found.postgres.database())
        yield found


def _make_durable(server: Postgres) -> None:
    """Let a commit mean what it means in production; the tests' server may forget."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = on")
        connection.execute("ALTER SYSTEM SET full_page_writes = on")
        connection.execute("SELECT pg_reload_conf()")


class Stack:
    """Both sides at work. What a case needs is started when it asks."""

    def __init__(self, name: str, ending: ExitStack) -> None:
        self.name = name
        self._ending = ending
        self.servers = ending.enter_context(servers(name))
        self._den = _den(ending)
        self._environment = environment(self._den.folder, self.servers)
        schema.migrate(settings.from_environment(self._environment), time.time_ns() // 1_000_000)
        self._worker = self._start(["celery", "-A", "worker", "worker", *_PLAIN, "-Q", "default,cpu"])
        self._pools = {pool: self._start(_celery_worker(pool)) for pool in canvases.POOLS}

    @cached_property
    def engine(self) -> Driver:
        """What submits to the engine in process."""
        return self._driver("bench.engine_driver")

    @cached_property
    def celery(self) -> Driver:
        """What submits raw canvases."""
        return self._driver("bench.celery_driver")

    @cached_property
    def api(self) -> Driver:
        """What submits over HTTP. Raises `Missing` when the API cannot be started."""
        self._api = self._start(["celeriac", "api"])
        _await_ready(self._api, self._environment)
        return self._driver("bench.api_driver")

    def roles(self, driver: Driver) -> Roles:
        """Return the parts that work for what a driver of ours submits."""
        found: Roles = {"worker": [self._worker.pid], "submitter": [driver.pid]}
        if "api" in self.__dict__ and driver is self.api:
            found["api"] = [self._api.pid]
        return found | self.servers.roles

    def baseline_roles(self, pool: str) -> Roles:
        """Return the parts that work for a canvas."""
        found: Roles = {"worker": [self._pools[pool].pid], "submitter": [self.celery.pid]}
        return found | {name: pids for name, pids in self.servers.roles.items() if name == "broker"}

    def _driver(self, module: str) -> Driver:
        driver = Driver(module, self._environment)
        self._ending.callback(driver.close)
        return driver

    def _start(self, words: list[str]) -> subprocess.Popen[bytes]:
        line = [sys.executable, "-m", *words]
        return self._den.start(line, quits_on=signal.SIGTERM, environment=self._environment)


@contextmanager
def running(name: str) -> Iterator[Stack]:
    """Start a stack; everything that it has started is stopped in the end."""
    with ExitStack() as ending:
        yield Stack(name, ending)


@contextmanager
def installation(name: str) -> Iterator[list[int]]:
    """Start the whole of ours as its users do, let it do some work, and hand over its first processes."""
    with ExitStack() as ending:
        found = ending.enter_context(servers(name)) if name != "sqlite" else None
        den = _den(ending)
        surroundings = environment(den.folder, found)
        line = [sys.executable, "-m", "celeriac", "up"]
        up = den.start(line, quits_on=signal.SIGTERM, environment=surroundings)
        _await_ready(up, surroundings)
        api = Driver("bench.api_driver", surroundings)
        try:
            api.ask(do="push", shape="pure_10")
            api.ask(do="serial", shape="pure_10", count=20)
        finally:
            api.close()
        yield [up.pid, *(pid for pids in (found.roles if found else {}).values() for pid in pids)]


@contextmanager
def celery_installation() -> Iterator[list[int]]:
    """The same of Celery alone: a broker, and one worker with two processes."""
    with ExitStack() as ending:
        found = ending.enter_context(servers("sqlite"))
        den = _den(ending)
        surroundings = environment(den.folder, found)
        line = [sys.executable, "-m", *_celery_worker("prefork")]
        worker = den.start(line, quits_on=signal.SIGTERM, environment=surroundings)
        driver = Driver("bench.celery_driver", surroundings)
        try:
            driver.ask(do="serial", shape="pure_10", count=20, queue="bench-prefork")
        finally:
            driver.close()
        yield [worker.pid, *(pid for pids in found.roles.values() for pid in pids)]


_PLAIN = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING")


def _celery_worker(pool: str) -> list[str]:
    names = ["-Q", f"bench-{pool}", "-n", f"{pool}@%h"]
    return ["celery", "-A", "bench.canvases", "worker", *canvases.POOLS[pool], *_PLAIN, *names]


def environment(folder: Path, found: Servers | None) -> Environment:
    """Return the environment of every process of a stack. Without servers the embedded ones are meant."""
    token, port = secrets.token_urlsafe(32), _free_port()
    given = {
        **os.environ,
        "CELERIAC_DATA": str(folder / "data"),
        "CELERIAC_NODES": "nodes,bench.nodes",
        "CELERIAC_SECRET_KEY": base64.b64encode(os.urandom(32)).decode(),
        "CELERIAC_API_PORT": str(port),
        "CELERIAC_API_TOKEN": token,
        "PYTHONPATH": str(ROOT),
        api_driver.URL: f"http://127.0.0.1:{port}",
        api_driver.TOKEN: token,
    }
    for name in ("DATABASE_URL", "BROKER_URL", canvases.BROKER):
        given.pop(name, None)
    if found is not None:
        given |= {**found.environment, "BROKER_URL": found.broker.url, canvases.BROKER: found.broker.url}
    return given


def _den(ending: ExitStack) -> Den:
    den = Den()
    ending.callback(den.clear)
    return den


def _await_ready(process: subprocess.Popen[bytes], surroundings: Mapping[str, str]) -> None:
    """Wait until the API says that it can do its work. Raises `Missing` with what stands against it."""
    url = f"{surroundings[api_driver.URL]}/readyz"
    deadline = time.monotonic() + READY_WITHIN
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310  an address of this machine
                return
        except (OSError, urllib.error.HTTPError) as error:
            what = " ".join(map(str, list(process.args)[1:]))  # type: ignore[arg-type]  # it was given as a list
            if process.poll() is not None:
                message = f"`python {what}` ended with {process.returncode}"
                raise Missing(message) from error
            if time.monotonic() > deadline:
                message = f"`python {what}` was not ready in {READY_WITHIN:g} s: {error}"
                raise Missing(message) from error
            time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


__all__ = ["STACKS", "Missing", "NoServer", "Stack", "celery_installation", "installation", "running"]
