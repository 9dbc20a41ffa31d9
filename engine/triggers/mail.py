"""Triggers that start something for each message that comes into a mailbox. Pure.

A row among the schedules says when it is looked at next. Its `slot` is the place in the mailbox: the UIDVALIDITY, as far as it
fits, and the UID of the last message that was taken in. The place moves on, and the executions begin, in one transaction, so a
message that was seen starts one, whoever dies. A message is known by its digest as well, so that it starts nothing again when a
server numbers its messages anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from celeriac import Json
from celeriac.duration import seconds
from engine import admission
from engine import operations as op
from engine.catalog import Versions
from engine.errors import CeleriacError
from engine.store.database import Connection
from engine.triggers.registration import EMAIL
from engine.triggers.scheduler import Due

READER: Final = "email_read"
"""The node type that reads a mailbox."""
BATCH: Final = 50
"""Messages of one look."""
AGAIN: Final = 60_000
"""Milliseconds after which a look that failed is tried again, at least."""

_VALIDITY: Final = 0x7FFFFFFF
_DUE: Final = (
    "SELECT s.id, s.name, s.kind, s.spec, s.epoch, s.slot, w.id, w.name, w.enabled, w.version_id, s.project_id "
    "FROM schedule s JOIN workflow w ON w.id = s.workflow_id "
    f"WHERE s.kind = '{EMAIL}' AND s.due IS NOT NULL AND s.due <= ? ORDER BY s.due LIMIT 20"
)


def due(connection: Connection, versions: Versions, now: int) -> list[Due]:
    """Return the triggers whose mailboxes are to be looked at."""
    return [
        Due(id_, name, kind, text, epoch, slot, versions.started(connection, *workflow))
        for id_, name, kind, text, epoch, slot, *workflow in connection.run(_DUE, (now,))
    ]


def claim(each: Due, now: int, length: int) -> tuple[op.Arrive, Due]:
    """Return what asks for the right to look alone for `length` milliseconds, and the trigger for whoever gets it."""
    until = now + (length if each.active.enabled else every(each))
    move = op.Move(each.schedule, each.epoch, each.slot, until)
    return op.Arrive((), move), replace(each, epoch=each.epoch + 1)


def every(each: Due) -> int:
    """Return how often a mailbox is looked at, in milliseconds."""
    return round(seconds(json.loads(each.text).get("every", "1m")) * 1000)


def wish(each: Due, now: int) -> dict[str, Json]:
    """Return the config of the node that reads."""
    config = json.loads(each.text)
    found: dict[str, Json] = {
        "connection": config.get("connection", "inbox"),
        "mailbox": config.get("mailbox", "INBOX"),
        "attachments": config.get("attachments", True),
        "most": BATCH,
    }
    if each.slot:
        found["after"] = {"validity": each.slot >> 32, "uid": each.slot & 0xFFFFFFFF}
        found["since"] = (datetime.fromtimestamp(now / 1000, UTC) - timedelta(days=1)).date().isoformat()
    elif not config.get("existing", False):
        found["most"] = 0
    return found


def arrive(at: admission.Accepting, each: Due, found: Mapping[str, Any], now: int) -> op.Arrive:
    """Return what is asked of the pen about what was read."""
    validity, uid = found["after"]["validity"], found["after"]["uid"]
    place = (validity & _VALIDITY) << 32 | uid
    move = op.Move(each.schedule, each.epoch, place, now if found["more"] else now + every(each), uid)
    return op.Arrive(tuple(_arrival(at, each, message, now) for message in found["messages"]), move)


def failed(each: Due, code: str, message: str, now: int) -> op.Arrive:
    """Return what is asked of the pen about a look that came to nothing."""
    detail = json.dumps({"code": code, "message": message})
    said = op.Arrival(each.schedule, "look", each.active.project, now, status="failed", detail=detail)
    return op.Arrive((said,), op.Move(each.schedule, each.epoch, each.slot, now + max(AGAIN, every(each))))


def _arrival(at: admission.Accepting, each: Due, message: Mapping[str, Any], now: int) -> op.Arrival:
    key, project = f"mail {message['digest']}", each.active.project
    payload: Json = {
        "email": {name: value for name, value in message.items() if name not in ("uid", "digest")}
    }
    about: dict[str, Json] = {"schedule": each.schedule, "delivery": str(message["digest"])}
    wanted = admission.Request(each.active, payload, kind=EMAIL, trigger=each.name, arrival=about)
    try:
        return op.Arrival(each.schedule, key, project, now, (admission.operation(at, wanted),))
    except CeleriacError as error:
        detail = json.dumps({"code": error.code, "message": error.message})
        return op.Arrival(each.schedule, key, project, now, status="failed", detail=detail)
