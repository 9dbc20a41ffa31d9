"""An object store that speaks like Amazon S3."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr

from celeriac import Fail, Link, connection


class S3(BaseModel, extra="forbid"):
    """Where the store is, and who works with it."""

    endpoint: str = Field(
        description="The address, like https://s3.eu-central-1.amazonaws.com.", pattern=r"^https?://[^/]+$"
    )
    region: str = Field("us-east-1", description="The region that signatures are for.", min_length=1)
    access_key: str = Field(description="The key's id.", min_length=1)
    secret_key: SecretStr = Field(description="The key's secret.", min_length=1)
    token: SecretStr | None = Field(None, description="The session token, of keys that end.", min_length=1)
    bucket: str | None = Field(None, description="The bucket, unless a node says otherwise.", min_length=1)
    path_style: bool = Field(
        default=False, description="Whether the bucket stands in the path, as stores of one's own want it."
    )


def hosts(fields: S3) -> list[str]:
    """Return the endpoint, and the buckets below it."""
    netloc = urlsplit(fields.endpoint).netloc
    name = urlsplit(fields.endpoint).hostname or ""
    below = "." in name and not name.rpartition(".")[2].isdecimal()
    return [netloc, f"*.{netloc}"] if below and not fields.path_style else [netloc]


@connection("s3", hosts=hosts)
async def s3(fields: S3, link: Link) -> str:
    """An object store: Amazon S3, or one that speaks like it."""
    from nodes.objects.store import ask

    if fields.bucket is None:
        raise Fail("connection.no_test", "There is nothing to ask: store it with a `bucket`.")
    await ask(link, "GET", None, query={"list-type": "2", "max-keys": "1"})
    return f"The bucket {fields.bucket} can be listed."
