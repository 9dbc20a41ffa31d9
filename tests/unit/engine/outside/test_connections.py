from __future__ import annotations

import base64
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from celeriac import Fail, Json
from engine.outside.connections import (
    KINDS,
    ConnectionInvalid,
    SealedConnection,
    make_connection,
    open_connection,
    unknown,
)
from engine.outside.credentials import BindingInvalid
from engine.outside.sealing import SealingKey

KEY = SealingKey.of(random.Random(1).randbytes(32))
OTHER = SealingKey.of(random.Random(2).randbytes(32))


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
        key=KEY,
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
    credential = open_connection(stored(kind, values), KEY)

    assert (credential.header, credential.query, credential.connection) == (header, query, "crm")


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
    assert open_connection(stored(kind, values), KEY).secrets == secrets


def test_hosts_are_stored_in_their_canonical_form_and_bind_the_credential() -> None:
    connection = stored(hosts=["API.Example.com", "*.example.org:8443"])
    credential = open_connection(connection, KEY)

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
        "created_at": 1_700_000_000_000,
        "updated_at": 1_700_000_000_000,
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
        open_connection(replace(stored(), **change), KEY)  # type: ignore[arg-type]

    assert caught.value.code in ("connection.altered", "connection.sealed_with_other_key")
    assert caught.value.details == {"connection": "crm"}


def test_a_row_with_other_hosts_is_called_altered() -> None:
    with pytest.raises(Fail) as caught:
        open_connection(replace(stored(), hosts=("evil.test",)), KEY)

    assert caught.value.code == "connection.altered"


def test_another_deployments_key_is_named_as_the_reason() -> None:
    with pytest.raises(Fail) as caught:
        open_connection(stored(), OTHER)

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
    assert "celeriac connections add" in unknown("crn", []).message


def test_the_kinds_are_these() -> None:
    assert list(KINDS) == ["basic", "bearer", "api_key", "openai", "anthropic"]


# Models


@pytest.mark.parametrize(
    ("kind", "values", "hosts", "base", "header"),
    [
        (
            "openai",
            {"api_key": "sk-1"},
            ("api.openai.com",),
            "https://api.openai.com/v1/",
            ("Authorization", "Bearer sk-1"),
        ),
        (
            "anthropic",
            {"api_key": "sk-1"},
            ("api.anthropic.com",),
            "https://api.anthropic.com/v1/",
            ("Authorization", "Bearer sk-1"),
        ),
        ("openai", {"base_url": "http://gpu:8000/v1"}, ("gpu:8000",), "http://gpu:8000/v1", None),
        (
            "openai",
            {"base_url": "http://[::1]:11434/v1", "api_key": "k"},
            ("[::1]:11434",),
            "http://[::1]:11434/v1",
            ("Authorization", "Bearer k"),
        ),
    ],
)
def test_a_connection_to_models_knows_where_they_are(
    kind: str, values: dict[str, Json], hosts: tuple[str, ...], base: str, header: tuple[str, str] | None
) -> None:
    made = stored(kind, values, hosts=[])
    credential = open_connection(made, KEY)

    assert (made.hosts, credential.base_url, credential.header) == (hosts, base, header)
    assert credential.secrets == ({values["api_key"]} if "api_key" in values else set())


@pytest.mark.parametrize(
    ("values", "hosts"),
    [
        ({}, []),
        ({"api_key": "sk 1\n"}, []),
        ({"base_url": "ftp://gpu/v1"}, []),
        ({"base_url": "http://u:p@gpu/v1"}, []),
        ({"base_url": "gpu"}, []),
        ({"base_url": "http://[/v1"}, []),
        ({"base_url": 5}, []),
        ({"base_url": "http://gpu:8000/v1"}, ["gpu"]),
        ({"api_key": "sk-1"}, ["proxy.example.com"]),
    ],
)
def test_a_connection_to_models_that_leads_nowhere_is_refused(
    values: dict[str, Json], hosts: list[str]
) -> None:
    with pytest.raises((ConnectionInvalid, BindingInvalid)):
        stored("openai", values, hosts=hosts)
