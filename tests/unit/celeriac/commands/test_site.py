from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from celeriac.commands.site import GUESSER, PEOPLE, Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "site.log")
    yield made
    made.close()


def quarantine(site: Site, secret: str) -> int:
    auth = httpx2.BasicAuth("demo", secret)
    url = f"http://{site.address}/api/firewall/alias_util/add/quarantine"
    return httpx2.post(url, json={"address": GUESSER}, auth=auth).status_code


def secret_of(site: Site) -> str:
    values: Any = site.connections()[0]["values"]
    return str(values["secret"])


def test_every_try_to_sign_in_stands_in_the_log(site: Site) -> None:
    site.live(3)
    lines = site.log().splitlines()
    assert [line.split(": ", 1)[1] for line in lines[:2]] == [
        "Accepted password for ada from 198.51.100.7 port 443",
        "Failed password for grace from 198.51.100.23 port 443",
    ]
    assert lines[-1].endswith(f"Failed password for invalid user test from {GUESSER} port 443")


def test_whoever_is_in_quarantine_is_let_in_no_more_and_others_are(site: Site) -> None:
    assert quarantine(site, secret_of(site)) == 200
    assert site.again() == {**dict.fromkeys(PEOPLE.values(), 200), GUESSER: 403}


def test_the_firewall_wants_its_credential(site: Site) -> None:
    assert quarantine(site, "wrong") == 401
    assert site.quarantined == set()


def test_tickets_and_alerts_are_kept(site: Site) -> None:
    auth = httpx2.BasicAuth("demo", secret_of(site))
    told = httpx2.post(
        f"http://{site.address}/rest/api/2/issue", json={"fields": {"summary": "a"}}, auth=auth
    )
    assert json.loads(told.content) == {"key": "SEC-1"}
    httpx2.post(f"http://{site.address}/api/v2/alerts", json=[{}], auth=auth)
    assert (site.tickets, site.alerts) == ([{"summary": "a"}], [[{}]])
    assert httpx2.get(f"http://{site.address}/").status_code == 404
