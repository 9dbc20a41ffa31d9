"""The disk of the database is full for a while: what is asked is refused, what was accepted is not lost, and all goes on."""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx2
import pytest

from tests.builders import Process, document, edges, node, wait_until
from tests.chaos.stack import free_port
from tests.disk import Disk
from tests.faults.conftest import Site

pytestmark = pytest.mark.timeout(240)
MEGABYTES = {"sqlite": 32, "postgresql": 256}
FULL_FOR = 4.0
RESUMES = 5.0
"""Seconds after which a database that has room again takes what is asked."""


class Caller(threading.Thread):
    """Somebody who starts executions without a break, and asks again for each until it is granted."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__(name="caller", daemon=True)
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self.accepted: dict[str, float] = {}
        """When each execution was granted."""
        self.refused: list[tuple[int, str]] = []
        """Status and code of what was refused."""
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            key = secrets.token_hex(8)
            while not (self._is_granted(key) or self.ended.is_set()):
                time.sleep(0.05)

    def _is_granted(self, key: str) -> bool:
        # More than fits between the last page that is there and the end of the disk.
        body = {"input": {"k": 1, "s": secrets.token_hex(4000)}}
        headers = {**self._headers, "Idempotency-Key": key}
        url = f"{self._url}/api/v1/workflows/filled/execute"
        reply = httpx2.post(url, json=body, headers=headers, timeout=20)
        if reply.status_code in (200, 202):  # 200 where the first answer was lost
            self.accepted[reply.json()["id"]] = time.monotonic()
            return True
        self.refused.append((reply.status_code, reply.json()["code"]))
        return False

    def get(self, path: str) -> httpx2.Response:
        """Read something."""
        return httpx2.get(f"{self._url}{path}", headers=self._headers, timeout=20)

    def is_served(self) -> bool:
        """Whether the API is there."""
        try:
            return self.get("/readyz").status_code == 200
        except httpx2.TransportError:
            return False


@pytest.fixture(params=["sqlite", "postgresql"])
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    try:
        made = Disk(MEGABYTES[request.param])
    except PermissionError as error:
        pytest.skip(f"no disk can be made that would be full: {error}")
    with closing(made):
        yield made


def test_a_full_disk_loses_nothing(disk: Disk, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    dialect = request.node.callspec.params["disk"]
    token = secrets.token_hex(20)
    with ExitStack() as opened:
        site = Site(dialect, tmp_path, opened, disk=disk.folder, CELERIAC_API_TOKEN=token)
        nodes = [site.call("a"), node("b", "noop"), site.call("c")]
        active = site.push(document(nodes, edges("a->b->c")), "filled")
        port = free_port()
        lines = {"api": ["--port", str(port)], "poller": []}
        members = [
            Process(["-m", "celeriac", name, *more], site.around, tmp_path / f"{name}.log")
            for name, more in lines.items()
        ]
        for each in members:
            opened.callback(each.end)
        caller = Caller(f"http://127.0.0.1:{port}", token)
        wait_until(caller.is_served, 60, "the API")
        caller.start()
        wait_until(lambda: len(caller.accepted) > 10, 30, "the first executions")
        disk.fill()
        wait_until(lambda: len(caller.refused) > 3, 30, "a refusal")
        time.sleep(FULL_FOR)
        execution = next(iter(caller.accepted))
        assert caller.get(f"/api/v1/executions/{execution}").status_code == 200
        before = len(caller.accepted)
        disk.free()
        freed = time.monotonic()
        wait_until(lambda: len(caller.accepted) > before + 10, 30, "the next executions")
        assert list(caller.accepted.values())[before] - freed < RESUMES
        caller.ended.set()
        caller.join()
        assert set(caller.refused) == {(503, "service.unavailable")}
        site.names |= dict.fromkeys(caller.accepted, active.name)
        site.ended(list(caller.accepted), 60)
        assert [each.code for each in [*members, *site.workers]] == [None] * 4
        site.judge(list(caller.accepted))
        verify = Process(["-m", "celeriac", "verify"], site.around, tmp_path / "verify.log")
        wait_until(lambda: verify.code is not None, 30, "the verification")
        assert verify.code == 0, verify.said()
        if dialect == "sqlite":
            with closing(sqlite3.connect(disk.folder / "celeriac.db")) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
