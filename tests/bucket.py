"""An object store on loopback that checks signatures, and keeps objects: as much of S3 as its clients use here."""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

from nodes.objects.signing import Keys, sign
from tests.loopback import Asked, answer

KEYS = Keys("AKIDTEST", "s3cr3t/object+key-0123456789", "eu-test-1")


@dataclass(slots=True)
class Stored:
    """An object."""

    content: bytes
    headers: dict[str, str]


@dataclass(slots=True)
class Bucket:
    """One bucket, `box`. `writes` counts those that changed something; `refuses` are answered first, each once."""

    objects: dict[str, Stored] = field(default_factory=dict)
    writes: int = 0
    refuses: list[tuple[int, str]] = field(default_factory=list)
    keys: Keys = KEYS
    page: int = 2

    async def handle(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(self._answer(asked))

    def _answer(self, asked: Asked) -> bytes:
        parts = urlsplit(asked.target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        path = unquote(parts.path)
        if self.refuses:
            return error(*self.refuses.pop(0))
        wrong = self._unsigned(asked, path, query)
        if wrong:
            return error(403, wrong)
        bucket, _, key = path.removeprefix("/").partition("/")
        if bucket != "box":
            return error(404, "NoSuchBucket")
        if asked.method == "PUT":
            return self._put(key, asked)
        if not key:
            return self._list(query)
        if key not in self.objects:
            return error(404, "NoSuchKey")
        found = self.objects[key]
        return answer(found.content, **{name.replace("-", "_"): each for name, each in found.headers.items()})

    def _put(self, key: str, asked: Asked) -> bytes:
        if asked.headers.get("if-none-match") == "*" and key in self.objects:
            return error(412, "PreconditionFailed")
        own = {name: each for name, each in asked.headers.items() if name.startswith("x-amz-meta-")}
        etag = f'"{hashlib.md5(asked.body, usedforsecurity=False).hexdigest()}"'
        headers = {
            "Content-Type": asked.headers.get("content-type", "binary/octet-stream"),
            "ETag": etag,
            "Last-Modified": "Tue, 01 Jan 2030 00:00:00 GMT",
            **own,
        }
        if key not in self.objects or self.objects[key].content != asked.body:
            self.writes += 1
        self.objects[key] = Stored(asked.body, headers)
        return answer(ETag=etag)

    def _list(self, query: dict[str, str]) -> bytes:
        assert query["list-type"] == "2"
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        after = query.get("continuation-token") or query.get("start-after") or ""
        names = sorted(each for each in self.objects if each.startswith(prefix) and each > after)
        folders: dict[str, None] = {}
        if delimiter:
            for each in names:
                head, found, _ = each.removeprefix(prefix).partition(delimiter)
                if found:
                    folders[prefix + head + found] = None
            names = [each for each in names if delimiter not in each.removeprefix(prefix)]
        size = min(self.page, int(query.get("max-keys", 1000)))
        shown, more = names[:size], len(names) > size
        lines = [
            f"<Contents><Key>{escape(each)}</Key><LastModified>2030-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>{escape(self.objects[each].headers['ETag'])}</ETag><Size>{len(self.objects[each].content)}</Size></Contents>"
            for each in shown
        ]
        lines += [f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in folders]
        if more:
            lines.append(f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>")
        body = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>box</Name><IsTruncated>{str(more).lower()}</IsTruncated>{''.join(lines)}</ListBucketResult>"
        )
        return answer(body, Content_Type="application/xml")

    def _unsigned(self, asked: Asked, path: str, query: dict[str, str]) -> str | None:
        """Say what is wrong with a signature."""
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?SignedHeaders=([^,]+), ?Signature=(\w+)",
            asked.headers.get("authorization", ""),
        )
        if found is None:
            return "AccessDenied"
        access, _, region, names, signature = found.groups()
        if (access, region) != (self.keys.access_key, self.keys.region):
            return "InvalidAccessKeyId"
        digest = asked.headers["x-amz-content-sha256"]
        if digest not in ("UNSIGNED-PAYLOAD", hashlib.sha256(asked.body).hexdigest()):
            return "XAmzContentSHA256Mismatch"
        headers = {each: asked.headers[each] for each in names.split(";")}
        headers.setdefault("x-amz-content-sha256", digest)
        now = asked.headers["x-amz-date"]
        ours = sign(self.keys, asked.method, path, query, headers, now)
        return None if ours == signature else "SignatureDoesNotMatch"


def error(status: int, code: str) -> bytes:
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>As {code} says</Message></Error>'
    return answer(body, status=f"{status} Said", Content_Type="application/xml")
