"""Places where a test may break the engine on purpose. In production every one of them is a no-op.

`CELERIAC_FAILPOINTS="claim.after=kill@3;publish.before=sleep:3;commit.after=raise%0.02"` arms them, and only when
`CELERIAC_TEST=1` is set too. `@N` fires on the N-th hit only, `%P` with probability P, otherwise on every hit.
`CELERIAC_BUG=name` plants a known bug, to prove that the checker of the fault tests would see it.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable, Mapping

_RULE = re.compile(
    r"(?P<name>[a-z_.]+)=(?P<action>kill|stop|raise|sleep:(?P<seconds>[\d.]+))(@(?P<nth>\d+)|%(?P<share>[\d.]+))?"
)


class FailpointError(RuntimeError):
    """Raised by an armed failpoint."""


def parse(text: str) -> dict[str, re.Match[str]]:
    """Read rules by name. Raises `ValueError` for one that cannot be read."""
    rules = {}
    for part in filter(None, text.split(";")):
        match = _RULE.fullmatch(part.strip())
        if match is None:
            message = f"Cannot read the failpoint {part!r}; write name=kill|stop|raise|sleep:SECONDS[@N|%P]."
            raise ValueError(message)
        rules[match["name"]] = match
    return rules


def _armed(environment: Mapping[str, str]) -> dict[str, re.Match[str]]:
    return (
        parse(environment.get("CELERIAC_FAILPOINTS", "")) if environment.get("CELERIAC_TEST") == "1" else {}
    )


_rules = _armed(os.environ)
_hits: dict[str, int] = {}


def _fire(name: str) -> None:
    rule = _rules.get(name)
    if rule is None:
        return
    _hits[name] = _hits.get(name, 0) + 1
    if rule["nth"] and _hits[name] != int(rule["nth"]):
        return
    if rule["share"] and random.random() >= float(rule["share"]):  # noqa: S311  no secret
        return
    if rule["action"] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif rule["action"] == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif rule["action"] == "raise":
        raise FailpointError(name)
    else:
        time.sleep(float(rule["seconds"]))


def _pass(name: str) -> None:
    """Nothing is armed."""


failpoint: Callable[[str], None] = _fire if _rules else _pass
"""Mark a place by name."""


def planted(bug: str) -> bool:
    """Whether this known bug has been planted."""
    return os.environ.get("CELERIAC_TEST") == "1" and os.environ.get("CELERIAC_BUG") == bug
