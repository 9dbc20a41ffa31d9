"""`celeriac test`: the tests of definitions, performed in this process, without network, broker and waiting."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celeriac.commands import definitions, reach
from celeriac.commands.loop import drive
from celeriac.commands.terminal import (
    FAILED,
    AsJson,
    Url,
    answering,
    lasting,
    paint,
    problem_text,
    refuse,
    say,
    show,
)
from celeriac.outcomes import Json

if TYPE_CHECKING:
    from celeriac.client import Client
    from engine.registry import Registry
    from engine.rehearsal.rehearsal import Report
    from engine.rehearsal.trial import Trial

_RECORDABLE = ("succeeded", "failed", "timed_out")
_MOST = 20
"""How many things that no test has reached are listed for people."""


def run_tests(
    files: definitions.Files,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="TEXT", help="Only tests whose name holds it; with --record, the name."
        ),
    ] = None,
    least: Annotated[
        float | None,
        typer.Option(
            "--coverage-min",
            min=0,
            max=100,
            metavar="PERCENT",
            help="Fail when less of a definition is reached.",
        ),
    ] = None,
    record: Annotated[
        str | None,
        typer.Option("--record", metavar="EXECUTION", help="Make a test of an execution that has ended."),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Run the tests of definitions: those in `tests` of FILE.json, and those in FILE.tests.json beside it.

    Nothing leaves this process: what would have an effect needs a mock. Exits with 0 when all passed, 1 when some did
    not or less than --coverage-min was reached, 2 when a definition or a test is bad.
    """
    with answering(as_json):
        registry = definitions.load_registry()
        if record is not None:
            if len(files) != 1:
                refuse("usage.option", "An execution is recorded for one definition.", "Name one FILE.")
            _record(files[0], record, name, registry, url, as_json=as_json)
            return
        began = time.perf_counter()
        found = [(file, *_read(file, registry)) for file in _definitions(files)]
        found = [
            (file, document, [each for each in tests if name is None or name in each.name])
            for file, document, tests in found
        ]
        if not any(tests for _, _, tests in found):
            hint = "Write some into `tests` of the definition, or record one: celeriac test FILE --record EXECUTION"
            refuse("test.none", "There is no test to run.", hint)
        from engine.rehearsal.rehearsal import rehearse
        from engine.settings import from_environment

        limits = from_environment().limits
        reports = [
            (file, rehearse(document, tests, registry, time.perf_counter, limits))
            for file, document, tests in found
        ]
        body = _body(reports, least, (time.perf_counter() - began) * 1000)
        show(body, as_json, lambda: "\n".join(_lines(body, least)))
        if body["failed"] or body["uncovered"]:
            raise typer.Exit(FAILED)


def _definitions(files: Sequence[Path]) -> list[Path]:
    """Return the definitions that are meant, each once; a file of tests means the definition beside it."""
    meant = [
        file.with_name(file.name.removesuffix(definitions.TESTS) + ".json")
        if file.name.endswith(definitions.TESTS)
        else file
        for file in files
    ]
    return list(dict.fromkeys(meant))


def _beside(file: Path) -> Path:
    return file.with_name(file.stem + definitions.TESTS)


def _read(file: Path, registry: Registry) -> tuple[dict[str, Json], list[Trial]]:
    """Return a definition and its tests. Raises `Refused` with every mistake in either file."""
    from engine.rehearsal.trial import Trial

    document = definitions.sound(file, registry)
    written: Any = document.get("tests", [])
    beside = _beside(file)
    if beside.exists():
        more = _sound_tests(beside, document, registry)
        if taken := {each["name"] for each in written} & {each["name"] for each in more}:
            message = f"{beside} has a test of the same name as {file}: {min(taken)}."
            refuse("test.duplicate_name", message, "Say what makes one of them different.")
        written = [*written, *more]
    return document, [Trial.parse(each) for each in written]


def _sound_tests(file: Path, document: dict[str, Json], registry: Registry) -> list[dict[str, Any]]:
    """Return the tests of a file as they are written. Raises `Refused` with every mistake in them."""
    from celeriac.client import Refused
    from engine.checking.problems import check_tests
    from engine.settings import from_environment

    value, problems = check_tests(definitions.read_file(file), document, registry, from_environment().limits)
    if problems or not isinstance(value, dict):
        found = [{"file": str(file), **each.to_json()} for each in problems]
        count = "one mistake" if len(found) == 1 else f"{len(found)} mistakes"
        raise Refused("definition.invalid", f"{file} has {count}.", status=422, errors=found)
    tests: Any = value["tests"]
    return list(tests)


