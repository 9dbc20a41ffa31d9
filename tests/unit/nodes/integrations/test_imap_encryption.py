"""Encryption with a real IMAP server: one that begins with it, one that is asked for it, and whoever stands between."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from celeriac import Fail, Json, TryAgain
from celeriac.testing import OpenLink, run_node
from nodes.connections.imap import Imap as Fields
from nodes.connections.imap import imap as kind
from nodes.integrations.email_read import email_read
from tests.certificates import certificate_for, certificate_in
from tests.forwarding import Forwarding, forwarding
from tests.imap import Imap, message

HOST = "localhost"
FILES = {"good": f"{HOST}.pem", "other": "other.test.pem", "old": f"old/{HOST}.pem"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates: a good one, one of another host, one that has expired, and one that nobody serves with."""
    made = tmp_path_factory.mktemp("certificates")
    certificate_for(HOST, made)
    certificate_for("other.test", made)
    certificate_for("another.test", made)
    (made / "old").mkdir()
    certificate_for(HOST, made / "old", days=-1)
    return made


@pytest.fixture(scope="module")
def servers(folder: Path) -> Iterator[dict[str, Imap]]:
    """Servers that are asked for encryption, by their certificates."""
    made = {name: Imap(folder / file) for name, file in FILES.items()}
    yield made
    for each in made.values():
        each.close()


def link(server: Imap, port: int, security: str, ca: str | None) -> OpenLink:
    values: dict[str, Json] = {**server.values, "host": HOST, "port": port, "security": security, "ca": ca}
    return OpenLink("imap", Fields.model_validate(values))


async def refusal(link: OpenLink) -> Fail | TryAgain:
    with pytest.raises((Fail, TryAgain)) as caught:
        await kind.test(link.fields, link)
    assert isinstance(caught.value, (Fail, TryAgain))
    assert link.fields.password.get_secret_value() not in str(caught.value)
    return caught.value


@asynccontextmanager
async def way(
    security: str, certificate: str, imap: Imap, servers: dict[str, Imap], folder: Path
) -> AsyncIterator[tuple[Imap, Forwarding]]:
    """A server with a certificate, and the port it is reached by."""
    if security == "starttls":
        async with forwarding("127.0.0.1", servers[certificate].port) as port:
            yield servers[certificate], port
        return
    serves = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serves.load_cert_chain(folder / FILES[certificate])
    async with forwarding("127.0.0.1", imap.port, tls=serves) as port:
        yield imap, port


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_mailbox_is_read_over_an_encrypted_connection(
    security: str, imap: Imap, servers: dict[str, Imap], folder: Path
) -> None:
    async with way(security, "good", imap, servers, folder) as (server, port):
        opened = link(server, port.port, security, certificate_in(folder, HOST))
        assert (await kind.test(opened.fields, opened)).startswith("Signed in as ada; the inbox has ")
        box = server.mailbox()
        box.put(message("hidden"))
        outcome = await run_node(email_read, {"mailbox": box.name}, connections={"inbox": opened})
        assert outcome.error is None, outcome.error
        found: Any = outcome.value
        assert [each["subject"] for each in found["messages"]] == ["hidden"]
        if security == "starttls":  # else what goes on from the port is what was decrypted there
            assert server.password.encode() not in port.seen
            assert b"STARTTLS" in port.seen


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize(
    ("certificate", "trusted", "words"),
    [
        ("good", None, "self-signed certificate"),
        ("good", "another.test", "self-signed certificate"),
        ("other", "other.test", "Hostname mismatch, certificate is not valid for 'localhost'"),
        ("old", "old", "certificate has expired"),
        ("good", "", "holds no certificate in PEM"),
    ],
)
async def test_a_server_that_cannot_show_who_it_is_gets_no_password(
    security: str,
    certificate: str,
    trusted: str | None,
    words: str,
    imap: Imap,
    servers: dict[str, Imap],
    folder: Path,
) -> None:
    ca = {None: None, "": "x", "old": certificate_in(folder / "old", HOST)}
    async with way(security, certificate, imap, servers, folder) as (server, port):
        known = ca[trusted] if trusted in ca else certificate_in(folder, str(trusted))
        error = await refusal(link(server, port.port, security, known))
        code = "connection.certificate_invalid" if trusted == "" else "email.insecure"
        assert (type(error), error.code) == (Fail, code)
        assert words in error.message
        assert b"LOGIN" not in port.seen.upper()


async def test_encryption_that_is_not_offered_is_insisted_on(imap: Imap, folder: Path) -> None:
    async with forwarding("127.0.0.1", imap.port) as port:
        error = await refusal(link(imap, port.port, "starttls", certificate_in(folder, HOST)))
        assert (type(error), error.code) == (Fail, "email.insecure")
        assert b"LOGIN" not in port.seen.upper()


@pytest.mark.parametrize(
    "changes",
    [
        {b"STARTTLS": b"STARTTEA"},
        {b"* OK": b"* PREAUTH"},
        {b"OK Ready to handshake.": b"NO Not now."},
        {b"OK Ready to handshake.": b"BAD What?"},
    ],
    ids=["not offered", "as if signed in", "refused", "not understood"],
)
async def test_who_takes_the_encryption_away_between_gets_no_password(
    changes: dict[bytes, bytes], servers: dict[str, Imap], folder: Path
) -> None:
    server = servers["good"]
    async with forwarding("127.0.0.1", server.port) as port:
        port.changes = changes
        error = await refusal(link(server, port.port, "starttls", certificate_in(folder, HOST)))
        assert (type(error), error.code) == (Fail, "email.insecure")
        assert "STARTTLS" in error.message
        assert b"LOGIN" not in port.seen.upper()
        assert server.password.encode() not in port.seen


async def test_what_is_said_in_the_clear_before_the_encryption_counts_for_nothing(
    servers: dict[str, Imap], folder: Path
) -> None:
    """Whoever stands between puts an answer of his own behind the server's consent, for a question that comes later."""
    server = servers["good"]
    async with forwarding("127.0.0.1", server.port) as port:
        said = b"OK Ready to handshake.\r\n"
        port.changes = {said: said + b"* 99 EXISTS\r\n* BYE Go away.\r\n"}
        opened = link(server, port.port, "starttls", certificate_in(folder, HOST))
        assert "99 messages" not in await kind.test(opened.fields, opened)
        assert port.changed == 1


async def test_a_server_that_speaks_no_encryption_where_it_begins_with_it_gets_no_password(
    imap: Imap,
) -> None:
    async with forwarding("127.0.0.1", imap.port) as port:
        error = await refusal(link(imap, port.port, "tls", None))
        assert error.code == "email.insecure"
        assert b"LOGIN" not in port.seen.upper()
