"""The page about triggers: its schedules are worked out, and its definitions are run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from engine.triggers.schedules import check, preview
from engine.triggers.spec import Spec, instant

PAGE = (Path(__file__).parents[2] / "docs" / "triggers.md").read_text(encoding="utf-8")
BLOCKS: list[dict[str, Any]] = [
    json.loads(text) for text in re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
]
SLOTS = [each for each in BLOCKS if "slots" in each]


@pytest.mark.parametrize("block", SLOTS, ids=lambda each: str(each["config"].get("cron", "interval")))
def test_a_schedule_has_the_slots_that_the_page_shows(block: dict[str, Any]) -> None:
    spec = Spec.parse(check(block["config"]))
    shown = preview(spec, "", instant(block["after"]), len(block["slots"]))
    assert [each["local"] for each in shown] == block["slots"]
