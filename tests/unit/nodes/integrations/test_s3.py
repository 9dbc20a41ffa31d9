"""An object store: signatures by the vendor's own examples and by another client, and what the nodes make of answers."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from celeriac import Fail, Json
from celeriac.testing import Outcome, run_node
from engine.outside.egress import OpenLink
from nodes.connections.s3 import s3
from nodes.integrations.s3_get import s3_get
from nodes.integrations.s3_list import s3_list
from nodes.integrations.s3_put import s3_put
from nodes.objects.signing import Keys, headers_for, sign
from tests.bucket import KEYS, Bucket
from tests.loopback import Server, serving
from tests.vendors import linked, loopback_egress

# The examples of https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html

EXAMPLE = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")
NOW = "20130524T000000Z"
EMPTY = hashlib.sha256(b"").hexdigest()
HOST = {"host": "examplebucket.s3.amazonaws.com", "x-amz-date": NOW}


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "signature"),
    [
        (
            "GET",
            "/test.txt",
            {},
            {**HOST, "range": "bytes=0-9", "x-amz-content-sha256": EMPTY},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test$file.text",
            {},
            {
                **HOST,
                "date": "Fri, 24 May 2013 00:00:00 GMT",
                "x-amz-content-sha256": hashlib.sha256(b"Welcome to Amazon S3.").hexdigest(),
                "x-amz-storage-class": "REDUCED_REDUNDANCY",
            },
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/",
            {"lifecycle": ""},
            {**HOST, "x-amz-content-sha256": EMPTY},
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/",
            {"max-keys": "2", "prefix": "J"},
            {**HOST, "x-amz-content-sha256": EMPTY},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_signatures_are_those_of_the_vendors_examples(
    method: str, path: str, query: dict[str, str], headers: dict[str, str], signature: str
) -> None:
    assert sign(EXAMPLE, method, path, query, headers, NOW) == signature


def test_a_signature_covers_everything_and_gives_nothing_away() -> None:
    made = headers_for(EXAMPLE, "GET", "h", "/k", {}, {"X-Amz-Meta-A": " b  c "}, b"", NOW)
    assert made["x-amz-meta-a"] == "b c"
    assert "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-meta-a," in made["Authorization"]
    token = Keys("a", "b", "c", "t0k3n")
    assert "x-amz-security-token" in headers_for(token, "GET", "h", "/", {}, {}, b"", NOW)["Authorization"]
    assert "wJalr" not in repr(EXAMPLE) + str(made)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as made:
        yield made


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
async def server(stack: AsyncExitStack, bucket: Bucket) -> Server:
    return await stack.enter_async_context(serving(bucket.handle))


@pytest.fixture
async def link(stack: AsyncExitStack, server: Server) -> OpenLink:
    return await opened(stack, server)


async def opened(stack: AsyncExitStack, server: Server, **more: Json) -> OpenLink:
    egress = loopback_egress()
    stack.push_async_callback(egress.aclose)
    values: dict[str, Json] = {
        "endpoint": server.url,
        "region": KEYS.region,
        "access_key": KEYS.access_key,
        "secret_key": KEYS.secret_key,
        "bucket": "box",
        "path_style": True,
    }
    return linked(egress, "s3", {**values, **more})


async def run(node_type: Any, link: OpenLink, **config: Json) -> Outcome:
    outcome = await run_node(node_type, config, connections={"s3": link})
    assert KEYS.secret_key not in str(outcome)
    return outcome


async def test_another_client_signs_as_we_do(server: Server, bucket: Bucket, link: OpenLink) -> None:
    from obstore.store import S3Store

    store = S3Store(
        "box",
        endpoint=server.url,
        region=KEYS.region,
        access_key_id=KEYS.access_key,
        secret_access_key=KEYS.secret_key,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    await store.put_async("a folder/ü & b.txt", b"theirs")
    assert (await run(s3_get, link, key="a folder/ü & b.txt")).value is not None
    await run(s3_put, link, key="a folder/ü+c.txt", content="ours")
    found = await store.get_async("a folder/ü+c.txt")
    assert bytes(await found.bytes_async()) == b"ours"
    assert set(bucket.objects) == {"a folder/ü & b.txt", "a folder/ü+c.txt"}


@pytest.mark.parametrize(
    ("content", "found", "media_type"),
    [
        ("zoë", "zoë", "text/plain; charset=utf-8"),
        ({"a": 1}, {"a": 1}, "application/json"),
        (
            {"base64": "AAE=", "media_type": "image/png"},
            {"base64": "AAE=", "media_type": "image/png", "size": 2},
            "image/png",
        ),
        (None, None, "application/json"),
    ],
)
async def test_what_was_written_is_read(link: OpenLink, content: Json, found: Json, media_type: str) -> None:
    put: Any = (await run(s3_put, link, key="k", content=content, metadata={"who": "me"})).value
    got: Any = (await run(s3_get, link, key="k")).value
    assert (got["content"], got["media_type"], got["metadata"]) == (found, media_type, {"who": "me"})
    assert (put["etag"], put["size"]) == (got["etag"], got["size"])


async def test_an_object_that_is_there_may_be_left_alone(link: OpenLink) -> None:
    assert (await run(s3_put, link, key="k", content="a", if_absent=True)).kind == "output"
    outcome = await run(s3_put, link, key="k", content="b", if_absent=True)
    assert (outcome.kind, outcome.code) == ("failed", "object.exists")


@pytest.mark.parametrize("metadata", [{"a b": "c"}, {"a": "ü"}, {"a": "b\r\nX: y"}, {"": "a"}])
async def test_metadata_is_plain_ascii(link: OpenLink, bucket: Bucket, metadata: Json) -> None:
    assert (await run(s3_put, link, key="k", content="a", metadata=metadata)).code == "object.invalid"
    assert bucket.objects == {}


async def test_objects_are_listed_page_after_page(link: OpenLink) -> None:
    for name in ("a/1", "a/2", "a/b/3", "c", "d<&>"):
        await run(s3_put, link, key=name, content=name)
    everything: Any = (await run(s3_list, link)).value
    assert [each["key"] for each in everything["items"]] == ["a/1", "a/2", "a/b/3", "c", "d<&>"]
    assert everything["items"][0]["size"] == 3
    some: Any = (await run(s3_list, link, most=3)).value
    assert ([each["key"] for each in some["items"]], some["more"]) == (["a/1", "a/2", "a/b/3"], True)
    folder: Any = (await run(s3_list, link, prefix="a/", delimiter="/")).value
    assert ([each["key"] for each in folder["items"]], folder["folders"]) == (["a/1", "a/2"], ["a/b/"])
    after: Any = (await run(s3_list, link, after="a/b/3")).value
    assert [each["key"] for each in after["items"]] == ["c", "d<&>"]


@pytest.mark.parametrize(
    ("status", "code", "kind", "told"),
    [
        (404, "NoSuchKey", "failed", "object.missing"),
        (404, "NoSuchBucket", "failed", "object.missing"),
        (403, "SignatureDoesNotMatch", "failed", "connection.refused"),
        (403, "AccessDenied", "failed", "http.client_error"),
        (503, "SlowDown", "try_again", "http.unavailable"),
        (400, "RequestTimeout", "try_again", "http.unavailable"),
        (500, "InternalError", "try_again", "http.unavailable"),
        (500, "", "try_again", "http.server_error"),
    ],
)
async def test_what_the_store_refuses_is_told(
    link: OpenLink, bucket: Bucket, status: int, code: str, kind: str, told: str
) -> None:
    bucket.refuses.append((status, code))
    outcome = await run(s3_get, link, key="k")
    assert (outcome.kind, outcome.code) == (kind, told)


async def test_a_wrong_key_and_a_missing_bucket_are_told_by_the_test(
    stack: AsyncExitStack, server: Server
) -> None:
    good = await opened(stack, server)
    assert await s3.test(good.fields, good) == "The bucket box can be listed."
    changes: list[tuple[dict[str, Json], str]] = [
        ({"secret_key": "wr0ng-key-wr0ng"}, "connection.refused"),
        ({"access_key": "nobody"}, "connection.refused"),
        ({"bucket": "nowhere"}, "object.missing"),
        ({"bucket": None}, "connection.no_test"),
    ]
    for change, code in changes:
        link = await opened(stack, server, **change)
        with pytest.raises(Fail) as caught:
            await s3.test(link.fields, link)
        assert caught.value.code == code
    none = await opened(stack, server, bucket=None)
    assert (await run(s3_get, none, key="k")).code == "object.no_bucket"
    assert (await run(s3_list, none, bucket="box")).kind == "output"


def test_a_bucket_in_the_hosts_name_is_bound_too() -> None:
    from nodes.connections.s3 import hosts

    fields = s3.fields(
        endpoint="https://s3.eu-central-1.amazonaws.com", access_key="a", secret_key="s3cr3t-key"
    )
    assert hosts(fields) == ["s3.eu-central-1.amazonaws.com", "*.s3.eu-central-1.amazonaws.com"]  # type: ignore[arg-type]
    for endpoint in ("http://127.0.0.1:9000", "http://minio:9000"):
        assert len(hosts(fields.model_copy(update={"endpoint": endpoint}))) == 1  # type: ignore[arg-type]


async def test_large_content_goes_and_comes(link: OpenLink) -> None:
    data = base64.b64encode(bytes(range(256)) * 4_000).decode()
    await run(s3_put, link, key="big", content={"base64": data})
    got: Any = (await run(s3_get, link, key="big")).value
    assert got["content"]["base64"] == data
