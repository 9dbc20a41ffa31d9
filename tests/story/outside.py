"""The world around the story: a server of models, a mailbox, and somebody who is told of events and checks who says so."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.loopback import Asked, Server, answer, serving
from tests.mailbox import Mailbox, mailbox
from tests.models import chat

SUMMARY = "Lunch is at noon."


@dataclass
class Receiver:
    """An address outside that is told of events: it keeps what is proven, and counts what is not."""

    now: Callable[[], float]
    secret: str = ""
    told: list[dict[str, Any]] = field(default_factory=list)
    forged: int = 0

    async def handle(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """Take one request."""
        if not self._genuine(asked):
            self.forged += 1
            writer.write(answer(status="401 Unauthorized"))
            return
        self.told.append(json.loads(asked.body))
        writer.write(answer())

    def _genuine(self, asked: Asked) -> bool:
        """Check both signatures as docs/events.md says."""
        id_, stamp = asked.headers["webhook-id"], asked.headers["webhook-timestamp"]
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        mark = base64.b64encode(
            hmac.digest(key, f"{id_}.{stamp}.".encode() + asked.body, hashlib.sha256)
        ).decode()
        plain = hmac.digest(self.secret.encode(), asked.body, hashlib.sha256).hex()
        return (
            f"v1,{mark}" in asked.headers["webhook-signature"].split(" ")
            and asked.headers["x-webhook-signature"] == f"sha256={plain}"
            and abs(self.now() - int(stamp)) < 300
        )


@dataclass
class World:
    """Everything outside."""

    models: Server
    box: Mailbox
    receiver: Receiver
    receiving: Server


@contextlib.asynccontextmanager
async def world(now: Callable[[], float]) -> AsyncIterator[World]:
    """The servers for the block."""
    receiver = Receiver(now)

    async def say(asked: Asked, writer: asyncio.StreamWriter) -> None:
        known = asked.method == "POST" and asked.target == "/v1/chat/completions"
        writer.write(chat(SUMMARY) if known else answer(status="404 Not Found"))

    async with (
        serving(say) as models,
        mailbox() as box,
        serving(receiver.handle) as receiving,
    ):
        yield World(models, box, receiver, receiving)
