from __future__ import annotations

import re
from pathlib import Path

from celeriac import Effect

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")


def test_every_place_where_tests_kill_is_in_the_table() -> None:
    placed = {
        name
        for room in ("celeriac", "engine", "api", "worker")
        for path in (ROOT / room).rglob("*.py")
        for name in re.findall(r"failpoint\(\"([a-z_.]+)\"\)", path.read_text(encoding="utf-8"))
    }
    assert set(re.findall(r"^\| `([a-z_]+\.[a-z_.]+)` \|", PAGE, re.MULTILINE)) == placed


def test_every_effect_has_its_promise() -> None:
    assert re.findall(r"^\| `([a-z]+)` \|", PAGE, re.MULTILINE) == [str(each) for each in Effect]
