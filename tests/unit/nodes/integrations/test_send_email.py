from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from celeriac import Fail, Json, TryAgain
from celeriac.testing import OpenLink, Outcome, run_node
from nodes.connections.smtp import Smtp, smtp
from nodes.integrations import send_email as module
from nodes.integrations.send_email import send_email
from tests.certificates import certificate_for, certificate_in
from tests.forwarding import forwarding
from tests.mailbox import Mailbox, mailbox

PASSWORD = "s3cr3t-p4ssw0rd"


@pytest.fixture
async def box() -> AsyncIterator[Mailbox]:
    async with mailbox() as made:
        yield made


def link(box: Mailbox, **fields: Any) -> OpenLink:
    given = {"host": "127.0.0.1", "port": box.port, "security": "none", "sender": "Robot <bot@example.com>"}
    return OpenLink("smtp", Smtp(**{**given, **fields}))


async def send(box: Mailbox, key: str = "k1", fields: dict[str, Any] | None = None, **config: Any) -> Outcome:
    given: dict[str, Json] = {
        "to": "ada@example.com",
        "subject": "Summary",
        "body": "It went well.",
        **config,
    }
    connections = {"email": link(box, **(fields or {}))}
    return await run_node(send_email, given, connections=connections, idempotency_key=key)


async def test_a_message_arrives_as_it_was_written(box: Mailbox) -> None:
    outcome = await send(box, to=["Ada <ada@example.com>", "bob@example.com"], reply_to="help@example.com")
    assert outcome.value == {
        "message_id": "<k1@example.com>",
        "accepted": ["ada@example.com", "bob@example.com"],
        "refused": {},
    }
    (message,) = box.messages
    assert message["From"] == "Robot <bot@example.com>"
    assert message["To"] == "Ada <ada@example.com>, bob@example.com"
    assert message["Subject"] == "Summary"
    assert message["Message-ID"] == "<k1@example.com>"
    assert message["Date"] == "Tue, 01 Jan 2030 00:00:00 +0000"
    assert message["Reply-To"] == "help@example.com"
    assert message.get_content().splitlines() == ["It went well."]


async def test_the_seeds_config_is_enough() -> None:
    schema = send_email.config_schema()
    assert schema["required"] == ["to"]
    assert schema["properties"]["body"]["x-celeriac-previous"] is True


async def test_the_same_effect_has_the_same_message_id_and_another_has_another(box: Mailbox) -> None:
    for key in ("a", "a", "b"):
        await send(box, key)
    assert [each["Message-ID"].partition("@")[0] for each in box.messages] == ["<a", "<a", "<b"]


async def test_what_is_no_text_is_sent_as_json_and_html_and_files_go_along(box: Mailbox) -> None:
    await send(
        box,
        body={"total": 3, "name": "Zoë"},
        html="<b>3</b>",
        attachments=[
            {"name": "a.csv", "text": "x,y\n", "media_type": "text/csv"},
            {"name": "b.bin", "base64": base64.b64encode(b"\0\1").decode()},
        ],
    )
    (message,) = box.messages
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert json.loads(plain.get_content()) == {"total": 3, "name": "Zoë"}
    assert html.get_content().strip() == "<b>3</b>"
    files = [
        (each.get_filename(), each.get_content_type(), each.get_payload(decode=True))
        for each in message.iter_attachments()
    ]
    assert files == [
        ("a.csv", "text/csv", b"x,y\n"),
        ("b.bin", "application/octet-stream", b"\0\1"),
    ]


