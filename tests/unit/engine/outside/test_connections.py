from __future__ import annotations

import base64
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from celeriac import Fail, Json
from engine.outside.connections import (
    ConnectionInvalid,
    SealedConnection,
    make_connection,
    open_connection,
    unknown,
    with_values,
)
from engine.outside.credentials import BindingInvalid
from engine.outside.sealing import SealingKeys
from nodes import CONNECTION_TYPES

KEY = SealingKeys.of(random.Random(1).randbytes(32))
OTHER = SealingKeys.of(random.Random(2).randbytes(32))
KINDS = {each.name: each for each in CONNECTION_TYPES}


def stored(
    kind: str = "bearer",
    values: dict[str, Json] | None = None,
    hosts: Sequence[str] = ("api.example.com",),
    name: str = "crm",
    connection_id: str = "conn_1",
) -> SealedConnection:
    return make_connection(
        connection_id=connection_id,
        project_id="proj_1",
        name=name,
        kind=kind,
        hosts=hosts,
        values={"token": "s3cret-token"} if values is None else values,
        kinds=KINDS,
        keys=KEY,
        now=1_700_000_000_000,
        random_bytes=random.Random(3).randbytes,
    )


@pytest.mark.parametrize(
    ("kind", "values", "header", "query"),
    [
        (
            "basic",
            {"username": "ann", "password": "s3cret"},
            ("Authorization", "Basic " + base64.b64encode(b"ann:s3cret").decode()),
            None,
        ),
        (
            "basic",
            {"username": "änn", "password": "pä:ss"},
            ("Authorization", "Basic " + base64.b64encode("änn:pä:ss".encode()).decode()),
            None,
        ),
        ("bearer", {"token": "s3cret"}, ("Authorization", "Bearer s3cret"), None),
        ("api_key", {"header": "X-Api-Key", "value": "s3cret"}, ("X-Api-Key", "s3cret"), None),
        ("api_key", {"query": "key", "value": "s3cret ü"}, None, ("key", "s3cret ü")),
    ],
)
def test_each_kind_opens_into_what_it_adds_to_a_request(
    kind: str, values: dict[str, Json], header: tuple[str, str] | None, query: tuple[str, str] | None
) -> None:
    credential = open_connection(stored(kind, values), KINDS, KEY).credential()

    carried = (dict(credential.carried.headers), dict(credential.carried.query))
    assert carried == (dict([header] if header else []), dict([query] if query else []))
    assert credential.connection == "crm"


@pytest.mark.parametrize(
    ("kind", "values", "secrets"),
    [
        ("basic", {"username": "ann", "password": "s3cret"}, {"s3cret", "YW5uOnMzY3JldA=="}),
        ("bearer", {"token": "s3cret"}, {"s3cret"}),
        ("api_key", {"query": "key", "value": "s3cret"}, {"s3cret"}),
        ("api_key", {"header": "key", "value": "s3cret"}, {"s3cret"}),
    ],
)
def test_what_must_not_get_into_an_output_is_named(
    kind: str, values: dict[str, Json], secrets: set[str]
) -> None:
    assert open_connection(stored(kind, values), KINDS, KEY).credential().secrets == secrets


def test_hosts_are_stored_in_their_canonical_form_and_bind_the_credential() -> None:
    connection = stored(hosts=["API.Example.com", "*.example.org:8443"])
    credential = open_connection(connection, KINDS, KEY).credential()

    assert connection.hosts == ("api.example.com", "*.example.org:8443")
    assert credential.bound_to("https", "api.example.com", 443)
    assert not credential.bound_to("https", "www.example.com", 443)


def test_what_is_shown_of_a_connection_holds_no_secret() -> None:
    connection = stored()

    assert connection.to_json() == {
        "id": "conn_1",
        "name": "crm",
        "kind": "bearer",
        "hosts": ["api.example.com"],
        "status": "untested",
        "failure": None,
        "created_at": 1_700_000_000_000,
        "updated_at": 1_700_000_000_000,
        "last_used_at": None,
        "tested_at": None,
    }
    assert "s3cret" not in repr(connection) + repr(connection.sealed)


def test_the_same_text_sealed_for_two_connections_looks_different() -> None:
    assert stored().sealed != stored(connection_id="conn_2").sealed


@pytest.mark.parametrize(
    "change",
    [
        {"hosts": ("evil.test",)},
        {"kind": "api_key"},
        {"id": "conn_2"},
        {"project_id": "proj_2"},
        {"sealed": b""},
        {"sealed": b"\x01" + bytes(200)},
    ],
)
def test_a_changed_row_does_not_open(change: dict[str, object]) -> None:
    with pytest.raises(Fail) as caught:
        open_connection(replace(stored(), **change), KINDS, KEY)  # type: ignore[arg-type]

    assert caught.value.code in ("connection.altered", "connection.sealed_with_other_key")
    assert caught.value.details == {"connection": "crm"}


