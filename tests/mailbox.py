"""A real mail server on loopback that keeps what it is handed, and does on demand what bad servers do."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass(slots=True)
class Mailbox:
    """What the server has taken. `answers` are what it says instead, by command; `drops` are commands it hangs up at."""

    port: int = 0
    messages: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    drops: set[str] = field(default_factory=set)
    encrypted: list[bool] = field(default_factory=list)

    async def handle_MAIL(  # noqa: N802  aiosmtpd calls it so
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        return self._said("MAIL", server, "250 OK")

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        said = self.answers.get(address) or self._said("RCPT", server, "250 OK")
        if said.startswith("250"):
            envelope.rcpt_tos.append(address)
        return said

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        said = self._said("DATA", server, "250 OK")
        if said.startswith("250"):
            content = cast("bytes", envelope.content)
            self.messages.append(message_from_bytes(content, policy=policy.default))
            self.recipients.append(list(envelope.rcpt_tos))
            self.encrypted.append(
                cast("asyncio.Transport", server.transport).get_extra_info("sslcontext") is not None
            )
        if "taken" in self.drops:
            cast("asyncio.Transport", server.transport).abort()
        return said

    def _said(self, command: str, server: SMTP, otherwise: str) -> str:
        if command in self.drops:
            cast("asyncio.Transport", server.transport).abort()
        return self.answers.get(command, otherwise)


@contextlib.asynccontextmanager
async def mailbox(
    *, tls: ssl.SSLContext | None = None, starttls: bool = False, password: str | None = None
) -> AsyncIterator[Mailbox]:
    """A server for the block, which asks for `ada` and a password if there is one."""
    box = Mailbox()
    protocols: list[SMTP] = []

    def sign_in(_: SMTP, __: Session, ___: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        good = (data.login, data.password) == (b"ada", (password or "").encode())
        return AuthResult(success=good, handled=False)

    def protocol() -> SMTP:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it does not know of the encryption around it
            made = smtp()
        protocols.append(made)
        return made

    def smtp() -> SMTP:
        return SMTP(
            box,
            hostname="localhost",
            ident="test",
            tls_context=tls if starttls else None,
            require_starttls=starttls,
            authenticator=sign_in if password else None,
            auth_required=password is not None,
            auth_require_tls=starttls,
        )

    loop = asyncio.get_running_loop()
    listening = await loop.create_server(protocol, "127.0.0.1", 0, ssl=None if starttls else tls)
    box.port = listening.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        listening.close()
        await listening.wait_closed()
        for each in protocols:
            if each.transport is not None:
                cast("asyncio.Transport", each.transport).abort()
        tasks = [task for each in protocols if (task := getattr(each, "_handler_coroutine", None))]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
