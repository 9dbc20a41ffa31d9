"""Read the messages of a mailbox (IMAP) that have come after one that was seen before. Nothing there is changed or marked.

Where it is up to is told by two numbers of the server: the UID of the last message, and the UIDVALIDITY within which UIDs mean
something. When the latter has changed the mailbox is another one, and is read from its beginning, or from a day on.
"""

from __future__ import annotations

import base64
import hashlib
import imaplib
import re
from datetime import date
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic import BaseModel, Field

from celeriac import Context, Effect, Fail, Json, Retry, TryAgain, node
from nodes.connections.imap import Imap, select, talk

MOST = 200
MOST_BYTES = 10_000_000
"""A larger message comes with its head alone."""
ATTACHED_BYTES = 3_000_000
"""Attachments of one message that come with their content, together: all of a message fits into the payload of an execution."""
_BODY = 300_000
"""Characters of a text."""

_SHORT = 0x7FFFFFFF
"""Who keeps 31 bits of a UIDVALIDITY knows it by them."""
_SIZE = re.compile(rb"RFC822\.SIZE (\d+)")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Place(BaseModel, extra="forbid"):
    """A message that was seen."""

    validity: int = Field(description="The mailbox's UIDVALIDITY.", ge=0)
    uid: int = Field(description="The message's UID.", ge=0)


class Config(BaseModel, extra="forbid"):
    """Which mailbox, and where in it."""

    mailbox: str = Field("INBOX", description="The mailbox.", min_length=1, max_length=500)
    after: Place | None = Field(
        None,
        description="The last message that was seen, as `after` of the output; without one, all are new.",
    )
    since: date | None = Field(
        None,
        description="Where `after` means nothing any more: only messages that came on this day or later.",
    )
    most: int = Field(
        50, description="How many at most, the oldest first; 0 only tells where the end is.", ge=0, le=MOST
    )
    attachments: bool = Field(default=True, description="Whether attachments come with their content.")
    connection: str = Field("inbox", description="The connection to the mail server, of the kind imap.")


OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["messages", "after", "more"],
    "properties": {
        "messages": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["uid", "digest", "from", "to", "subject", "body"],
                "properties": {
                    "uid": {"type": "integer"},
                    "digest": {"type": "string", "description": "What tells it from every other message."},
                    "message_id": {"type": ["string", "null"]},
                    "from": {
                        "type": "string",
                        "description": "Who says to have written it; anybody can say so.",
                    },
                    "to": {"type": "array", "items": {"type": "string"}},
                    "cc": {"type": "array", "items": {"type": "string"}},
                    "subject": {"type": "string"},
                    "date": {"type": ["string", "null"], "description": "When it says to have been written."},
                    "body": {"type": "string", "description": "Its text."},
                    "html": {"type": ["string", "null"], "description": "Its text as HTML, if it has that."},
                    "attachments": {"type": "array", "items": {"type": "object"}},
                    "complete": {
                        "type": "boolean",
                        "description": "Whether it was not too large to be read whole.",
                    },
                },
            },
        },
        "after": {"type": "object", "description": "Where the next look goes on."},
        "more": {"type": "boolean", "description": "Whether there are more than were wanted."},
    },
    "additionalProperties": False,
}


@node(
    "email_read", effect=Effect.READ, retry=Retry(3, delay=5.0, on=(TryAgain,)), timeout=300.0, output=OUTPUT
)
async def email_read(config: Config, ctx: Context) -> Json:
    """Read the messages of a mailbox that have come since."""
    link = await ctx.connect(config.connection, "imap")
    fields: Imap = link.fields
    return await talk(fields, link, lambda server: _read(config, server))


def _read(config: Config, server: imaplib.IMAP4) -> Json:
    """Talk with the server."""
    validity, following, _ = select(server, config.mailbox)
    if config.most == 0:
        return {"messages": [], "after": {"validity": validity, "uid": following - 1}, "more": False}
    same = config.after is not None and config.after.validity in (validity, validity & _SHORT)
    last = config.after.uid if config.after is not None and same else 0
    found = [uid for uid in _search(server, config, last, same=same) if uid > last]
    chosen = found[: config.most]
    messages = [_message(server, uid, attachments=config.attachments) for uid in chosen]
    # What came and went between two looks is behind us as well.
    end = chosen[-1] if len(found) > len(chosen) else max([last, following - 1, *chosen])
    return {
        "messages": [each for each in messages if each is not None],
        "after": {"validity": validity, "uid": end},
        "more": len(found) > len(chosen),
    }


