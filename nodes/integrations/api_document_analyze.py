"""Review a document that describes an HTTP API (OpenAPI 2.0, 3.0, 3.1): what it offers, and what in it is dangerous."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field, JsonValue

from celeriac import Context, Effect, Fail, Json, Retry, TryAgain, exchange, node
from celeriac.contract import PREVIOUS, TRUSTED
from nodes.documents.openapi import parse
from nodes.documents.reading import read
from nodes.documents.review import review


class Config(BaseModel, extra="forbid"):
    """The document, or where it is."""

    url: str | None = Field(
        None, description="Where the document is.", min_length=1, json_schema_extra={TRUSTED: "host"}
    )
    document: JsonValue = Field(
        None,
        description="The document: JSON or YAML. Left out, without a url, it is what the node before came to.",
        json_schema_extra={PREVIOUS: True},
    )
    connection: str | None = Field(None, description="The connection that holds the credential for the url.")


def effect(config: Mapping[str, Any]) -> Effect:
    """Return what it does to the world: it looks there when the document is somewhere else."""
    return Effect.NONE if config.get("url") is None else Effect.READ


_ENTRY: Json = {"type": "array", "items": {"type": "object"}}
OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": [
        "title",
        "version",
        "servers",
        "endpoints",
        "authentication",
        "security_issues",
        "statistics",
    ],
    "properties": {
        "title": {"type": "string"},
        "version": {"type": "string", "description": "Of OpenAPI."},
        "servers": {"type": "array", "items": {"type": "string"}},
        "endpoints": _ENTRY,
        "authentication": {"type": "array", "items": {"type": "string"}},
        "security_issues": _ENTRY,
        "statistics": {"type": "object"},
    },
    "additionalProperties": False,
}


@node(
    "api_document_analyze",
    effect=effect,
    retry=Retry(3, delay=1.0, on=(TryAgain,)),
    output=OUTPUT,
)
async def api_document_analyze(config: Config, ctx: Context) -> Json:
    """Say what an API's document offers: endpoints, ways of proving who asks, security issues, statistics."""
    document: Any = config.document
    if config.url is not None:
        client = ctx.http if config.connection is None else (await ctx.connect(config.connection)).http
        request = client.build_request("GET", config.url)
        response = await exchange.send(client, request, Effect.READ, 30.0)
        if not exchange.succeeded(response.status_code):
            raise exchange.refused(response, Effect.READ, ctx.now())
        document = response.content.decode("utf-8", "replace")
    if isinstance(document, str):
        document = await asyncio.to_thread(read, document)
    if not isinstance(document, dict):
        raise Fail("document.unreadable", "There is no document: give `url` or `document`.")
    return await asyncio.to_thread(lambda: review(parse(document, config.url or "")))
