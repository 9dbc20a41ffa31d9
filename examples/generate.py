"""Write the two examples that nobody writes by hand: `python examples/generate.py`.

`wide` has 200 nodes side by side, `thousand` has 1,000 nodes. Both come from a fixed seed, so that running this again
changes nothing. What they have to come to is worked out here in plain Python, without asking the engine.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
SCHEMA = "https://celeriac.dev/schemas/workflow/v1.json"

STATIONS = 200
READINGS = 4
VANS = 27
STOPS = 37
HANDOVER = 18
START = 6 * 60


def main() -> None:
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def files() -> dict[str, str]:
    """Return the text of every generated file, by its path below `examples/`."""
    found = {}
    for name, (definition, payload, output) in {"wide": wide(), "thousand": thousand()}.items():
        found[f"{name}.json"] = _text(definition)
        found[f"inputs/{name}.json"] = _text(payload)
        found[f"expected/{name}.json"] = _text({"status": "succeeded", "output": output})
    return found


def wide() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """200 weather stations are read at once, and one node looks at all of them."""
    names = [f"s{number:03}" for number in range(1, STATIONS + 1)]
    everything = ", ".join(f"nodes.{name}.output" for name in names)
    nodes: list[dict[str, Any]] = [
        {
            "id": name,
            "type": "set",
            "config": {
                "values": {
                    "station": f"{{{{ stations[{index}].name }}}}",
                    "mean": f"{{{{ (stations[{index}].readings | sum) / (stations[{index}].readings | length) }}}}",
                    "lowest": f"{{{{ stations[{index}].readings | min }}}}",
                }
            },
        }
        for index, name in enumerate(names)
    ]
    nodes.append({"id": "network", "type": "transform", "config": {"expression": f"[{everything}]"}})
    nodes.append(
        {
            "id": "bulletin",
            "type": "set",
            "config": {
                "values": {
                    "stations": "{{ nodes.network.output | length }}",
                    "warmest": "{{ (nodes.network.output | sort(attribute='mean') | last).station }}",
                    "coldest": "{{ (nodes.network.output | sort(attribute='mean') | first).station }}",
                    "with_frost": "{{ nodes.network.output | selectattr('lowest', 'lt', 0) | list | length }}",
                    "mean": f"{{{{ (nodes.network.output | sum(attribute='mean')) / {STATIONS} }}}}",
                }
            },
        }
    )
    edges = [{"from": name, "to": "network"} for name in names] + [{"from": "network", "to": "bulletin"}]
    stations = _stations()
    means = {each["name"]: sum(each["readings"]) / READINGS for each in stations}
    output = {
        "bulletin": {
            "stations": STATIONS,
            "warmest": max(means, key=means.__getitem__),
            "coldest": min(means, key=means.__getitem__),
            "with_frost": sum(min(each["readings"]) < 0 for each in stations),
            "mean": sum(means.values()) / STATIONS,
        }
    }
    about = "A weather bulletin. 200 stations are looked at side by side, then one node looks at all of them."
    return _definition("weather-bulletin", about, nodes, edges), {"stations": stations}, output


def thousand() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """27 delivery vans with 37 stops each. At one stop every second van waits for its neighbour and takes parcels over."""
    rounds = _rounds()
    nodes: list[dict[str, Any]] = []
    edges: list[dict[str, str]] = []
    left: dict[tuple[int, int], int] = {}
    for van in range(VANS):
        for stop in range(STOPS):
            before = f"nodes.{_stop(van, stop - 1)}.output" if stop else "vars.start"
            ready = left[van, stop - 1] if stop else START
            if stop:
                edges.append({"from": _stop(van, stop - 1), "to": _stop(van, stop)})
            if stop == HANDOVER and van % 2 == 1:
                neighbour = _stop(van - 1, stop - 1)
                before = f"max({before}, nodes.{neighbour}.output)"
                ready = max(ready, left[van - 1, stop - 1])
                edges.append({"from": neighbour, "to": _stop(van, stop)})
            drive, unload = rounds[van][stop]
            left[van, stop] = ready + drive + unload
            minutes = f"rounds[{van}][{stop}]"
            expression = f"{before} + ({minutes} | sum)"
            nodes.append({"id": _stop(van, stop), "type": "transform", "config": {"expression": expression}})
    ends = [_stop(van, STOPS - 1) for van in range(VANS)]
    everything = ", ".join(f"nodes.{each}.output" for each in ends)
    nodes.append(
        {
            "id": "day",
            "type": "set",
            "config": {
                "values": {
                    "stops": VANS * STOPS,
                    "first_van_back": f"{{{{ [{everything}] | min }}}}",
                    "last_van_back": f"{{{{ [{everything}] | max }}}}",
                }
            },
        }
    )
    edges += [{"from": each, "to": "day"} for each in ends]
    back = [left[van, STOPS - 1] for van in range(VANS)]
    output = {"day": {"stops": VANS * STOPS, "first_van_back": min(back), "last_van_back": max(back)}}
    about = (
        "The day of a delivery depot, in minutes since midnight: 27 vans, 37 stops each, and a report at the end. "
        "Half-way, every second van waits for its neighbour and takes parcels over."
    )
    definition = _definition("delivery-day", about, nodes, edges)
    definition["definition"]["variables"] = {"start": START}
    return definition, {"rounds": rounds}, output


def _stations() -> list[dict[str, Any]]:
    """Return stations with readings in tenths of a degree, colder the higher they stand, no two with the same mean."""
    draw = random.Random(2031)  # noqa: S311  a fixed seed is the point
    found: list[dict[str, Any]] = []
    means: set[int] = set()
    while len(found) < STATIONS:
        height = draw.randrange(0, 2400)
        noon = 190 - height // 10 + draw.randrange(-40, 40)
        readings = [noon + shift + draw.randrange(-15, 15) for shift in (-60, 0, 20, -35)]
        if sum(readings) not in means:
            means.add(sum(readings))
            found.append({"name": f"WX-{len(found) + 1:03} ({height} m)", "readings": readings})
    return found


def _rounds() -> list[list[list[int]]]:
    """Return for each van and stop the minutes of driving there and of unloading."""
    draw = random.Random(1907)  # noqa: S311  a fixed seed is the point
    return [[[draw.randrange(3, 14), draw.randrange(1, 6)] for _ in range(STOPS)] for _ in range(VANS)]


def _stop(van: int, stop: int) -> str:
    return f"van{van + 1:02}_stop{stop + 1:02}"


def _definition(
    name: str, description: str, nodes: list[dict[str, Any]], edges: list[dict[str, str]]
) -> dict[str, Any]:
    return {
        "$schema": SCHEMA,
        "name": name,
        "description": description,
        "definition": {"nodes": nodes, "edges": edges},
    }


def _text(value: Any) -> str:
    """Return JSON with one entry of a list a line, which a person can scroll through and a diff can show."""
    return _written(value, 0) + "\n"


def _written(value: Any, depth: int) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(flat) <= 100:
        return flat
    inner = " " * (2 * depth + 2)
    parts: Iterable[str] = (
        (f"{json.dumps(key)}: {_written(each, depth + 1)}" for key, each in value.items())
        if isinstance(value, dict)
        else (json.dumps(each, ensure_ascii=False) for each in value)
    )
    left, right = "{}" if isinstance(value, dict) else "[]"
    return f"{left}\n{inner}" + f",\n{inner}".join(parts) + f"\n{' ' * (2 * depth)}{right}"


if __name__ == "__main__":
    main()
