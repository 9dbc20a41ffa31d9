from __future__ import annotations

import pytest
from fastapi import Request

from api import principal
from engine.errors import Invalid


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw})


def test_whoever_is_named_acts_and_otherwise_the_api() -> None:
    named = request(X_Celeriac_Principal="ann@x.example", X_Celeriac_Roles="boss, clerk,")
    assert principal.of(named) == principal.Principal("ann@x.example", frozenset({"boss", "clerk"}))
    assert principal.named(named) == "ann@x.example"
    assert principal.of(request()) == principal.Principal("api")
    assert principal.named(request()) == ""


@pytest.mark.parametrize(
    "headers", [{"X_Celeriac_Principal": ""}, {"X_Celeriac_Principal": "a b"}, {"X_Celeriac_Roles": "a/b"}]
)
def test_what_is_no_name_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        principal.of(request(**headers))