def _body(reports: Sequence[tuple[Path, Report]], least: float | None, ms: float) -> dict[str, Any]:
    files = [
        {
            "file": str(file),
            "tests": [each.to_json() for each in report.results],
            "coverage": report.coverage.to_json(),
        }
        for file, report in reports
    ]
    passed = [each.passed for _, report in reports for each in report.results]
    return {
        "passed": sum(passed),
        "failed": len(passed) - sum(passed),
        "ms": round(ms, 1),
        "files": files,
        "uncovered": [
            str(file) for file, report in reports if least is not None and report.coverage.percent < least
        ],
    }


def _lines(body: dict[str, Any], least: float | None) -> Iterator[str]:
    """Yield what a person wants to see: each test, what is wrong with it, and what no test has reached."""
    for file in body["files"]:
        yield paint(file["file"], "bold")
        for each in file["tests"]:
            word, style = ("ok    ", "ok") if each["passed"] else ("failed", "failed")
            yield f"  {paint(word, style)}  {each['name']}  {paint(lasting(each['ms']), 'dim')}"
            for miss in each.get("misses", ()):
                yield f"          {miss['message']} ({miss['code']})"
                if "hint" in miss:
                    yield f"            {miss['hint']}"
        yield from _coverage_lines(file["coverage"], short=file["file"] in body["uncovered"], least=least)
    counts = f"{body['passed']} passed" + (f", {body['failed']} failed" if body["failed"] else "")
    style = "failed" if body["failed"] or body["uncovered"] else "ok"
    yield f"{paint(counts, style)} in {lasting(body['ms'])}"


def _coverage_lines(coverage: dict[str, Any], *, short: bool, least: float | None) -> Iterator[str]:
    nodes, edges = coverage["nodes"], coverage["edges"]
    line = (
        f"  reached {coverage['percent']:g} %: {nodes['reached']} of {nodes['all']} nodes, "
        f"{edges['reached']} of {edges['all']} edges"
    )
    yield paint(f"{line}; at least {least:g} % are wanted", "failed") if short else line
    for words, each in (("nodes", nodes), ("edges", edges)):
        if each["missed"]:
            more = f" and {len(each['missed']) - _MOST} more" if len(each["missed"]) > _MOST else ""
            yield f"    {words} that no test reached: {', '.join(each['missed'][:_MOST])}{more}"


def _record(
    file: Path, execution: str, name: str | None, registry: Registry, url: str | None, *, as_json: bool
) -> None:
    """Write a test into the file beside the definition: the execution's input, what its effects came to, its result."""
    from engine.rehearsal.recording import recorded

    file = _definitions([file])[0]
    document = definitions.sound(file, registry)
    beside = _beside(file)
    there = _sound_tests(beside, document, registry) if beside.exists() else []

    async def ask() -> tuple[dict[str, Any], list[dict[str, Any]]]:
        async with reach.api(url) as client:
            return await _asked(client, execution)

    body, nodes = drive(ask())
    if body["workflow"]["name"] != document["name"]:
        message = (
            f"{execution} is of the workflow {body['workflow']['name']}, and {file} is {document['name']}."
        )
        refuse("test.other_workflow", message, "Name the file of its definition.")
    made = recorded(body, nodes, name or f"as in {execution}")
    kept = [each for each in there if each["name"] != made["name"]]
    text = json.dumps({"tests": [*kept, made]}, indent=2, ensure_ascii=False) + "\n"
    beside.write_text(text, encoding="utf-8")
    show({"file": str(beside), "test": made}, as_json, lambda: f"{beside}: {made['name']}")
    _, problems = _checked(text, document, registry)
    for each in problems:
        say(problem_text({"file": str(beside), **each.to_json(), "severity": "warning"}))


def _checked(text: str, document: dict[str, Json], registry: Registry) -> tuple[Any, list[Any]]:
    from engine.checking.problems import check_tests

    return check_tests(text, document, registry)


async def _asked(client: Client, execution: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    body = await client.execution(execution, with_input=True)
    if body["status"] not in _RECORDABLE:
        message = f"The execution {execution} is {body['status']}; only one that ended by itself is recorded."
        refuse("test.not_recordable", message, f"Look at it: celeriac executions show {execution}")
    return body, await client.nodes(execution, with_output=True)
