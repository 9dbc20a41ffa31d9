"""Definitions in files: checked, compiled and drawn, without any installation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celeriac.commands.terminal import REFUSED, AsJson, answering, paint, problem_text, refuse, say, show

if TYPE_CHECKING:
    from celeriac import Json
    from engine.checking.problems import Problem
    from engine.registry import Registry

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Definitions, as JSON.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A definition, as JSON.")]


TESTS = ".tests.json"
"""How the name of a file ends that holds the tests of the definition beside it."""


class Format(StrEnum):
    """How a compiled workflow is shown."""

    TREE = "tree"
    JSON = "json"
    MERMAID = "mermaid"


def validate(
    files: Files,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings count as mistakes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell every mistake in definitions, and in files of tests, each with its place and its remedy."""
    with answering(as_json):
        registry = load_registry()
        results = []
        for file in files:
            valid, problems = _checked(file, registry)
            if strict:
                problems = [replace(each, severity="error") for each in problems]
                valid = valid and not problems
            found = [each.to_json() for each in problems]
            results.append({"file": str(file), "valid": valid, "problems": found})
            if not as_json:
                for each in found:
                    say(problem_text(dict(each), str(file)))
        all_valid = all(each["valid"] for each in results)
        show(
            {"valid": all_valid, "files": results},
            as_json,
            lambda: "\n".join(_verdict(each) for each in results),
        )
        if not all_valid:
            raise typer.Exit(REFUSED)


def compile_(
    file: File,
    form: Annotated[Format, typer.Option("--format", help="How to show it.")] = Format.TREE,
    as_json: AsJson = False,
) -> None:
    """Show the Celery canvas that a definition compiles to."""
    with answering(as_json):
        registry = load_registry()
        document = sound(file, registry)
        from engine import canvas, picture
        from engine.cutting import build
        from engine.definition import Workflow

        plan = build(Workflow.parse(document), registry)
        compiled = canvas.compile(plan)
        if as_json or form is Format.JSON:
            print(json.dumps(compiled, indent=2))
        elif form is Format.MERMAID:
            print(picture.mermaid(plan), end="")
        else:
            print("\n".join(_tree(compiled or {}, "")))


def schema(as_json: AsJson = False) -> None:
    """Print the JSON Schema of definitions, with the node types installed here."""
    with answering(as_json):
        from engine import schema as schemas

        print(schemas.text(schemas.document(load_registry())), end="")


def load_registry() -> Registry:
    """Return the node types installed here."""
    from engine.registry import Registry
    from engine.settings import from_environment

    settings = from_environment()
    return Registry.load(settings.node_modules, settings.declarations)


def read_file(file: Path) -> bytes:
    """Return a file's bytes. Raises `Refused` when there is none."""
    try:
        return file.read_bytes()
    except OSError as error:
        refuse("file.unreadable", f"{file} cannot be read: {error.strerror}.", "Name a file that exists.")


def check_file(file: Path, registry: Registry) -> tuple[dict[str, Json] | None, list[Problem]]:
    """Return a file's definition, or None when it may not be used, and everything that is to be said about it."""
    from engine.checking.problems import check_text
    from engine.settings import from_environment

    document, problems = check_text(read_file(file), registry, from_environment().limits)
    if not isinstance(document, dict) or any(each.severity == "error" for each in problems):
        return None, problems
    return document, problems


def _checked(file: Path, registry: Registry) -> tuple[bool, list[Problem]]:
    """Whether a file is without mistakes: a definition, or the tests of the one beside it."""
    beside = file.with_name(file.name.removesuffix(TESTS) + ".json")
    if not file.name.endswith(TESTS) or not beside.exists():
        document, problems = check_file(file, registry)
        return document is not None, problems
    from engine.checking.problems import check_tests
    from engine.settings import from_environment

    document = sound(beside, registry)
    _, problems = check_tests(read_file(file), document, registry, from_environment().limits)
    return not problems, problems


def sound(file: Path, registry: Registry) -> dict[str, Json]:
    """Return a file's definition. Raises `Refused` with every mistake in it."""
    from celeriac.client import Refused

    document, problems = check_file(file, registry)
    if document is None:
        found: list[dict[str, Any]] = [{"file": str(file), **each.to_json()} for each in problems]
        count = "one mistake" if len(found) == 1 else f"{len(found)} mistakes"
        message = f"{file} has {count}."
        hint = f"Correct it, and look again: celeriac validate {file}"
        raise Refused("definition.invalid", message, hint=hint, status=422, errors=found)
    for each in problems:
        say(problem_text(dict(each.to_json()), str(file)))
    return document


def _verdict(result: Mapping[str, Any]) -> str:
    if result["valid"]:
        return f"{result['file']}: {paint('ok', 'ok')}"
    errors = sum(each["severity"] == "error" for each in result["problems"])
    return f"{result['file']}: {paint('one mistake' if errors == 1 else f'{errors} mistakes', 'error')}"


def _tree(signature: Mapping[str, Any], indent: str) -> Iterator[str]:
    """Yield a canvas as an indented tree."""
    kind = signature.get("subtask_type") or "segment"
    kwargs = signature.get("kwargs") or {}
    if kind == "celeriac.segment":
        options = signature.get("options") or {}
        if "see" in signature.get("show", {}):
            yield f"{indent}-> segment {signature['show']['see']}"
        else:
            shown = signature.get("show", {})
            nodes = ", ".join(shown.get("nodes", ()))
            if "region" in shown:
                yield f"{indent}inside {shown['region']}:"
                indent += "  "
            yield f"{indent}segment {shown.get('segment')} [{options.get('queue')}]: {nodes}"
    elif kind == "celeriac.join":
        yield f"{indent}join"
        for each in kwargs.get("header", ()):
            yield from _tree(each, indent + "  | ")
        yield f"{indent}  then"
        yield from _tree(kwargs.get("body") or {}, indent + "    ")
    else:
        tasks = kwargs.get("tasks", ())
        region = tasks[0].get("show", {}).get("region") if kind == "chain" else None
        if region is not None:
            yield f"{indent}inside {region}:"
            tasks = [_without_region(tasks[0]), *tasks[1:]]
            indent += "  "
        yield f"{indent}{kind}"
        for each in tasks:
            yield from _tree(each, indent + "  ")


def _without_region(signature: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in signature["show"].items() if name != "region"}
    return {**signature, "show": shown}
