"""A mailbox on a real IMAP server, read from where the last look ended."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from celeriac import Fail, TryAgain
from celeriac.testing import OpenLink, Outcome, run_node
from engine.settings import Limits
from nodes.connections.imap import Imap as Fields
from nodes.connections.imap import imap as kind
from nodes.integrations import email_read as module
from nodes.integrations.email_read import email_read
from tests.imap import Imap, Mailbox, message


@pytest.fixture
def box(imap: Imap) -> Mailbox:
    return imap.mailbox()


@pytest.fixture
def link(imap: Imap) -> OpenLink:
    return OpenLink("imap", Fields.model_validate(imap.values))


async def run(box: Mailbox, link: OpenLink, **config: Any) -> Outcome:
    return await run_node(email_read, {"mailbox": box.name, **config}, connections={"inbox": link})


async def read(box: Mailbox, link: OpenLink, **config: Any) -> Any:
    outcome = await run(box, link, **config)
    assert outcome.error is None, outcome.error
    return outcome.value


def subjects(found: Any) -> list[str]:
    return [each["subject"] for each in found["messages"]]


async def test_what_has_come_since_the_last_look_is_read(box: Mailbox, link: OpenLink) -> None:
    empty = await read(box, link)
    assert (empty["messages"], empty["more"]) == ([], False)
    box.put(message("one"), message("two"))
    found = await read(box, link, after=empty["after"])
    assert (subjects(found), found["more"]) == (["one", "two"], False)
    assert subjects(await read(box, link, after=found["after"])) == []
    box.put(message("three"))
    assert subjects(await read(box, link, after=found["after"])) == ["three"]


async def test_a_message_is_told_whole(box: Mailbox, link: OpenLink) -> None:
    box.put(message("Grüße", "Zeile ☃\n", {"a.bin": b"\0\1"}))
    (told,) = (await read(box, link))["messages"]
    assert (told["from"], told["to"], told["subject"]) == ("grace@example.com", ["ada@example.com"], "Grüße")
    assert (told["body"], told["html"], told["date"]) == ("Zeile ☃\n", None, "2026-03-02T09:00:00+00:00")
    content = base64.b64encode(b"\0\1").decode()
    attachment = {"name": "a.bin", "media_type": "application/octet-stream", "size": 2, "base64": content}
    assert told["attachments"] == [attachment]
    (without,) = (await read(box, link, attachments=False))["messages"]
    assert without["attachments"] == [{**attachment, "base64": None}]


async def test_the_end_is_told_without_reading_anything(box: Mailbox, link: OpenLink) -> None:
    box.put(message("old"))
    end = await read(box, link, most=0)
    assert end["messages"] == []
    box.put(message("new"))
    assert subjects(await read(box, link, after=end["after"])) == ["new"]


async def test_a_look_takes_as_many_as_are_wanted_and_the_next_one_goes_on(
    box: Mailbox, link: OpenLink
) -> None:
    box.put(*(message(str(number)) for number in range(5)))
    after, seen = None, []
    for more in (True, True, False):
        found = await read(box, link, most=2, after=after)
        assert found["more"] is more
        after = found["after"]
        seen += subjects(found)
    assert seen == ["0", "1", "2", "3", "4"]


async def test_a_mailbox_that_is_numbered_anew_is_read_from_its_beginning(
    box: Mailbox, link: OpenLink
) -> None:
    kept = message("kept")
    box.put(message("gone"), kept)
    before = await read(box, link)
    box.begin()
    box.put(kept, message("new"))
    found = await read(box, link, after=before["after"], since="2020-01-01")
    assert found["after"]["validity"] != before["after"]["validity"]
    assert subjects(found) == ["kept", "new"]
    assert found["messages"][0]["digest"] == before["messages"][1]["digest"]
    assert subjects(await read(box, link, after=before["after"], since="2099-01-01")) == []


async def test_who_keeps_31_bits_of_the_number_of_the_mailbox_is_understood(
    box: Mailbox, link: OpenLink
) -> None:
    box.put(message("one"))
    after = (await read(box, link))["after"]
    box.put(message("two"))
    short = {**after, "validity": after["validity"] & 0x7FFFFFFF}
    assert subjects(await read(box, link, after=short)) == ["two"]


async def test_a_message_that_is_too_large_comes_with_its_head(
    box: Mailbox, link: OpenLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    box.put(message("large", "x" * 2000), message("small"))
    large, small = (await read(box, link))["messages"]
    assert (large["subject"], large["complete"], large["body"]) == ("large", False, "")
    assert (small["complete"], small["body"]) == (True, "Hello.\n")


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n",
        b"no header at all\r\n",
        b"From: \xff\xfe\r\nSubject: =?utf-8?b?////?=\r\nDate: yesterday\r\n\r\n\0\xff",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain; charset=nonsense\r\n\r\na\r\n",
        b"From: <<<>>>@@@,,,;:\r\nTo: "
        + b"a@b.c, " * 500
        + b"\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!\r\n",
        b"Content-Type: text/html\r\nContent-Disposition: attachment; filename*=utf-8''%ff\r\n\r\n<p>\r\n",
    ],
)
async def test_hostile_messages_come_to_something(raw: bytes, box: Mailbox, link: OpenLink) -> None:
    box.put(raw, message("after"))
    found = await read(box, link)
    assert len(found["messages"]) == 2
    assert subjects(found)[-1] == "after"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"mailbox": "nowhere"}, "email.no_mailbox"),
        ({"mailbox": 'a"\r\nA1 LOGOUT'}, "email.no_mailbox"),
        ({"mailbox": "Büro"}, "email.no_mailbox"),
    ],
)
async def test_a_mailbox_that_is_none_is_told(
    change: dict[str, Any], code: str, box: Mailbox, link: OpenLink
) -> None:
    assert (await run(box, link, **change)).code == code


async def test_a_wrong_password_is_refused_and_a_good_one_passes_the_test(imap: Imap, link: OpenLink) -> None:
    assert "messages" in await kind.test(link.fields, link)
    wrong = OpenLink("imap", Fields.model_validate({**imap.values, "password": "wrong"}))
    with pytest.raises(Fail) as caught:
        await kind.test(wrong.fields, wrong)
    assert caught.value.code == "connection.refused"


def test_a_password_is_not_sent_without_encryption() -> None:
    with pytest.raises(ValueError, match="without encryption"):
        Fields.model_validate(
            {"host": "mail.example.com", "security": "none", "username": "a", "password": "b"}
        )


@pytest.mark.parametrize(
    "says",
    [
        b"",
        b"* BYE no\r\n",
        b"HTTP/1.1 400 No\r\n\r\n",
        b"* OK hi\r\n* x {99999999999}\r\n",
        b"* OK " + b"x" * 2_000_000,
    ],
)
async def test_a_server_that_is_none_is_tried_again(says: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    fields = Fields.model_validate(
        {"host": "127.0.0.1", "port": port, "security": "none", "username": "a", "password": "b"}
    )
    test: Callable[..., Any] = kind.test
    with pytest.raises((TryAgain, Fail)) as caught:
        await test(fields, OpenLink("imap", fields))
    assert getattr(caught.value, "code", None) in ("email.unreachable", "email.refused")
    server.close()


async def test_the_largest_message_fits_into_a_payload(box: Mailbox, link: OpenLink) -> None:
    files = {f"{number}.bin": bytes(1_400_000) for number in range(3)}
    box.put(message("large", "\x01☃" * 200_000, files))
    (told,) = (await read(box, link))["messages"]
    assert [each["base64"] is None for each in told["attachments"]] == [False, False, True]
    assert len(json.dumps({"email": told}).encode()) < Limits().input_bytes
