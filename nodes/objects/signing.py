"""Signatures of requests to S3 and what speaks like it (AWS Signature Version 4). Pure.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Keys:
    """Who signs, and for where."""

    access_key: str
    secret_key: str = field(repr=False)
    region: str
    token: str | None = field(default=None, repr=False)


def headers_for(
    keys: Keys,
    method: str,
    host: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    content: bytes,
    now: str,
) -> dict[str, str]:
    """Return the headers of a signed request: those given, and what signs them.

    `path` is not encoded yet, `now` like `20130524T000000Z`.
    """
    given = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    given |= {"host": host, "x-amz-date": now, "x-amz-content-sha256": hashlib.sha256(content).hexdigest()}
    if keys.token is not None:
        given["x-amz-security-token"] = keys.token
    names = ";".join(sorted(given))
    signature = sign(keys, method, path, query, given, now)
    scope = f"{keys.access_key}/{now[:8]}/{keys.region}/s3/aws4_request"
    signed = f"{_ALGORITHM} Credential={scope}, SignedHeaders={names}, Signature={signature}"
    return {**{name: value for name, value in given.items() if name != "host"}, "Authorization": signed}


def sign(
    keys: Keys, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], now: str
) -> str:
    """Return the signature over a request with these headers, whose names are in lower case."""
    parameters = "&".join(f"{encoded(name)}={encoded(query[name])}" for name in sorted(query, key=encoded))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    names = ";".join(sorted(headers))
    request = "\n".join(
        [method, encoded(path, "/"), parameters, lines, names, headers["x-amz-content-sha256"]]
    )
    scope = f"{now[:8]}/{keys.region}/s3/aws4_request"
    text = "\n".join([_ALGORITHM, now, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{keys.secret_key}".encode()
    for part in (now[:8], keys.region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def encoded(text: str, safe: str = "") -> str:
    """Return a text as it stands in an address."""
    return quote(text, safe=f"-._~{safe}")