def test_a_row_with_other_hosts_is_called_altered() -> None:
    with pytest.raises(Fail) as caught:
        open_connection(replace(stored(), hosts=("evil.test",)), KINDS, KEY)

    assert caught.value.code == "connection.altered"


def test_another_deployments_key_is_named_as_the_reason() -> None:
    with pytest.raises(Fail) as caught:
        open_connection(stored(), KINDS, OTHER)

    assert caught.value.code == "connection.sealed_with_other_key"
    assert "CELERIAC_SECRET_KEY" in caught.value.message


SECRET_BAD = "s3cret\nX: y"


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("oauth", {"token": "x"}),
        ("bearer", {}),
        ("bearer", {"token": ""}),
        ("bearer", {"token": 5}),
        ("bearer", {"token": None}),
        ("bearer", {"token": SECRET_BAD}),
        ("bearer", {"token": " s3cret"}),
        ("bearer", {"token": "s3cret "}),
        ("bearer", {"token": "s3crét"}),
        ("bearer", {"token": "x", "hosts": "y"}),
        ("bearer", {"username": "x", "password": "y"}),
        ("basic", {"username": "a:b", "password": "y"}),
        ("basic", {"username": "a", "password": SECRET_BAD}),
        ("basic", {"username": "a"}),
        ("api_key", {"value": "x"}),
        ("api_key", {"header": "A", "query": "b", "value": "x"}),
        ("api_key", {"header": "A b", "value": "x"}),
        ("api_key", {"header": "A:", "value": "x"}),
        ("api_key", {"header": "Host", "value": "x"}),
        ("api_key", {"header": "content-length", "value": "x"}),
        ("api_key", {"header": "A", "value": SECRET_BAD}),
    ],
)
def test_what_cannot_be_sent_is_not_stored_and_not_repeated(kind: str, values: dict[str, Json]) -> None:
    with pytest.raises(ConnectionInvalid) as caught:
        stored(kind, values)

    assert caught.value.code == "connection.invalid"
    assert "s3cr" not in f"{caught.value.message}{caught.value.hint}{caught.value.details}"


@pytest.mark.parametrize("name", ["", "a b", "1a", "a.b", "a" * 65, "ä"])
def test_a_name_that_no_node_could_write_is_refused(name: str) -> None:
    with pytest.raises(ConnectionInvalid):
        stored(name=name)


def test_a_connection_without_hosts_is_refused() -> None:
    with pytest.raises(ConnectionInvalid) as caught:
        stored(hosts=())

    assert "api.example.com" in (caught.value.hint or "")


def test_a_connection_bound_to_no_host_name_is_refused() -> None:
    with pytest.raises(BindingInvalid):
        stored(hosts=["api.example.com", "*"])


def test_an_unknown_connection_is_answered_with_the_nearest_name() -> None:
    error = unknown("crn", ["crm", "mail"])

    assert (error.code, error.details) == ("connection.unknown", {"connection": "crn"})
    assert "'crm'" in error.message
    assert "celeriac connections add crn --kind KIND" in unknown("crn", []).message
    assert "celeriac connections add crn --kind jira." in unknown("crn", [], ["jira", "bearer"]).message


def test_an_earlier_key_still_opens_and_resealing_makes_it_unnecessary() -> None:
    secrets = [random.Random(seed).randbytes(32) for seed in (5, 1)]
    both, new = SealingKeys.of(*secrets), SealingKeys.of(secrets[0])
    resealed = with_values(stored(), {}, both, random.Random(6).randbytes)

    for connection, keys in ((stored(), both), (resealed, both), (resealed, new)):
        assert open_connection(connection, KINDS, keys).credential().secrets == {"s3cret-token"}
    with pytest.raises(Fail):
        open_connection(stored(), KINDS, new)


def test_an_exchanged_value_takes_the_place_of_the_old_one() -> None:
    renewed = with_values(stored(), {"token": "the-next-token"}, KEY, random.Random(6).randbytes)
    assert open_connection(renewed, KINDS, KEY).credential().secrets == {"the-next-token"}


def test_a_kind_that_is_not_installed_here_does_not_open() -> None:
    with pytest.raises(Fail) as caught:
        open_connection(stored(), {}, KEY)
    assert caught.value.code == "connection.unknown_kind"


def test_the_status_follows_from_the_last_test() -> None:
    assert [
        each.status
        for each in (
            stored(),
            replace(stored(), tested_at=1),
            replace(stored(), tested_at=1, failure={"code": "x.y"}),
        )
    ] == ["untested", "working", "failing"]
