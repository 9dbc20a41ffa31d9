"""What is wrong with the ways in: triggers that would never fire, and an `inputs` that is no schema."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator, Mapping
from typing import Any, Final

from celeriac.duration import seconds
from engine.checking.finding import Finding, Guesses, did_you_mean
from engine.checking.outline import BODY, TRIGGERS, Outline
from engine.checking.schemas import flaws
from engine.checking.source import Path
from engine.definition import TRIGGER

_CRON_FIELDS: Final = 5
_SHORTEST_PAUSE: Final = 1.0
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
    cron, every, timezone = config.get("cron"), config.get("every"), config.get("timezone")
    if isinstance(cron, str) and not _is_cron(cron):
        message = f"`cron` is {cron[:40]!r}, which is no time table."
        hint = "Five fields: minute, hour, day of month, month, day of week. 0 9 * * 1-5 is nine o'clock on weekdays."
        yield Finding((*path, "cron"), _BAD_CONFIG, message, hint)
    if isinstance(every, int | float | str) and not isinstance(every, bool) and _is_hasty(every):
        message = "`every` is shorter than a second."
        yield Finding(
            (*path, "every"), _BAD_CONFIG, message, "Write 1s at least; a map or a loop repeats faster."
        )
    if isinstance(timezone, str) and not _is_timezone(timezone):
        names = zoneinfo.available_timezones()
        remedy = did_you_mean(guesses.nearest(timezone, names), "Write a name like Europe/Berlin, or UTC.")
        yield Finding((*path, "timezone"), _BAD_CONFIG, f"There is no time zone {timezone[:40]!r}.", remedy)


def _is_cron(text: str) -> bool:
    from croniter import croniter

    return len(text.split()) == _CRON_FIELDS and croniter.is_valid(text)


def _is_hasty(every: float | str) -> bool:
    try:
        return seconds(every) < _SHORTEST_PAUSE
    except ValueError:
        return False  # The schema says so already.


def _is_timezone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