def _search(server: imaplib.IMAP4, config: Config, last: int, *, same: bool) -> list[int]:
    """Return the UIDs of what may be new, in their order."""
    words = f"UID {last + 1}:*" if same else "ALL"
    if not same and config.since is not None:
        day = config.since
        words = f"SINCE {day.day:02d}-{_MONTHS[day.month - 1]}-{day.year}"
    status, said = server.uid("SEARCH", words)
    if status != "OK":
        raise Fail("email.refused", "The server does not search its messages.")
    return sorted(
        int(each) for part in said if isinstance(part, bytes) for each in part.split() if each.isdigit()
    )


def _message(server: imaplib.IMAP4, uid: int, *, attachments: bool) -> dict[str, Json] | None:
    """Read one message; None for one that has gone meanwhile."""
    _, said = server.uid("FETCH", str(uid), "(UID RFC822.SIZE)")
    size = _SIZE.search(b" ".join(each for each in said if isinstance(each, bytes)))
    if size is None:
        return None
    whole = int(size[1]) <= MOST_BYTES
    _, said = server.uid("FETCH", str(uid), "(UID BODY.PEEK[])" if whole else "(UID BODY.PEEK[HEADER])")
    raw = next((each[1] for each in said if isinstance(each, tuple)), None)
    return None if raw is None else _told(uid, raw, attachments=attachments, whole=whole)


def _told(uid: int, raw: bytes, *, attachments: bool, whole: bool) -> dict[str, Json]:
    """Return a message as JSON. Whatever stands in it, this comes to something."""
    message = message_from_bytes(raw, policy=policy.default)
    plain, html = (_text(message, kind) for kind in ("plain", "html"))
    return {
        "uid": uid,
        "digest": hashlib.sha256(raw).hexdigest(),
        "message_id": _header(message, "Message-ID") or None,
        "from": next(iter(_addresses(message, "From")), ""),
        "to": [*_addresses(message, "To")],
        "cc": [*_addresses(message, "Cc")],
        "subject": _header(message, "Subject"),
        "date": _date(_header(message, "Date")),
        "body": plain if plain is not None else html or "",
        "html": html,
        "attachments": _attachments(message, contents=attachments),
        "complete": whole,
    }


def _header(message: Message, name: str) -> str:
    try:
        return _clean(str(message.get(name, "")))[:2000]
    except (
        ValueError,
        IndexError,
        AttributeError,
        TypeError,
        LookupError,
    ):  # the parser's own, at hostile headers
        return ""


def _addresses(message: Message, name: str) -> list[str]:
    """Return the addresses in a header, without names."""
    try:
        header: Any = message.get(name)
        return [_clean(each.addr_spec) for each in getattr(header, "addresses", ()) if each.addr_spec][:200]
    except (ValueError, IndexError, AttributeError, TypeError, LookupError):
        return []


def _text(message: EmailMessage, kind: str) -> str | None:
    try:
        part = message.get_body((kind,))
        return None if part is None else _clean(part.get_content()).replace("\r\n", "\n")[:_BODY]
    except (ValueError, IndexError, AttributeError, TypeError, KeyError, LookupError):
        return None


def _attachments(message: EmailMessage, *, contents: bool) -> list[Json]:
    found: list[Json] = []
    left = ATTACHED_BYTES if contents else 0
    try:
        parts = list(message.iter_attachments())
    except (ValueError, AttributeError, KeyError, TypeError):
        return found
    for part in parts[:100]:
        data = part.get_payload(decode=True)
        if not isinstance(data, bytes):
            continue
        fits = len(data) <= left
        left -= len(data) if fits else 0
        found.append(
            {
                "name": _clean(part.get_filename() or ""),
                "media_type": part.get_content_type(),
                "size": len(data),
                "base64": base64.b64encode(data).decode() if fits else None,
            }
        )
    return found


def _date(text: str) -> str | None:
    try:
        return parsedate_to_datetime(text).isoformat()
    except (ValueError, TypeError, IndexError):
        return None


def _clean(text: object) -> str:
    """Return text that JSON and databases take: without NUL and half characters."""
    return str(text).replace("\0", "").encode("utf-8", "replace").decode()
