"""The page about control flow is run, and its table has every pattern with the file that plays it."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from engine import queries
from engine.checking import problems
from tests.patterns.pattern import NAMES, PATTERNS
from tests.workbench import Workbench, built_in

PAGE = (Path(__file__).parents[2] / "docs" / "control-flow.md").read_text(encoding="utf-8")
SECTIONS = {
    title: json.loads(text)
    for title, text in re.findall(
        r"^## ([^\n]+)\n(?:(?!^## ).)*?^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
    )
}


async def carried(bench: Workbench, execution: str) -> None:
    """Carry an execution to its end; whenever it rests, it is the time at which it goes on."""
    await bench.carry()
    while bench.status(execution) in ("running", "waiting"):
        ((due,),) = bench.query("SELECT min(due) FROM segment WHERE status IN ('waiting', 'backing_off')")
        bench.clock.move(0 if due is None else (due - bench.clock.now()) / 1000)
        bench.poller().tick()
        await bench.carry()


@pytest.mark.parametrize("title", SECTIONS)
def test_an_example_comes_to_what_the_page_says(tmp_path: Path, title: str) -> None:
    example: dict[str, Any] = SECTIONS[title]
    document = {"name": title, "definition": example["definition"]}
    assert problems.check_text(json.dumps(document), built_in()) == (document, [])
    bench = Workbench(tmp_path)
    try:
        execution = bench.start(bench.push(document), example.get("input"))
        asyncio.run(carried(bench, execution))
        if "answer" in example:
            assert queries.execution(bench.connection, execution)["answer"] == example["answer"]
        if "error" in example:
            assert bench.error(execution)["code"] == example["error"]
        else:
            assert (bench.status(execution), bench.output(execution)) == ("succeeded", example["output"])
    finally:
        bench.close()


def test_every_section_has_an_example_but_the_last_three() -> None:
    titles = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert [each for each in titles if each not in SECTIONS] == titles[-3:]
    assert PAGE.count("```json") == len(SECTIONS)


def test_a_construct_is_explained_in_five_lines_at_most() -> None:
    for title in SECTIONS:
        explained = PAGE.partition(f"## {title}\n")[2].partition("```")[0]
        assert len(explained.strip().splitlines()) <= 5, title


def test_the_table_has_every_pattern_and_the_file_that_plays_it() -> None:
    rows = re.findall(r"^\| WCP-(\d+) ([^|]+) \| ([^|]+) \| (.*)\|$", PAGE, re.MULTILINE)
    assert {int(number): name for number, name, _, _ in rows} == NAMES
    played = {each.number for each in PATTERNS}
    for number, _, construct, file in rows:
        link = f"[wcp-{int(number):02}.json](../tests/patterns/wcp-{int(number):02}.json) "
        assert file == (link if int(number) in played else ""), number
        assert (construct == "nothing yet") is (int(number) not in played), number