async def test_hidden_copies_stay_hidden(box: Mailbox) -> None:
    await send(box, cc="c@example.com", bcc=["d@example.com"])
    assert box.recipients == [["ada@example.com", "c@example.com", "d@example.com"]]
    assert "d@example.com" not in box.messages[0].as_string()


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"to": "ada"}, "'ada'"),
        ({"to": "ada@example.com, eve@example.com"}, "eve"),
        ({"to": "ada@example.com\nBcc: eve@example.com"}, "no address"),
        ({"to": "Ada\nBcc: eve@example.com <ada@example.com>"}, "no address"),
        ({"to": "a@b@c"}, "no address"),
        ({"to": "ä@example.com"}, "no address"),
        ({"sender": "<>"}, "no address"),
        ({"attachments": [{"name": "a"}]}, "one of them only"),
        ({"attachments": [{"name": "a", "base64": "??"}]}, "not base64"),
        ({"attachments": [{"name": "a", "text": "", "media_type": "text/html; x"}]}, "media type"),
        ({"to": ["a@b.c"] * 101}, "100 addresses"),
    ],
)
async def test_what_cannot_be_sent_is_not_sent(box: Mailbox, config: dict[str, Any], word: str) -> None:
    outcome = await send(box, **config)
    assert (outcome.kind, outcome.code) == ("failed", "email.invalid")
    assert outcome.error is not None
    assert word in outcome.error.message
    assert box.messages == []


async def test_a_subject_cannot_become_a_header(box: Mailbox) -> None:
    await send(box, subject="Hi\r\nBcc: eve@example.com")
    assert box.recipients == [["ada@example.com"]]
    assert "Bcc" not in box.messages[0]


