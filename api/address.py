"""Where a request comes from: what is connected, or what the proxies in front say, as far as they are ours."""

from __future__ import annotations

from starlette.requests import HTTPConnection


def of(connection: HTTPConnection, proxies: int) -> str:
    """Return the address of the client. Of `X-Forwarded-For` only what our own proxies have added is believed."""
    near = connection.client.host if connection.client is not None else ""
    if not proxies:
        return near
    said = [
        each.strip()
        for header in connection.headers.getlist("x-forwarded-for")
        for each in header.split(",")
        if each.strip()
    ]
    found = said[-proxies] if len(said) >= proxies else (said[0] if said else near)
    return found[:100].encode("ascii", "backslashreplace").decode()
