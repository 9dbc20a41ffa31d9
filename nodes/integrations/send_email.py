"""Hand a message to a mail server (RFC 5321, RFC 5322).

A server has no way to know a message that it has been handed before, so this is an effect that cannot be repeated. Its
Message-ID follows from the node's key, so that a person, or a mailbox, can tell a double from a second message.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from email import policy
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, BeforeValidator, Field, JsonValue

from celeriac import Context, Effect, Fail, Json, Retry, TryAgain, Uncertain, node
from celeriac.contract import PREVIOUS, TRUSTED
from nodes.connections.smtp import Smtp, refusal, signed_in

if TYPE_CHECKING:
    from aiosmtplib import SMTP

MOST_RECIPIENTS = 100
MOST_BYTES = 20_000_000
"""What one message may have, attachments as they are sent included."""

_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")

_ADDRESS = re.compile(r"(?P<name>[^<>@]*)<(?P<spec>[^<>\s,;]+)>|(?P<alone>[^<>\s,;]+)")


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


_Addresses = Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=str | list[str])]


class Attachment(BaseModel, extra="forbid"):
    """A file: text, or bytes in base64."""

    name: str = Field(description="The file's name.", min_length=1, max_length=255)
    text: str | None = Field(None, description="Its content, if it is text.")
    base64: str | None = Field(None, description="Its content, if it is not.")
    media_type: str | None = Field(None, description="What it is, like application/pdf.")


class Config(BaseModel, extra="forbid"):
    """The message, and the connection that takes it."""

    to: _Addresses = Field(description="Whom it is for: an address, or a list.", min_length=1)
    subject: str = Field("", description="What it is about.", max_length=1_000)
    body: JsonValue = Field(
        None,
        description="What it says: text as it is, anything else as JSON. Left out, it is what the node before came to.",
        json_schema_extra={PREVIOUS: True},
    )
    html: str | None = Field(None, description="The same as HTML, for readers that show it.")
    cc: _Addresses = Field([], description="Who gets a copy.")
    bcc: _Addresses = Field([], description="Who gets a copy that the others do not know of.")
    sender: str | None = Field(
        None,
        description="From whom it is; else whom the connection names.",
        json_schema_extra={TRUSTED: True},
    )
    reply_to: str | None = Field(None, description="Where answers go.")
    attachments: list[Attachment] = Field([], description="Files.", max_length=100)
    connection: str = Field("email", description="The connection to the mail server, of the kind smtp.")


OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["message_id", "accepted", "refused"],
    "properties": {
        "message_id": {"type": "string"},
        "accepted": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Whom the server takes it for.",
        },
        "refused": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "Why the server does not take it for the others.",
        },
    },
    "additionalProperties": False,
}


@node(
    "send_email",
    effect=Effect.ONCE,
    retry=Retry(3, delay=5.0, on=(TryAgain,)),
    timeout=120.0,
    output=OUTPUT,
)
async def send_email(config: Config, ctx: Context) -> Json:
    """Send a message by SMTP."""
    link = await ctx.connect(config.connection, "smtp")
    fields: Smtp = link.fields
    sender = _address(config.sender or fields.sender or _missing())
    recipients = [_address(each) for each in (*config.to, *config.cc, *config.bcc)]
    if len(recipients) > MOST_RECIPIENTS:
        raise Fail("email.invalid", f"A message goes to {MOST_RECIPIENTS} addresses at most.")
    message = _message(config, sender, ctx)
    content = message.as_bytes(policy=policy.SMTP)
    if len(content) > MOST_BYTES:
        raise Fail("email.too_large", f"The message has {len(content):,} bytes; the limit is {MOST_BYTES:,}.")
    async with signed_in(fields, link) as server:
        refused = await _envelope(server, sender, recipients, fields.host)
        await _hand_over(server, content, fields.host)
    accepted: list[Json] = [each for each in _specs(recipients) if each not in refused]
    return {"message_id": message["Message-ID"], "accepted": accepted, "refused": dict(refused)}


async def _envelope(server: SMTP, sender: Address, recipients: list[Address], host: str) -> dict[str, str]:
    """Say from whom and for whom; return who was refused. Raises `Fail` or `TryAgain` when that is everybody."""
    from aiosmtplib import SMTPException, SMTPResponseException

    refused: dict[str, str] = {}
    failures: list[SMTPResponseException] = []
    try:
        await server.mail(sender.addr_spec)
        for each in dict.fromkeys(_specs(recipients)):
            try:
                await server.rcpt(each)
            except SMTPResponseException as error:
                refused[each] = f"{error.code} {error.message}"
                failures.append(error)
    except (SMTPException, OSError) as error:
        raise refusal(error, host) from error
    if len(refused) == len(set(_specs(recipients))):
        worst = min(failures, key=lambda each: each.code)  # what passes may be tried again
        raise refusal(worst, host) from worst
    return refused


async def _hand_over(server: SMTP, content: bytes, host: str) -> None:
    """Hand over the message. Raises `Uncertain` when the answer to it got lost."""
    from aiosmtplib import SMTPException, SMTPResponseException

    try:
        await server.data(content)
    except SMTPResponseException as error:
        raise refusal(error, host) from error
    except (SMTPException, OSError) as error:
        raise Uncertain(
            "effect.uncertain",
            f"The message was handed to {host}, and its answer got lost. Nobody knows whether it goes out; "
            "look there for its Message-ID.",
        ) from error


def _message(config: Config, sender: Address, ctx: Context) -> EmailMessage:
    message = EmailMessage()
    try:
        message["From"] = sender
        message["To"] = [_address(each) for each in config.to]
        if config.cc:
            message["Cc"] = [_address(each) for each in config.cc]
        if config.reply_to is not None:
            message["Reply-To"] = _address(config.reply_to)
        message["Subject"] = " ".join(config.subject.splitlines())
        message["Date"] = format_datetime(ctx.now())
        message["Message-ID"] = f"<{ctx.idempotency_key}@{sender.domain}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: keeps absence notes from answering
        message.set_content(_text(config.body))
        if config.html is not None:
            message.add_alternative(config.html, subtype="html")
        for each in config.attachments:
            _attach(message, each)
    except (ValueError, HeaderParseError) as error:
        raise Fail("email.invalid", f"The message cannot be written: {error}.") from error
    return message


def _attach(message: EmailMessage, attachment: Attachment) -> None:
    if (attachment.text is None) is (attachment.base64 is None):
        raise Fail(
            "email.invalid", f"The attachment {attachment.name!r} has text or base64, and one of them only."
        )
    kind = attachment.media_type or (
        "text/plain" if attachment.base64 is None else "application/octet-stream"
    )
    if not _MEDIA_TYPE.fullmatch(kind):
        raise Fail("email.invalid", f"{kind!r} is no media type. Write it like application/pdf.")
    if attachment.base64 is None:
        content = (attachment.text or "").encode()
    else:
        try:
            content = base64.b64decode(attachment.base64, validate=True)
        except binascii.Error as error:
            raise Fail("email.invalid", f"The attachment {attachment.name!r} is not base64.") from error
    main, _, sub = kind.partition("/")
    message.add_attachment(content, maintype=main, subtype=sub, filename=attachment.name)


def _text(body: Json) -> str:
    if isinstance(body, str):
        return body
    return "" if body is None else json.dumps(body, ensure_ascii=False, indent=2)


def _address(text: str) -> Address:
    """Read `ada@example.com` or `Ada <ada@example.com>`. Raises `Fail` (`email.invalid`)."""
    found = _ADDRESS.fullmatch(text.strip()) if text.strip().isprintable() else None
    try:
        spec = (found["spec"] or found["alone"]) if found else ""
        made = Address((found["name"] or "").strip(' "') if found else "", addr_spec=spec)
        domain = made.domain.encode("idna").decode("ascii")
        whole = Address(made.display_name, made.username, domain)
    except (ValueError, HeaderParseError, IndexError) as error:
        raise Fail("email.invalid", f"{text!r} is no address of e-mail.") from error
    if not whole.username or not whole.domain or not whole.username.isascii():
        raise Fail("email.invalid", f"{text!r} is no address of e-mail.")
    return whole


def _specs(addresses: list[Address]) -> list[str]:
    return [each.addr_spec for each in addresses]


def _missing() -> str:
    raise Fail("email.invalid", "Nobody is named as the sender, neither in the node nor in the connection.")
