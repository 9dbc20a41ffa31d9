"""A real IMAP server on loopback (pymap, in memory), and its mailboxes as a test fills them."""

from __future__ import annotations

import imaplib
import secrets
import signal
import socket
import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from celeriac import Json
from tests.servers import Den

USER = "ada"
QUICK = """
from pysasl.hashing import BuiltinHash
BuiltinHash.__init__.__kwdefaults__["rounds"] = 1
from pymap.main import main
main()
"""
"""Half a million rounds of hashing, as the server makes of a password, are for others than these tests."""


def message(subject: str, body: str = "Hello.", files: Mapping[str, bytes] | None = None) -> bytes:
    """A message as it lies in a mailbox."""
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "Grace <grace@example.com>", "ada@example.com", subject
    made["Message-ID"] = f"<{secrets.token_hex(8)}@example.com>"
    made["Date"] = "Mon, 02 Mar 2026 09:00:00 +0000"
    made.set_content(body)
    for name, content in (files or {}).items():
        made.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return made.as_bytes()


class Imap:
    """The server. Everybody who knows the password reads the same mailboxes.

    With a `certificate` (a file with its key) it offers encryption, and lets nobody in without.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.password = secrets.token_hex(12)
        self._den = Den()
        self._port = _free_port()
        self._certificate = certificate
        line = [sys.executable, "-c", QUICK, "--host", "127.0.0.1", "--port", str(self.port)]
        file = str(certificate)
        line += ["--no-tls"] if certificate is None else ["--cert", file, "--key", file]
        line += ["dict", "--demo-data", "--demo-user", USER, "--demo-password", self.password]
        self._den.wait_for(self._den.start(line, quits_on=signal.SIGTERM), self._answers)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    @property
    def values(self) -> dict[str, Json]:
        """The values of a connection to it."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "security": "none",
            "username": USER,
            "password": self.password,
        }

    def close(self) -> None:
        """End it."""
        self._den.clear()

    def mailbox(self) -> Mailbox:
        """Make a mailbox of its own for a test."""
        made = Mailbox(self, f"box-{secrets.token_hex(6)}")
        made.begin()
        return made

    @contextmanager
    def talk(self) -> Iterator[imaplib.IMAP4]:
        """Hand over a conversation."""
        server = imaplib.IMAP4("127.0.0.1", self.port, timeout=10)
        try:
            if self._certificate is not None:
                trusts = ssl.create_default_context(cafile=str(self._certificate))
                trusts.check_hostname = False  # it has names that nobody resolves
                server.starttls(trusts)
            server.login(USER, self.password)
            yield server
        finally:
            server.logout()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                return probe.recv(4) == b"* OK"
        except OSError:
            return False


@dataclass(slots=True)
class Mailbox:
    """A mailbox. `begin` makes it anew: its server numbers the messages in it from the beginning then."""

    server: Imap
    name: str

    def begin(self) -> None:
        """Make it, empty; one that is there goes with all that is in it."""
        with self.server.talk() as talk:
            talk.delete(self.name)
            assert talk.create(self.name)[0] == "OK"

    def put(self, *messages: bytes) -> None:
        """Have messages come in."""
        with self.server.talk() as talk:
            for each in messages:
                assert talk.append(self.name, "", "", each)[0] == "OK"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
