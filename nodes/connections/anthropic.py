"""Anthropic, or a server that speaks its API."""

from __future__ import annotations

from urllib.parse import urlsplit

from celeriac import Link, connection
from nodes.connections import probe
from nodes.connections.openai import Models

HOME = "https://api.anthropic.com/v1"
VERSION = "2023-06-01"


def hosts(fields: Models) -> list[str]:
    """Return the host of the API."""
    return [urlsplit(fields.base(HOME)).netloc]


@connection("anthropic", hosts=hosts, carry=Models.carried)
async def anthropic(fields: Models, link: Link) -> str:
    """Models of Anthropic, or of a server that speaks its API."""
    return await probe.ask(f"{fields.base(HOME)}/models", link, {"anthropic-version": VERSION})
