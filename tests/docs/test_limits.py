from __future__ import annotations

import dataclasses
import importlib
import re
from functools import reduce
from pathlib import Path

import celeryconfig
from engine.settings import Limits, Settings, Timing, from_environment
from worker.pool import DRAIN_SECONDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
ROWS = [
    tuple(cell.strip() for cell in row.split(" | "))
    for row in re.findall(r"^\| (.*) \|$", PAGE, re.MULTILINE)
]
DEFAULTS = {name.strip("`"): default.strip("`") for name, default, _ in ROWS if name.startswith("`")}

FOR_TESTS = {"CELERIAC_TEST", "CELERIAC_FAILPOINTS", "CELERIAC_BUG"}
BETWEEN_PROCESSES = {"CELERIAC_READY_FD"}


def number(text: str) -> int:
    return int(text.replace(",", ""))


def documented(prefix: str) -> dict[str, int]:
    return {
        name.removeprefix(prefix).lower(): number(default)
        for name, default in DEFAULTS.items()
        if name.startswith(prefix)
    }


def test_every_limit_is_on_the_page_with_its_default() -> None:
    assert documented("CELERIAC_LIMIT_") == dataclasses.asdict(Limits())


def test_every_time_is_on_the_page_with_its_default() -> None:
    assert documented("CELERIAC_TIMING_") == dataclasses.asdict(Timing())


def test_the_other_defaults_are_those_of_the_code() -> None:
    settings: Settings = from_environment({"HOME": "/home/ada"})
    assert number(DEFAULTS["CELERIAC_API_PORT"]) == settings.api_port
    assert DEFAULTS["CELERIAC_API_HOST"] == settings.api_host
    assert DEFAULTS["CELERIAC_QUEUES"] == ",".join(settings.queues)
    assert DEFAULTS["CELERIAC_NODES"] == ",".join(settings.node_modules)
    assert DEFAULTS["CELERIAC_ON_FOREIGN"] == settings.on_foreign
    assert number(DEFAULTS["CELERIAC_CHILDREN"]) == settings.children
    assert number(DEFAULTS["CELERIAC_WINDOW"]) == settings.window
    assert number(DEFAULTS["CELERIAC_SLOTS"]) == celeryconfig.worker_concurrency
    assert number(DEFAULTS["CELERIAC_DRAIN_SECONDS"]) == DRAIN_SECONDS
    assert DEFAULTS["CELERIAC_DATA"].replace("~", "/home/ada") == str(settings.data)
    assert settings.database_url == f"sqlite:///{settings.data}/celeriac.db"
    assert (DEFAULTS["CELERIAC_MONITOR"], settings.monitor) == ("off", False)


def test_every_variable_that_the_code_reads_is_on_the_page() -> None:
    files = [ROOT / "celeryconfig.py"]
    files += [
        path
        for room in ("celeriac", "engine", "api", "worker", "nodes")
        for path in (ROOT / room).rglob("*.py")
    ]
    read = {
        name
        for path in files
        for name in re.findall(r"\"(CELERIAC_[A-Z_]*[A-Z]|[A-Z]+_URL)\"", path.read_text(encoding="utf-8"))
    }
    assert read - set(DEFAULTS) - FOR_TESTS - BETWEEN_PROCESSES == set()


def test_fixed_limits_have_the_value_that_the_code_has() -> None:
    fixed = {place.strip("`"): value for _, value, place in ROWS if re.fullmatch(r"`[\w.]+:[\w.]+`", place)}
    assert len(fixed) > 10
    assert {place: value_of(place) for place in fixed} == {
        place: number(value) for place, value in fixed.items()
    }


def value_of(place: str) -> object:
    module, _, path = place.partition(":")
    first, *rest = path.split(".")
    found = getattr(importlib.import_module(module), first)
    if isinstance(found, type) and dataclasses.is_dataclass(found):
        found = found()
    return reduce(getattr, rest, found)
