"""A whole installation as people start it: real processes, reached over HTTP and by commands only."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.builders import BRISK, ROOT, wait_until
from tests.workbench import migrated

START_WITHIN = 60.0


def around(data: Path, **more: str) -> dict[str, str]:
    """The environment of an installation of its own in a data directory."""
    apart = ("CELERIAC_", "DATABASE_URL", "BROKER_URL", "NO_COLOR", "TERM")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(apart)}
    return {
        **kept,
        "CELERIAC_DATA": str(data),
        "CELERIAC_NODES": "nodes,tests.nodes",
        "CELERIAC_EGRESS_ALLOW": "127.0.0.1",
        "PYTHONPATH": str(ROOT),
        **{f"CELERIAC_TIMING_{name}": value for name, value in BRISK.items()},
        **more,
    }


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its data. Exactly one JSON value, or the test fails."""
        return json.loads(self.out)


def celeriac(environment: Mapping[str, str], *words: str, stdin: str = "") -> Said:
    """Run a command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "celeriac", *words],
        env=dict(environment),
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def lives(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@dataclass
class Installation:
    """`celeriac up` in a data directory of its own."""

    environment: dict[str, str]
    log: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    http: httpx2.Client = field(default_factory=httpx2.Client)

    @property
    def data(self) -> Path:
        return Path(self.environment["CELERIAC_DATA"])

    @property
    def told(self) -> dict[str, Any]:
        """What the stack tells others of itself."""
        found: dict[str, Any] = json.loads((self.data / "run" / "up.json").read_text())
        return found

    @property
    def words(self) -> str:
        return self.log.read_text(errors="replace")

    def lay(self) -> Installation:
        """Put an empty migrated database in place, as an earlier start would have: migrating takes a second."""
        database = self.data / "celeriac.db"
        if "DATABASE_URL" not in self.environment and not database.exists():
            database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            database.touch(0o600)
            database.write_bytes(migrated())
        return self

    def start(self) -> Installation:
        """Start it and wait until it is ready."""
        self.lay()
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celeriac", "up", "--port", "0", *self.options],
                env=self.environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        wait_until(self._is_up, START_WITHIN, "the installation")
        token = (self.data / "api.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        self.http.close()
        self.http = httpx2.Client(base_url=self.told["url"], headers=headers, timeout=60, trust_env=False)
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; return its exit code."""
        self.http.close()
        if self.process is None:
            return 0
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.process = None
        return code

    def command(self, *words: str, stdin: str = "") -> Said:
        return celeriac(self.environment, *words, stdin=stdin)

    def push(self, document: Mapping[str, Any]) -> str:
        answer = self.http.post("/api/v1/workflows", json=dict(document))
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["id"])

    def execute(self, workflow: str, payload: object = None, **headers: str) -> dict[str, Any]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = {} if payload is None else {"input": payload}
        answer = self.http.post(f"/api/v1/workflows/{workflow}/execute", json=body, headers=named)
        assert answer.status_code in (200, 202), answer.text
        found: dict[str, Any] = answer.json()
        return found

    def execution(self, name: str, wait: int = 0) -> dict[str, Any]:
        headers = {"Prefer": f"wait={wait}"} if wait else {}
        found: dict[str, Any] = self.http.get(f"/api/v1/executions/{name}", headers=headers).json()
        return found

    def nodes(self, name: str) -> dict[str, dict[str, Any]]:
        answer = self.http.get(f"/api/v1/executions/{name}/nodes").json()
        return {each["node"]: each for each in answer["data"]}

    def http_page(self, path: str) -> list[dict[str, Any]]:
        """All of a list, page by page."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            joint = "&" if "?" in path else "?"
            answer = self.http.get(f"/api/v1{path}{joint}limit=200{cursor}").json()
            found += answer["data"]
            if not answer.get("next_cursor"):
                return found
            cursor = f"&cursor={answer['next_cursor']}"

    def kill(self, part: str) -> int:
        """kill -9 of a part; return when another has taken its place."""
        before: int = self.told["pids"][part]
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: self.told["pids"][part] != before, 30, f"another {part}")
        return before

    def _is_up(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"celeriac up ended with {self.process.returncode}:\n{self.words[-3000:]}")
        if not (self.data / "run" / "up.json").exists():
            return False
        # A stack that was killed has left its file behind.
        return bool(self.told["url"]) and self.told["pid"] == self.process.pid


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """One for all tests of a file."""
    with tempfile.TemporaryDirectory(prefix="clrc-") as folder:
        made = Installation(around(Path(folder) / "data"), Path(folder) / "up.log")
        try:
            yield made.start()
        finally:
            made.stop()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="clrc-") as made:
        yield Path(made)
