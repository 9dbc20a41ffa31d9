"""README.md as its reader follows it: every block is run, in order, in an empty home."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from celeriac.commands import lock
from tests import servers

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)

PORT = "8321"


@dataclass
class Desk:
    """A reader's folder, environment and port, and the blocks that are left to follow."""

    folder: Path
    environment: dict[str, str]
    port: str
    left: list[tuple[str, str]] = field(default_factory=lambda: list(BLOCKS))

    def next(self, language: str) -> str:
        found, text = self.left.pop(0)
        assert found == language
        return text.replace(f":{PORT}", f":{self.port}")

    def run(self) -> subprocess.CompletedProcess[str]:
        """Run the next block as a shell would."""
        line = ["sh", "-c", self.next("sh")]
        return subprocess.run(
            line,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An empty folder that looks like a checkout: `dev.py` finds its own place behind the link."""
    (tmp_path / "dev.py").symlink_to(ROOT / "dev.py")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    home = tmp_path / "home"
    home.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    ours = ("DATABASE_URL", "BROKER_URL", "XDG_DATA_HOME")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ours and not name.startswith("CELERIAC_")
    }
    return Desk(tmp_path, {**kept, "HOME": str(home), "CELERIAC_API_PORT": port}, port)


@pytest.fixture
def den() -> Iterator[servers.Den]:
    found = servers.Den()
    yield found
    found.clear()


@pytest.mark.timeout(240)
def test_every_block_does_what_the_page_says(desk: Desk, den: servers.Den) -> None:
    assert shutil.which("curl"), "curl is missing here: install it, as a reader would have to"
    demo = desk.run()
    assert demo.returncode == 0, demo.stderr
    assert "detected    40 failed sign-ins from 203.0.113.66" in demo.stdout

    (desk.folder / "parcel.json").write_text(desk.next("json"), encoding="utf-8")
    ran = desk.run()
    assert (ran.returncode, json.loads(ran.stdout)) == (0, json.loads(desk.next("json")))

    validated = desk.run()
    assert (validated.returncode, validated.stderr + validated.stdout) == (2, desk.next("text"))

    data = Path(desk.environment["HOME"]) / ".local" / "share" / "celeriac"
    line = ["sh", "-c", f"cd {desk.folder} && exec {desk.next('sh')}"]
    up = den.start(line, quits_on=signal.SIGTERM, environment=desk.environment)
    den.wait_for(up, lambda: lock.running(data) is not None)
    asked = desk.run()
    assert alike(json.loads(asked.stdout), json.loads(desk.next("json")))
    den.end(up)
    assert up.returncode in (0, 130)
    assert desk.left == []


def alike(answer: dict[str, Any], shown: dict[str, Any]) -> bool:
    """Whether two answers differ in nothing but ids and times."""
    text = [
        re.sub(
            r"(?<=[_ ])[0-9a-z]{26}(?=\")|\b\d{13}\b|(?<=duration_ms\": )\d+", "0", json.dumps(each, indent=1)
        )
        for each in (answer, shown)
    ]
    assert text[0] == text[1]
    return True


def test_the_page_is_short_and_has_one_picture() -> None:
    assert len(TEXT.splitlines()) <= 120
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", TEXT)
    assert len(pictures) == 1
    assert ET.parse(ROOT / pictures[0]).getroot().tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314  our own
