from __future__ import annotations

import functools
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import typer

from celeriac.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", NAMES)
def test_every_link_of_a_page_leads_somewhere(name: str) -> None:
    page = ROOT / name
    broken = []
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        place = (page.parent / file).resolve() if file else page
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in anchors(place)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("name", NAMES)
def test_every_command_a_page_names_exists_with_its_options(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    spans = [
        *re.findall(r"`([^`\n]+)`", FENCE.sub("", text)),
        *re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL),
    ]
    wrong = []
    for span in spans:
        for line in span.replace("\\\n", " ").splitlines():
            found = re.search(r"(?:^|(?<!from)[\s=/])celeriac ((?:[a-z]+ ?)+)(.*)$", line)
            if found and not known(found[1].split(), re.findall(r"(--[a-z-]+)", found[2])):
                wrong.append(line)
    assert wrong == []


@functools.cache
def commands() -> Any:
    return typer.main.get_command(app)


def known(words: list[str], options: list[str]) -> bool:
    command = commands()
    for word in words:
        inner = getattr(command, "commands", {})
        if not inner:
            break
        if word not in inner:
            return False
        command = inner[word]
    offered = {each for parameter in command.params for each in (*parameter.opts, *parameter.secondary_opts)}
    return set(options) <= offered | {"--help"}


def test_every_word_of_the_glossary_has_one_meaning() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    words = [
        word.lower()
        for line in re.findall(r"^- (.*)$", text, re.MULTILINE)
        for word in re.findall(r"\*\*(.+?)\*\*", line)
    ]
    assert len(words) > 50
    assert [word for word, count in Counter(words).items() if count > 1] == []


def test_every_page_about_a_decision_has_its_three_parts_and_a_place_in_the_list() -> None:
    folder = ROOT / "docs" / "adr"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    pages = sorted(folder.glob("[0-9]*.md"))
    assert pages
    for page in pages:
        text = page.read_text(encoding="utf-8")
        number = int(page.stem.partition("-")[0])
        title = text.splitlines()[0].removeprefix(f"# {number}. ")
        parts = re.findall(r"^\*\*(.+?)\*\*", text, re.MULTILINE)
        assert (page.name, parts) == (page.name, ["Context.", "Decision.", "What we gave up."])
        assert f"{number}. [{title}]({page.name})" in listed
