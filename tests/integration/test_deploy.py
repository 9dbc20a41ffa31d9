"""docs/deploy.md, followed to the letter: its commands as plain processes, in its environment, on real servers."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests import servers

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
PROGRAMS = "/opt/celeriac/.venv/bin"

(ENVIRONMENT,) = re.findall(r"^```ini\n((?:[A-Z_]+=.*\n)+)```$", PAGE, re.MULTILINE)
UNITS = dict(re.findall(r"^# celeriac-(\w+)@?\.service.*\nExecStart=(.*)$", PAGE, re.MULTILINE))


@dataclass(frozen=True)
class Deployed:
    environment: dict[str, str]
    api: str
    flower: str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def line(text: str) -> list[str]:
    return shlex.split(text.replace(PROGRAMS, str(BIN)))


def ask(url: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Return status and body; 0 when nobody listens yet."""
    method = "GET" if body is None else "POST"
    try:
        with httpx2.Client(trust_env=False, timeout=30) as client:
            answer = client.request(method, url, json=body, headers=headers)
    except httpx2.TransportError:
        return 0, None
    return answer.status_code, answer.json() if "json" in answer.headers["content-type"] else answer.text


@pytest.fixture(scope="module")
def deployed(
    valkey: servers.Valkey, postgres: servers.Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployed]:
    named = dict(each.split("=", 1) for each in ENVIRONMENT.splitlines())
    api, flower = free_port(), free_port()
    den = servers.Den()
    with postgres.database() as url:
        values = {
            "DATABASE_URL": url,
            "BROKER_URL": valkey.url,
            "CELERIAC_SECRET_KEY": base64.b64encode(os.urandom(32)).decode(),
            "CELERIAC_API_TOKEN": secrets.token_hex(24),
            "CELERIAC_DATA": str(tmp_path_factory.mktemp("data")),
            "CELERIAC_MONITOR": named["CELERIAC_MONITOR"],
            "FLOWER_BASIC_AUTH": "celeriac:open sesame",
        }
        assert set(values) == set(named)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(den.folder),
            **values,
            "CELERIAC_API_PORT": str(api),
        }
        try:
            before = re.findall(rf"^{PROGRAMS}/celeriac .*$", PAGE, re.MULTILINE)
            for each in before:
                subprocess.run(
                    line(each), env=environment, cwd=ROOT, check=True, capture_output=True, timeout=60
                )
            processes = {}
            for name, command in UNITS.items():
                words = line(command.replace("--port=5555", f"--port={flower}"))
                processes[name] = den.start(words, quits_on=signal.SIGTERM, environment=environment)
            den.wait_for(processes["api"], lambda: ask(f"http://127.0.0.1:{api}/readyz")[0] == 200)
            den.wait_for(processes["flower"], lambda: ask(f"http://127.0.0.1:{flower}/healthcheck")[0] == 200)
            yield Deployed(environment, f"http://127.0.0.1:{api}", f"http://127.0.0.1:{flower}")
            for name, process in processes.items():
                den.end(process)
                assert (name, process.returncode) == (name, 0)
        finally:
            den.clear()


def test_the_page_starts_every_part() -> None:
    assert list(UNITS) == ["api", "poller", "worker", "flower"]


def test_a_workflow_runs_on_what_the_page_starts(deployed: Deployed) -> None:
    token = {"Authorization": f"Bearer {deployed.environment['CELERIAC_API_TOKEN']}"}
    read = {
        name: json.loads((ROOT / "examples" / name).read_text(encoding="utf-8"))
        for name in ("diamond.json", "inputs/diamond.json", "expected/diamond.json")
    }
    status, pushed = ask(f"{deployed.api}/api/v1/workflows", read["diamond.json"], **token)
    assert status == 201
    execute = f"{deployed.api}/api/v1/workflows/{pushed['id']}/execute"
    status, done = ask(execute, {"input": read["inputs/diamond.json"]}, Prefer="wait=20", **token)
    assert (status, {key: done[key] for key in ("status", "output")}) == (200, read["expected/diamond.json"])


def test_a_command_on_the_machine_reaches_the_installation(deployed: Deployed) -> None:
    words = line(f"{PROGRAMS}/celeriac attention list --json")
    done = subprocess.run(
        words, env=deployed.environment, cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert json.loads(done.stdout) == []


def test_the_api_and_flower_ask_who_is_there(deployed: Deployed) -> None:
    assert ask(f"{deployed.api}/api/v1/executions")[0] == 401
    assert ask(f"{deployed.flower}/workers")[0] == 401
    password = base64.b64encode(deployed.environment["FLOWER_BASIC_AUTH"].encode()).decode()
    assert ask(f"{deployed.flower}/workers", Authorization=f"Basic {password}")[0] == 200
