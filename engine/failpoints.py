"""Places where a test may break the engine on purpose. In production every one of them is a no-op.

`CELERIAC_FAILPOINTS="claim.after=kill@3;publish.before=sleep:3;commit.after=raise%0.02"` arms them, and only when
`CELERIAC_TEST=1` is set too. `@N` fires on the N-th hit only, `%P` with probability P, otherwise on every hit.
To raise after something has been done is to lose the word of it: what was done is done, and whoever asked does not know.
`CELERIAC_FAILPOINTS_LOG` names a file that gets a line for each that fires, before it does.
`CELERIAC_BUG=name` plants a known bug, to prove that the checker of the fault tests would see it.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable, Mapping
from typing import Final

_RULE = re.compile(
    r"(?P<name>[a-z_.]+)=(?P<action>kill|stop|raise|sleep:(?P<seconds>[\d.]+))(@(?P<nth>\d+)|%(?P<share>[\d.]+))?"
)

PLACES: Final[Mapping[str, str]] = {
    "claim.before": "a worker has taken a message, and has asked nothing yet",
    "claim.after": "a worker holds a segment",
    "effect.before": "everything is durable that has to be before an effect starts",
    "effect.after": "an effect has happened, and nothing is written of it",
    "settle.before": "a segment is through, and its end is not asked for yet",
    "settle.fenced": "inside the transaction, the end of a segment has passed the fence",
    "answer.before": "an execution has answered, and whoever waits does not know",
    "dispatch.before": "a segment has ended, and what follows has not been sent",
    "rest.after": "a segment rests in a wait, and what was sent to it meanwhile is not sent on",
    "emit.after": "an event is published, and whom it wakes is not sent",
    "return.before": "a called execution has ended, and its caller does not know",
    "publish.before": "messages are about to be sent",
    "publish.after": "messages have been sent",
    "api.publish.before": "an execution is accepted, and its first message is not sent",
    "arrive.after": "a delivery to a webhook is accepted, and nothing is sent",
    "publish.accepted": "an event is accepted, and nothing is sent",
    "fire.after": "what a schedule stands for is started, and nothing is sent",
    "backfill.after": "a piece of a backfill is started, and nothing is sent",
    "mail.read": "mails are read, and nothing is written of them",
    "mail.taken": "mails have started executions, and nothing is sent",
    "commit.before": "the ledger's batch is written, and not committed",
    "commit.after": "the ledger's batch is committed, and nobody knows",
    "database.connect": "a conversation with the database begins",
    "database.begin": "a transaction begins",
    "database.statement": "a statement is run",
    "broker.before": "something is about to be asked of the broker",
    "broker.after": "the broker has answered",
    "network.dial": "a connection to somewhere outside is about to be made",
}
"""Every place, and how things stand there."""


class FailpointError(ConnectionError):
    """Raised by an armed failpoint. It looks like what breaks in practice: a connection."""


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
    if environment.get("CELERIAC_TEST") != "1":
        return {}
    rules = parse(environment.get("CELERIAC_FAILPOINTS", ""))
    if unknown := sorted(rules.keys() - PLACES):
        message = f"There is no failpoint {unknown[0]!r}; there are {', '.join(PLACES)}."
        raise ValueError(message)
    return rules


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
    _tell(f"{name} {rule['action']}")
    if rule["action"] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif rule["action"] == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif rule["action"] == "raise":
        raise FailpointError(name)
    else:
        time.sleep(float(rule["seconds"]))


def _tell(text: str) -> None:
    if path := os.environ.get("CELERIAC_FAILPOINTS_LOG"):
        with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123  no import more in every process for a test
            file.write(f"{text}\n")


def _pass(name: str) -> None:
    """Nothing is armed."""


failpoint: Callable[[str], None] = _fire if _rules else _pass
"""Mark a place by name, which `PLACES` knows."""


def armed() -> bool:
    """Whether any place is to break in this process."""
    return bool(_rules)


def planted(bug: str) -> bool:
    """Whether this known bug has been planted."""
    return os.environ.get("CELERIAC_TEST") == "1" and os.environ.get("CELERIAC_BUG") == bug
