"""List the objects of a bucket, page after page."""

from __future__ import annotations

from pydantic import BaseModel, Field

from celeriac import Context, Effect, Json, Retry, TryAgain, node
from celeriac.contract import TRUSTED
from nodes.objects.store import ask, parsed, text_of

MOST_OBJECTS = 10_000
_PAGE = 1_000


class Config(BaseModel, extra="forbid"):
    """Which objects."""

    prefix: str = Field("", description="What their names begin with.")
    delimiter: str | None = Field(
        None,
        description="What ends a folder's name, like /: what is in folders is then left out.",
        max_length=1,
    )
    after: str | None = Field(None, description="Only names that come after this one.")
    most: int = Field(1_000, description="How many at most.", ge=1, le=MOST_OBJECTS)
    bucket: str | None = Field(
        None,
        description="The bucket; else the connection's.",
        min_length=1,
        json_schema_extra={TRUSTED: True},
    )
    connection: str = Field("s3", description="The connection to the store, of the kind s3.")


OUTPUT: dict[str, Json] = {
    "type": "object",
    "required": ["items", "folders", "more"],
    "properties": {
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["key", "size", "etag", "modified"],
                "properties": {
                    "key": {"type": "string"},
                    "size": {"type": "integer"},
                    "etag": {"type": "string"},
                    "modified": {"type": "string"},
                },
            },
        },
        "folders": {"type": "array", "items": {"type": "string"}},
        "more": {"type": "boolean", "description": "Whether there are more than were wanted."},
    },
    "additionalProperties": False,
}


@node("s3_list", effect=Effect.READ, retry=Retry(3, delay=1.0, on=(TryAgain,)), timeout=300.0, output=OUTPUT)
async def s3_list(config: Config, ctx: Context) -> Json:
    """List the objects of a bucket, in the order of their names."""
    link = await ctx.connect(config.connection, "s3")
    query = {"list-type": "2", "prefix": config.prefix}
    query |= {} if config.delimiter is None else {"delimiter": config.delimiter}
    query |= {} if config.after is None else {"start-after": config.after}
    items: list[Json] = []
    folders: list[Json] = []
    while True:
        query["max-keys"] = str(min(_PAGE, config.most - len(items)))
        page = parsed(await ask(link, "GET", config.bucket, query=query))
        items += [
            {
                "key": text_of(each, "Key"),
                "size": int(text_of(each, "Size") or 0),
                "etag": text_of(each, "ETag").strip('"'),
                "modified": text_of(each, "LastModified"),
            }
            for each in page.findall("{*}Contents")
        ]
        folders += [text_of(each, "Prefix") for each in page.findall("{*}CommonPrefixes")]
        following = text_of(page, "NextContinuationToken")
        if not following or len(items) >= config.most:
            return {"items": items, "folders": folders, "more": bool(following)}
        query["continuation-token"] = following
