"""The commands of docs/operations.md, on an installation with something in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
BLOCKS: list[str] = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(120)
def test_every_block_works_in_the_order_of_the_page(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CELERIAC_")}
    environment = {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
        "CELERIAC_DATA": str(tmp_path / "data"),
        "CELERIAC_API_PORT": "0",
        "DATABASE_URL": "",
        "BROKER_URL": "",
    }
    examples = ROOT / "examples"
    before = f"celeriac run {examples / 'skip.json'} --input @{examples / 'inputs' / 'skip.json'}"
    for block in (before, *BLOCKS):
        done = subprocess.run(
            ["sh", "-ec", block], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "celeriac-2031-05-02.db").exists()