async def test_a_message_over_the_limit_is_refused_and_one_at_it_is_sent(
    box: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    original = module._hand_over

    async def measured(server: Any, content: bytes, host: str) -> None:
        sent.append(len(content))
        await original(server, content, host)

    monkeypatch.setattr(module, "_hand_over", measured)
    await send(box)
    monkeypatch.setattr(module, "MOST_BYTES", sent[0])
    assert (await send(box)).kind == "output"
    monkeypatch.setattr(module, "MOST_BYTES", sent[0] - 1)
    assert (await send(box)).code == "email.too_large"


async def test_without_a_sender_it_says_so(box: Mailbox) -> None:
    outcome = await send(box, fields={"sender": None})
    assert (outcome.code, box.messages) == ("email.invalid", [])


@pytest.mark.parametrize(
    ("command", "answer", "kind", "code"),
    [
        ("MAIL", "451 Later.", "try_again", "email.later"),
        ("MAIL", "550 Never.", "failed", "email.refused"),
        ("RCPT", "450 Greylisted.", "try_again", "email.later"),
        ("RCPT", "550 Nobody.", "failed", "email.refused"),
        ("DATA", "452 Full.", "try_again", "email.later"),
        ("DATA", "554 Spam.", "failed", "email.refused"),
    ],
)
async def test_what_the_server_refuses_was_not_sent(
    box: Mailbox, command: str, answer: str, kind: str, code: str
) -> None:
    box.answers[command] = answer
    outcome = await send(box)
    assert (outcome.kind, outcome.code, box.messages) == (kind, code, [])


@pytest.mark.parametrize(
    ("command", "kind"),
    [("MAIL", "try_again"), ("RCPT", "try_again"), ("DATA", "uncertain"), ("taken", "uncertain")],
)
async def test_a_conversation_that_breaks_is_in_doubt_from_the_handing_over_on(
    box: Mailbox, command: str, kind: str
) -> None:
    box.drops.add(command)
    assert (await send(box)).kind == kind


async def test_some_refused_addresses_do_not_keep_it_from_the_others(box: Mailbox) -> None:
    box.answers["eve@example.com"] = "550 Nobody of that name."
    outcome = await send(box, to=["eve@example.com", "ada@example.com"])
    assert outcome.value == {
        "message_id": "<k1@example.com>",
        "accepted": ["ada@example.com"],
        "refused": {"eve@example.com": "550 Nobody of that name."},
    }
    assert box.recipients == [["ada@example.com"]]


async def test_nobody_there_may_be_tried_again() -> None:
    async with mailbox() as gone:
        pass
    assert (await send(gone)).code == "connection.unreachable"


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_it_signs_in_over_an_encrypted_connection(tmp_path: Path, security: str) -> None:
    serves, _ = certificate_for("localhost", tmp_path)
    fields = {
        "host": "localhost",
        "security": security,
        "ca": certificate_in(tmp_path, "localhost"),
        "username": "ada",
        "password": PASSWORD,
    }
    async with mailbox(tls=serves, starttls=security == "starttls", password=PASSWORD) as box:
        assert (await send(box, fields=fields)).kind == "output"
        assert box.encrypted == [True]
        opened = link(box, **fields)
        assert await smtp.test(opened.fields, opened) == "localhost takes messages as ada."

        wrong = await send(box, fields={**fields, "password": "wrong-" + PASSWORD})
        assert (wrong.kind, wrong.code) == ("failed", "connection.refused")
        assert PASSWORD not in str(wrong)
        assert len(box.messages) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize(
    ("host", "days", "trusted", "words"),
    [
        ("localhost", 1, "none", "self-signed certificate"),
        ("localhost", 1, "another", "self-signed certificate"),
        ("other.test", 1, "it", "Hostname mismatch, certificate is not valid for 'localhost'"),
        ("localhost", -1, "it", "certificate has expired"),
        ("localhost", 1, "no PEM", "holds no certificate in PEM"),
    ],
)
async def test_a_server_that_cannot_show_who_it_is_gets_nothing(
    tmp_path: Path, security: str, host: str, days: int, trusted: str, words: str
) -> None:
    serves, _ = certificate_for(host, tmp_path, days=days)
    certificate_for("another.test", tmp_path)
    ca = {
        "none": None,
        "another": certificate_in(tmp_path, "another.test"),
        "it": certificate_in(tmp_path, host),
        "no PEM": "x",
    }
    fields = {
        "host": "localhost",
        "security": security,
        "ca": ca[trusted],
        "username": "ada",
        "password": PASSWORD,
    }
    async with mailbox(tls=serves, starttls=security == "starttls", password=PASSWORD) as box:
        outcome = await send(box, fields=fields)
        code = "connection.certificate_invalid" if trusted == "no PEM" else "email.insecure"
        assert (outcome.kind, outcome.code, box.messages) == ("failed", code, [])
        assert outcome.error is not None
        assert words in outcome.error.message


@pytest.mark.parametrize(
    ("changes", "kind", "code"),
    [
        ({b"STARTTLS": b"STARTTEA"}, "failed", "email.insecure"),
        ({b"220 Ready to start TLS": b"454 Not now"}, "try_again", "email.later"),
        ({b"220 Ready to start TLS": b"502 What?"}, "failed", "email.refused"),
    ],
    ids=["not offered", "not now", "not understood"],
)
async def test_who_takes_the_encryption_away_between_gets_neither_password_nor_message(
    tmp_path: Path, changes: dict[bytes, bytes], kind: str, code: str
) -> None:
    serves, _ = certificate_for("localhost", tmp_path)
    fields = {
        "host": "localhost",
        "security": "starttls",
        "ca": certificate_in(tmp_path, "localhost"),
        "username": "ada",
        "password": PASSWORD,
    }
    async with mailbox(tls=serves, starttls=True, password=PASSWORD) as box:
        async with forwarding("127.0.0.1", box.port) as between:
            between.changes = changes
            outcome = await send(Mailbox(between.port), fields=fields)
        assert (outcome.kind, outcome.code, box.messages) == (kind, code, [])
        assert {each.split()[0].upper() for each in bytes(between.seen).splitlines()} <= {
            b"EHLO",
            b"STARTTLS",
            b"QUIT",
        }


async def test_encryption_that_is_not_offered_is_insisted_on(box: Mailbox) -> None:
    outcome = await send(box, fields={"security": "starttls"})
    assert (outcome.kind, outcome.code, box.messages) == ("failed", "email.insecure", [])


@pytest.mark.parametrize(
    "fields",
    [
        {"username": "ada"},
        {"password": PASSWORD},
        {"username": "ada", "password": PASSWORD, "security": "none"},
        {"port": 0},
    ],
)
def test_a_connection_that_would_give_the_password_away_is_none(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        Smtp(**{"host": "mail.example.com", **fields})
    assert PASSWORD not in str(caught.value.errors(include_input=False, include_url=False))


async def test_the_test_of_a_connection_says_what_is_wrong(box: Mailbox) -> None:
    opened = link(box)
    assert await smtp.test(opened.fields, opened) == "127.0.0.1 takes messages without signing in."
    assert box.messages == []
    async with mailbox(password=PASSWORD) as strict:
        closed = link(strict, security="starttls", username="ada", password=PASSWORD)
        with pytest.raises((Fail, TryAgain)):
            await smtp.test(closed.fields, closed)
