"""What a hook is sent: a body that says what happened, and headers that prove who says so. Pure.

Source: Standard Webhooks 1.0 (`webhook-id`, `webhook-timestamp`, `webhook-signature`). Beside it stands a signature of
the body alone, `X-Webhook-Signature: sha256=HEX`, for receivers that know no other.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from celeriac import Json

PREFIX = "whsec_"
_BYTES = 32

TEST = "webhook.test"
"""The type of a request that only shows that the way is open."""

_LEGACY = {
    "execution.succeeded": "completed",
    "execution.failed": "failed",
    "execution.cancelled": "cancelled",
    "execution.timed_out": "timed_out",
}
"""Ends of executions, and the word that the older form of a body has for each."""

ENDS = frozenset(_LEGACY)
RESULT_BYTES = 256 * 1024
"""Up to this size the result of an execution travels along; a larger one is to be fetched."""


def make_secret(random_bytes: Callable[[int], bytes]) -> str:
    """Return a new secret."""
    return PREFIX + base64.b64encode(random_bytes(_BYTES)).decode()


def sign(id_: str, timestamp: int, body: str, secrets: Sequence[str]) -> dict[str, str]:
    """Return the headers for a body; `timestamp` is in seconds. During a rotation there are two secrets, the newer first."""
    told = f"{id_}.{timestamp}.{body}".encode()
    marks = [base64.b64encode(hmac.digest(_key(each), told, hashlib.sha256)).decode() for each in secrets]
    plain = hmac.digest(secrets[0].encode(), body.encode(), hashlib.sha256).hex()
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{each}" for each in marks),
        "X-Webhook-Signature": f"sha256={plain}",
    }


def compose(event: dict[str, Json], *, status: str | None, result: str | None, url: str) -> str:
    """Return the body for an event of the feed.

    At the end of an execution `status` is how it ended, and `result` the JSON text of what it came to, if that travels
    along; `url` is where it can be fetched.
    """
    type_ = str(event["type"])
    data = {name: each for name, each in event.items() if name not in ("type", "at")}
    body: dict[str, Json] = {"type": type_, "timestamp": iso(int(str(event["at"])))}
    if type_ in ENDS:
        body |= {
            "event": "workflow.executed",
            "workflow_id": event["workflow_id"],
            "execution_id": event["execution_id"],
            "status": _LEGACY[type_],
        }
        data |= {"status": status, "url": url}
        if result is not None:
            data["result"] = json.loads(result)
    return json.dumps({**body, "data": data}, separators=(",", ":"), ensure_ascii=False)


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX))


def iso(ms: int) -> str:
    at = datetime.fromtimestamp(ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
