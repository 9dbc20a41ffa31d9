"""What is wrong with the ways in: triggers that would never fire, and an `inputs` that is no schema."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator, Mapping
from typing import Any, Final

from engine.checking.finding import Finding, Guesses, did_you_mean
from engine.checking.outline import BODY, TRIGGERS, Outline
from engine.checking.schemas import flaws
from engine.checking.source import Path
from engine.definition import TRIGGER
from engine.triggers import events, forms, webhooks
from engine.triggers.spec import faults

_FAULTS: Final = {"webhook": webhooks.faults, "event": events.faults}
_BAD_CONFIG: Final = "definition.bad_config"


def entrances(outline: Outline, guesses: Guesses) -> Iterator[Finding]:
    """Yield what is wrong with triggers and `inputs`, besides their shape."""
    seen: dict[str, int] = {}
    for path, trigger in outline.triggers:
        if len(path) > len(TRIGGERS):
            yield from _duplicate_id(path, trigger, seen)
        config = trigger.get("config")
        if trigger.get("type") == "schedule" and isinstance(config, dict):
            yield from _schedule((*path, "config"), config, guesses)
        kind = trigger.get("type")
        if kind == "form":
            for fault in forms.faults(outline.body.get("inputs")):
                yield Finding(path, _BAD_CONFIG, fault.message, fault.hint)
        if isinstance(kind, str) and kind in _FAULTS and isinstance(config, dict):
            for fault in _FAULTS[kind](config):
                yield Finding((*path, "config", *fault.path), _BAD_CONFIG, fault.message, fault.hint)
    if isinstance(outline.body.get("inputs"), dict):
        hint = "`inputs` is a JSON Schema (2020-12) of the payload."
        place: Path = (*BODY, "inputs")
        yield from flaws(place, outline.body["inputs"], "inputs", "definition.bad_inputs", hint)


def _duplicate_id(path: Path, trigger: Mapping[str, Any], seen: dict[str, int]) -> Iterator[Finding]:
    name, number = trigger.get("id", TRIGGER), int(path[-1]) + 1
    if isinstance(name, str) and seen.setdefault(name, number) != number:
        message = f"The trigger id {name} is taken: trigger {seen[name]} has it already."
        where = (*path, "id") if "id" in trigger else path
        yield Finding(where, "definition.duplicate_id", message, "Give each trigger an `id` of its own.")


def _schedule(path: Path, config: Mapping[str, Any], guesses: Guesses) -> Iterator[Finding]:
    for fault in faults(config):
        hint = fault.hint
        if fault.path == ("timezone",):
            names = zoneinfo.available_timezones()
            hint = did_you_mean(
                guesses.nearest(config["timezone"], names), "Write a name like Europe/Berlin, or UTC."
            )
        yield Finding((*path, *fault.path), _BAD_CONFIG, fault.message, hint)
