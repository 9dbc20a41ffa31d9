"""What an author says of a webhook or a form, read and checked. Pure.

Its shape is the schema's business (`trigger.webhook`, `trigger.form`); here is what a schema cannot say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from celeriac.duration import seconds
from engine.triggers import paths
from engine.triggers.spec import Fault
from engine.triggers.verification import Verify

Respond = Literal["immediately", "last_node", "respond_node"]

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
LONGEST_DEADLINE: Final = 60
"""Seconds that a sender may be kept waiting for an answer."""
LONGEST_TOLERANCE: Final = 86_400

_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class Webhook:
    """How requests arrive: at a named path or at one with a secret, by which methods, verified how, and what is answered."""

    path: str | None
    methods: tuple[str, ...]
    verify: Verify
    respond: Respond
    deadline: float

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> Webhook:
        """Read a config without faults."""
        method = config.get("method", "POST")
        return cls(
            path=config.get("path"),
            methods=METHODS if method == "ANY" else (method,) if isinstance(method, str) else tuple(method),
            verify=Verify.parse(config.get("verify", "hmac")),
            respond=config.get("respond", "immediately"),
            deadline=seconds(config.get("deadline", 10)),
        )


def faults(config: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield what is wrong with the values of a config; what is no value of its kind is the schema's business."""
    path, verify = config.get("path"), config.get("verify", "hmac")
    if isinstance(path, str) and (why := paths.fault(path)) is not None:
        yield Fault(
            ("path",),
            f"`path` is {path[:60]!r}, which is no address: {why}.",
            "Write it like /orders/{order}.",
        )
    scheme = verify.get("scheme") if isinstance(verify, dict) else verify
    if isinstance(path, str) and scheme == "none":
        where = ("verify", "scheme") if isinstance(verify, dict) else ("verify",)
        message = "A named path can be guessed, so requests there have to be verified."
        yield Fault(where, message, "Leave `path` out for an address that is a secret itself, or verify.")
    if isinstance(verify, dict):
        yield from _verify(verify)
    if (deadline := _seconds(config.get("deadline"))) is not None and not 0 < deadline <= LONGEST_DEADLINE:
        yield Fault(("deadline",), f"`deadline` is not between 0 and {LONGEST_DEADLINE} seconds.", None)


def _verify(verify: Mapping[str, Any]) -> Iterator[Fault]:
    tolerance = _seconds(verify.get("tolerance"))
    if tolerance is not None and not 1 <= tolerance <= LONGEST_TOLERANCE:
        yield Fault(("verify", "tolerance"), "`tolerance` is not between a second and a day.", None)
    for name in ("header", "delivery_id"):
        header = verify.get(name)
        if isinstance(header, str) and not _HEADER.fullmatch(header):
            yield Fault(
                ("verify", name), f"{header[:64]!r} is no name of a header.", "Write it like X-My-Id."
            )


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return seconds(value)
    except ValueError:
        return None
