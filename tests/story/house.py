"""A whole installation of real processes, which can be stopped and started again at another time."""

from __future__ import annotations

import base64
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx2

from bench.stacks import Servers
from engine.settings import from_environment
from engine.store import schema
from tests.builders import BRISK, ROOT
from tests.servers import Den

READY_WITHIN = 60.0
_WORKER = ("celery", "-A", "worker", "worker", "--without-gossip", "--without-mingle", "--without-heartbeat")


class House:
    """An API and a worker on the servers of a stack. Their time is `moved` by some seconds."""

    def __init__(self, found: Servers, folder: Path | None = None) -> None:
        self.den = Den()
        self.moved = 0
        self.token = secrets.token_urlsafe(32)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        apart = ("CELERIAC_", "DATABASE_URL", "BROKER_URL")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(apart)},
            "CELERIAC_DATA": str(folder or self.den.folder / "data"),
            "CELERIAC_NODES": "nodes,tests.nodes",
            "CELERIAC_EGRESS_ALLOW": "127.0.0.1",
            "CELERIAC_SECRET_KEY": base64.b64encode(os.urandom(32)).decode(),
            "CELERIAC_API_PORT": str(port),
            "CELERIAC_API_TOKEN": self.token,
            "BROKER_URL": found.broker.url,
            "PYTHONPATH": str(ROOT),
            **{f"CELERIAC_TIMING_{name}": value for name, value in BRISK.items()},
            **found.environment,
        }
        self.api: subprocess.Popen[bytes] | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        schema.migrate(from_environment(self.environment), time.time_ns() // 1_000_000)

    def now(self) -> float:
        """The seconds since the epoch that the installation lives in."""
        return time.time() + self.moved

    def start(self, at: float | None = None) -> None:
        """Start the API and the worker, at a time if one is given, and wait until the API is ready."""
        self.moved = 0 if at is None else round(at - time.time())
        self._worker = self._launch(*_WORKER, "-l", "WARNING", "-Q", "default,io,cpu")
        self.start_api()

    def start_api(self) -> None:
        """Start the API alone, and wait until it is ready."""
        self.api = self._launch("celeriac", "api")
        self.den.wait_for(self.api, self._answers)

    def kill_api(self) -> None:
        """kill -9 of the API."""
        assert self.api is not None
        self.den.end(self.api, signal.SIGKILL)
        self.api = None

    def stop(self) -> None:
        """Stop both; what they have stored stays."""
        for each in (self.api, self._worker):
            if each is not None:
                self.den.end(each)
        self.api = self._worker = None

    def clear(self) -> None:
        """Stop everything, and leave nothing behind."""
        self.den.clear()

    def _launch(self, *words: str) -> subprocess.Popen[bytes]:
        line = [sys.executable, "-m", "tests.moved", str(self.moved), *words]
        return self.den.start(line, quits_on=signal.SIGTERM, environment=self.environment)

    def _answers(self) -> bool:
        with suppress(httpx2.TransportError), httpx2.Client(trust_env=False) as http:
            return http.get(f"{self.url}/readyz").status_code == 200
        return False
