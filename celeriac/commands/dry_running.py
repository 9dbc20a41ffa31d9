"""`celeriac run --dry`: what a definition would call, shown in this process and called by nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celeriac.commands import definitions, payloads
from celeriac.commands.terminal import FAILED, SUCCEEDED, answered, error_text, paint, show
from celeriac.outcomes import Json

if TYPE_CHECKING:
    from engine.registry import Registry
    from engine.rehearsal.mocks import Mocks


def show_calls(file: Path, payload: Json, mocks: str | None, *, as_json: bool) -> int:
    """Print what would be called; return the exit code: whether the dry run came to the end."""
    from engine.rehearsal.dry import dry_run
    from engine.settings import from_environment

    registry = definitions.load_registry()
    document = definitions.sound(file, registry)
    given = _mocks(mocks, document, registry)
    done = dry_run(document, payload, given, registry, from_environment().limits)
    body = done.to_json()
    show(body, as_json, lambda: "\n".join(_lines(body)))
    return SUCCEEDED if body["status"] == "succeeded" else FAILED


def _mocks(text: str | None, document: dict[str, Json], registry: Registry) -> Mocks:
    """Return the mocks an option means. Raises `Refused` with every mistake in them."""
    from celeriac.client import Refused
    from engine.checking.problems import check_tests
    from engine.rehearsal.mocks import Mocks

    value: Any = payloads.read(text, "--mocks")
    tests = json.dumps({"tests": [{"name": "dry run", "mocks": value}]})
    _, problems = check_tests(tests, document, registry)
    if problems:
        found = [
            {
                **each.to_json(),
                "pointer": each.pointer.removeprefix("/tests/0/mocks"),
                "line": None,
                "column": None,
            }
            for each in problems
        ]
        raise Refused("test.bad_mocks", "--mocks cannot be used.", status=422, errors=found)
    return Mocks.parse(value)


def _lines(body: dict[str, Any]) -> Iterator[str]:
    """Yield each call with its config, and how it ends."""
    if not body["calls"]:
        yield "nothing with an effect would be called"
    for number, each in enumerate(body["calls"], 1):
        name = f"{each['node']}[{each['item']}]" if "item" in each else each["node"]
        what = " ".join(str(each[key]) for key in ("method", "url") if key in each) or each["type"]
        notes = [each["effect"], *(["mocked"] if each["mocked"] else [])]
        if "attempt" in each:
            notes.append(f"attempt {each['attempt']}")
        yield f"{number:>3}  {paint(name, 'bold')}  {what}  {paint(', '.join(notes), 'dim')}"
        text = json.dumps(each["config"], indent=2, ensure_ascii=False)
        yield "\n".join(f"     {line}" for line in text.splitlines())
        if "unknown" in each:
            yield f"     not known: {', '.join(each['unknown'])}"
    if "answer" in body:
        yield f"would have {answered(body['answer'])}"
    for each in body.get("stopped", ()):
        yield f"{paint('stopped', 'waiting')} at {each['node']}: {each['message']} ({each['code']})"
        yield f"  {each['hint']}"
    if "error" in body:
        yield f"would be {paint(body['status'], body['status'])}"
        yield error_text(body["error"])
    if "output" in body:
        yield f"would be {paint('succeeded', 'succeeded')}, with the result"
        yield json.dumps(body["output"], indent=2, ensure_ascii=False)
    elif "error" not in body and "stopped" not in body:
        yield f"would be {paint(body['status'], body['status'])}"
