from __future__ import annotations

import pytest
from starlette.requests import HTTPConnection

from api import address


def connection(*forwarded: str) -> HTTPConnection:
    headers = [(b"x-forwarded-for", each.encode()) for each in forwarded]
    return HTTPConnection({"type": "http", "headers": headers, "client": ("10.0.0.1", 5)})


@pytest.mark.parametrize(
    ("proxies", "forwarded", "found"),
    [
        (0, (), "10.0.0.1"),
        (0, ("1.1.1.1",), "10.0.0.1"),
        (1, (), "10.0.0.1"),
        (1, ("1.1.1.1",), "1.1.1.1"),
        (1, ("6.6.6.6, 1.1.1.1",), "1.1.1.1"),
        (1, ("6.6.6.6", "1.1.1.1"), "1.1.1.1"),
        (2, ("6.6.6.6, 1.1.1.1, 10.0.0.9",), "1.1.1.1"),
        (2, ("1.1.1.1",), "1.1.1.1"),
        (1, (" , ",), "10.0.0.1"),
        (1, ("x" * 500,), "x" * 100),
    ],
)
def test_only_our_own_proxies_are_believed(proxies: int, forwarded: tuple[str, ...], found: str) -> None:
    assert address.of(connection(*forwarded), proxies) == found


def test_without_a_peer_there_is_no_address() -> None:
    assert address.of(HTTPConnection({"type": "http", "headers": []}), 0) == ""
