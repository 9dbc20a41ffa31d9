"""A mail server that takes messages (RFC 5321), and the conversation with it up to where messages may be handed over."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field, SecretStr, model_validator

from celeriac import Fail, Link, TryAgain, connection
from nodes.connections.encryption import insecure, not_offered, trusting

if TYPE_CHECKING:
    from aiosmtplib import SMTP


class Smtp(BaseModel, extra="forbid"):
    """Where the server is, and who sends."""

    host: str = Field(description="The server's name.", min_length=1)
    port: int = Field(587, description="Its port: 587, 465 for tls, 25.", ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="starttls asks for encryption and insists on it; tls begins with it."
    )
    username: str | None = Field(None, description="Who signs in.", min_length=1)
    password: SecretStr | None = Field(None, description="The password.", min_length=1)
    sender: str | None = Field(None, description="From whom messages are, unless a node says otherwise.")
    ca: str | None = Field(None, description="Certificates (PEM) to trust, for a server of one's own.")

    @model_validator(mode="after")
    def _whole(self) -> Smtp:
        if (self.username is None) is not (self.password is None):
            message = "username and password come together"
            raise ValueError(message)
        if self.password is not None and self.security == "none":
            message = "a password is not sent without encryption; set security to starttls or tls"
            raise ValueError(message)
        return self


def hosts(fields: Smtp) -> list[str]:
    """Return the one place."""
    host = f"[{fields.host}]" if ":" in fields.host else fields.host
    return [f"{host}:{fields.port}"]


@connection("smtp", hosts=hosts)
async def smtp(fields: Smtp, link: Link) -> str:
    """A mail server that takes messages (SMTP)."""
    async with signed_in(fields, link):
        who = f"as {fields.username}" if fields.username else "without signing in"
        return f"{fields.host} takes messages {who}."


@asynccontextmanager
async def signed_in(fields: Smtp, link: Link, timeout: float = 30.0) -> AsyncIterator[SMTP]:
    """Hand over a conversation in which a message may follow. Raises `TryAgain` or `Fail`: nothing was handed over yet."""
    from aiosmtplib import SMTP, SMTPException

    trusted = trusting(fields.ca)
    sock = await link.dial(fields.host, fields.port)
    server = SMTP(
        hostname=fields.host,
        sock=sock,
        timeout=timeout,
        use_tls=fields.security == "tls",
        start_tls=False,
        tls_context=trusted,
        local_hostname="localhost",
    )
    try:
        try:
            await server.connect()
            if fields.security == "starttls":
                await server.ehlo()
                if not server.supports_extension("starttls"):
                    raise not_offered(fields.host)
                await server.starttls(server_hostname=fields.host)
            if fields.username is not None and fields.password is not None:
                await server.login(fields.username, fields.password.get_secret_value())
        except (SMTPException, OSError) as error:
            raise refusal(error, fields.host) from error
        yield server
    finally:
        server.close()


def refusal(error: Exception, host: str) -> Fail | TryAgain:
    """Return what comes of an error before a message was handed over: an answer of 4xx passes, one of 5xx does not."""
    from aiosmtplib import (
        SMTPAuthenticationError,
        SMTPException,
        SMTPNotSupported,
        SMTPResponseException,
    )

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if cause is not None:
        return insecure(host, cause)
    if isinstance(error, SMTPNotSupported) or type(error) is SMTPException:
        return Fail("email.insecure", f"{host} does not offer what the connection asks for: {error}.")
    if not isinstance(error, SMTPResponseException):
        return TryAgain("email.unreachable", f"The conversation with {host} ended: {type(error).__name__}.")
    said = f"{host} answered {error.code} {error.message}"
    if isinstance(error, SMTPAuthenticationError) and error.code >= 500:
        return Fail("connection.refused", f"{said} to the password.")
    if error.code < 500:
        return TryAgain("email.later", f"{said}.")
    return Fail("email.refused", f"{said}.")
