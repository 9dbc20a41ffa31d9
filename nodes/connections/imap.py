"""A mailbox that is read over IMAP (RFC 3501, RFC 9051), and the conversation with its server."""

from __future__ import annotations

import asyncio
import imaplib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, SecretStr, model_validator

from celeriac import Fail, Link, TryAgain, connection
from nodes.connections.encryption import insecure, not_offered, trusting

T = TypeVar("T")

TIMEOUT = 60.0
LARGEST = 32 * 1024 * 1024
"""Bytes that the server may send at once."""


class Imap(BaseModel, extra="forbid"):
    """Where the server is, and who reads."""

    host: str = Field(description="The server's name.", min_length=1)
    port: int = Field(993, description="Its port: 993 for tls, 143.", ge=1, le=65535)
    security: Literal["tls", "starttls", "none"] = Field(
        "tls", description="tls begins with encryption; starttls asks for it and insists on it."
    )
    username: str = Field(description="Who signs in.", min_length=1)
    password: SecretStr = Field(description="The password.", min_length=1)
    ca: str | None = Field(None, description="Certificates (PEM) to trust, for a server of one's own.")

    @model_validator(mode="after")
    def _sendable(self) -> Imap:
        if not (self.username + self.password.get_secret_value()).isprintable():
            message = "name and password have no control characters"
            raise ValueError(message)
        if self.security == "none" and self.host not in ("localhost", "127.0.0.1", "::1"):
            message = "a password is not sent without encryption; set security to tls or starttls"
            raise ValueError(message)
        return self


def hosts(fields: Imap) -> list[str]:
    """Return the one place."""
    host = f"[{fields.host}]" if ":" in fields.host else fields.host
    return [f"{host}:{fields.port}"]


@connection("imap", hosts=hosts)
async def imap(fields: Imap, link: Link) -> str:
    """A mailbox that is read (IMAP)."""
    _, _, count = await talk(fields, link, lambda server: select(server, "INBOX"))
    return f"Signed in as {fields.username}; the inbox has {count} messages."


async def talk(fields: Imap, link: Link, work: Callable[[imaplib.IMAP4], T]) -> T:
    """Do something in a conversation, in a thread: the client of the standard library waits. Given up, it ends at once."""
    sock = await link.dial(fields.host, fields.port)
    twin = sock.dup()

    def do() -> T:
        with signed_in(fields, sock) as server:
            return work(server)

    task = asyncio.ensure_future(asyncio.to_thread(do))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with suppress(OSError):
            twin.shutdown(socket.SHUT_RDWR)
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # nobody else asks for it
        raise
    finally:
        twin.close()


class _Conversation(imaplib.IMAP4):
    """A conversation over a socket that is connected already, with a server that may say anything."""

    def __init__(self, sock: socket.socket, host: str) -> None:
        self._given = sock
        try:
            super().__init__(host, timeout=TIMEOUT)
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Close what is open, without a word."""
        with suppress(OSError, AttributeError):
            self.shutdown()

    def _create_socket(self, timeout: float | None) -> socket.socket:
        self._given.settimeout(timeout)
        return self._given

    def read(self, size: int) -> bytes:
        """Read a literal, if it is not too large to be kept."""
        if size > LARGEST:
            message = f"a literal of {size} bytes"
            raise self.abort(message)
        return super().read(size)


@contextmanager
def signed_in(fields: Imap, sock: socket.socket) -> Iterator[imaplib.IMAP4]:
    """Hand over a conversation of somebody who is signed in. Raises `Fail` or `TryAgain`."""
    try:
        trusted = trusting(fields.ca)
        sock.setblocking(True)
        sock.settimeout(TIMEOUT)
        if fields.security == "tls":
            sock = trusted.wrap_socket(sock, server_hostname=fields.host)
        server = _Conversation(sock, fields.host)
        try:
            if fields.security == "starttls":
                _encrypt(server, trusted, fields.host)
            _log_in(server, fields)
            yield server
            with suppress(imaplib.IMAP4.error, OSError):
                server.logout()
        finally:
            server.leave()
    except ssl.SSLError as error:
        raise insecure(fields.host, error) from error
    except imaplib.IMAP4.abort as error:
        raise TryAgain(
            "email.unreachable", f"The conversation with {fields.host} ended: {_said(error)}."
        ) from error
    except imaplib.IMAP4.error as error:
        raise Fail("email.refused", f"{fields.host} refuses: {_said(error)}.") from error
    except OSError as error:
        raise TryAgain(
            "email.unreachable", f"The conversation with {fields.host} ended: {_said(error)}."
        ) from error
    finally:
        sock.close()


def _encrypt(server: imaplib.IMAP4, trusted: ssl.SSLContext, host: str) -> None:
    """Ask for encryption, and insist on it. A server that greets as if somebody had signed in already offers none (RFC 3501)."""
    if server.state != "NONAUTH" or "STARTTLS" not in server.capabilities:
        raise not_offered(host)
    try:
        server.starttls(trusted)
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error as error:
        raise not_offered(host) from error


def _log_in(server: imaplib.IMAP4, fields: Imap) -> None:
    try:
        server.login(fields.username, fields.password.get_secret_value())
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error as error:
        raise Fail("connection.refused", f"{fields.host} does not let {fields.username} in.") from error


def select(server: imaplib.IMAP4, mailbox: str) -> tuple[int, int, int]:
    """Open a mailbox for reading; return its UIDVALIDITY, its next UID, and how many messages it has. Raises `Fail`."""
    if not mailbox.isascii() or not mailbox.isprintable():
        raise Fail(
            "email.no_mailbox",
            f"{mailbox!r} is no name of a mailbox in ASCII; write it as the server does (RFC 3501, 5.1.3).",
        )
    quoted = '"' + mailbox.replace("\\", "\\\\").replace('"', '\\"') + '"'
    status, said = server.select(quoted, readonly=True)
    if status != "OK":
        raise Fail("email.no_mailbox", f"There is no mailbox {mailbox!r}: {_text(said)}.")
    validity, following = (_number(server.response(name)[1]) for name in ("UIDVALIDITY", "UIDNEXT"))
    count = _number(said) or 0
    if validity is None or following is None:
        raise Fail("email.refused", "The server does not number its messages (UIDVALIDITY, UIDNEXT).")
    return validity, following, count


def _number(said: list[Any]) -> int | None:
    found = said[-1] if said else None
    return int(found) if isinstance(found, bytes) and found.isdigit() else None


def _text(said: list[Any]) -> str:
    return b" ".join(each for each in said if isinstance(each, bytes)).decode("utf-8", "replace")[:200]


def _said(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200].rstrip(".")
