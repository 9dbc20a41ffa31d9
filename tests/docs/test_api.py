"""The page of the API against the description it is made of."""

from __future__ import annotations

import re
from pathlib import Path

from api.describe import PAGE, described


def test_the_page_is_that_of_the_description(tmp_path: Path) -> None:
    """`python -m api.describe` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == described(tmp_path)


def test_every_link_of_the_contents_leads_somewhere() -> None:
    text = PAGE.read_text(encoding="utf-8")
    names = re.findall(r"\]\(#(\w+)\)", text)
    assert len(names) > 100
    assert set(names) == set(re.findall(r"^### (\w+)$", text, re.MULTILINE))
