"""Places where a test may break the engine on purpose. In production every one of them is a no-op.

`CELERIAC_FAILPOINTS="claim.after=kill@3;publish.before=sleep:3;commit.after=raise%0.02"` arms them, and only when
`CELERIAC_TEST=1` is set too. `@N` fires on the N-th hit only, `%P` with probability P, otherwise on every hit.
`CELERIAC_FAILPOINTS=file:PATH` takes the rules from a file, anew whenever it changes, and notes in `PATH.fired` what fired. Of
all processes with the same file only the first one fires a rule with `@N`. `*=note` notes every place that is come to.

`failpoint(NAME)` marks a place inside. `@crossing("database.commit")` names a function that leaves the process, and
with it the places `database.commit.before` and `database.commit.after`: whatever touches database, broker, network or clock
has one, which a house test sees to. To raise at `.after` is what a lost answer is: it was done, and nobody was told.
`CELERIAC_BUG=name` plants a known bug, to prove that the checker of the fault tests would see it.
"""

from __future__ import annotations

import inspect
import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

_RULE = re.compile(
    r"(?P<name>[a-z_.]+|\*)=(?P<action>kill|stop|raise|note|sleep:(?P<seconds>[\d.]+))"
    r"(@(?P<nth>\d+)|%(?P<share>[\d.]+))?"
)


class FailpointError(RuntimeError):
    """Raised by an armed failpoint."""


def parse(text: str) -> dict[str, re.Match[str]]:
    """Read rules by name. Raises `ValueError` for one that cannot be read."""
    rules = {}
    for part in filter(None, text.split(";")):
        match = _RULE.fullmatch(part.strip())
        if match is None:
            message = (
                f"Cannot read the failpoint {part!r}; write name=kill|stop|raise|note|sleep:SECONDS[@N|%P]."
            )
            raise ValueError(message)
        rules[match["name"]] = match
    return rules


F = TypeVar("F", bound=Callable[..., Any])
Fault = Callable[[str], Exception]
"""Makes the error that a place raises, of its name: one that the outside could have caused."""

_BY_FILE = "file:"


def _armed(environment: Mapping[str, str]) -> dict[str, re.Match[str]]:
    text = environment.get("CELERIAC_FAILPOINTS", "")
    if environment.get("CELERIAC_TEST") != "1" or text.startswith(_BY_FILE):
        return {}
    return parse(text)


def _file(environment: Mapping[str, str]) -> Path | None:
    text = environment.get("CELERIAC_FAILPOINTS", "")
    of_file = environment.get("CELERIAC_TEST") == "1" and text.startswith(_BY_FILE)
    return Path(text.removeprefix(_BY_FILE)) if of_file else None


_rules = _armed(os.environ)
_path = _file(os.environ)
_changed = [0]
"""When the file of rules was last written, as far as is known."""
_hits: dict[str, int] = {}
_lock = threading.Lock()

CROSSINGS: dict[str, bool] = {}
"""Every crossing that has been named so far, and whether it can fail by itself (a clock cannot)."""


def _fire(name: str, fault: Fault | None = FailpointError) -> None:
    with _lock:
        _look()
        rule = _rules.get(name) or _rules.get("*")
        if rule is None:
            return
        _hits[name] = _hits.get(name, 0) + 1
        if rule["nth"] and _hits[name] != int(rule["nth"]):
            return
        if rule["share"] and random.random() >= float(rule["share"]):  # noqa: S311  no secret
            return
        if _path is not None and not _note(_path.with_suffix(".fired"), name, rule):
            return
    if rule["action"] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif rule["action"] == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif rule["action"] == "raise":
        if fault is not None:
            raise fault(name)
    elif rule["action"] != "note":
        time.sleep(float(rule["seconds"]))


def _note(path: Path, name: str, rule: re.Match[str]) -> bool:
    """Write down that a place is broken, and by whom. Returns whether it is to be: a rule for one hit is for one process."""
    try:
        with path.open("x" if rule["nth"] else "a", encoding="utf-8") as file:
            file.write(f"{name} {os.getpid()}\n")
    except FileExistsError:
        return False
    return True


def _look() -> None:
    """Read the rules anew if their file has changed."""
    if _path is None or (changed := _path.stat().st_mtime_ns if _path.exists() else 0) == _changed[0]:
        return
    _changed[0] = changed
    _rules.clear()
    _rules.update(parse(_path.read_text(encoding="utf-8")) if changed else {})
    _hits.clear()


def _pass(name: str) -> None:
    """Nothing is armed."""


ARMED = bool(_rules) or _path is not None
failpoint: Callable[[str], None] = _fire if ARMED else _pass
"""Mark a place by name."""


def crossing(name: str, fault: Fault | None = FailpointError) -> Callable[[F], F]:
    """Name a function that leaves the process. Without any rule it is the function itself: that costs nothing.

    `fault` makes the error that is raised before or after it, of the place's name; None for what cannot fail.
    """
    CROSSINGS[name] = fault is not None
    return (lambda function: _watched(function, name, fault)) if ARMED else (lambda function: function)


def _watched(function: F, name: str, fault: Fault | None) -> F:
    before, after = f"{name}.before", f"{name}.after"

    @wraps(function)
    def called(*args: Any, **options: Any) -> Any:
        _fire(before, fault)
        answer = function(*args, **options)
        _fire(after, fault)
        return answer

    @wraps(function)
    async def awaited(*args: Any, **options: Any) -> Any:
        _fire(before, fault)
        answer = await function(*args, **options)
        _fire(after, fault)
        return answer

    return awaited if inspect.iscoroutinefunction(function) else called  # type: ignore[return-value]


def planted(bug: str) -> bool:
    """Whether this known bug has been planted."""
    return os.environ.get("CELERIAC_TEST") == "1" and os.environ.get("CELERIAC_BUG") == bug
