from __future__ import annotations

import pytest

from celeriac import Carried
from engine.outside.credentials import Binding, BindingInvalid, Credential


@pytest.mark.parametrize(
    ("pattern", "scheme", "host", "port", "matches"),
    [
        ("api.example.com", "https", "api.example.com", 443, True),
        ("api.example.com", "http", "api.example.com", 80, True),
        ("API.Example.COM", "https", "api.example.com", 443, True),
        ("api.example.com", "https", "api.example.com", 8443, False),
        ("api.example.com", "http", "api.example.com", 443, False),
        ("api.example.com", "https", "example.com", 443, False),
        ("api.example.com", "https", "x.api.example.com", 443, False),
        ("api.example.com", "https", "api.example.com.evil.test", 443, False),
        ("api.example.com", "https", "evilapi.example.com", 443, False),
        ("api.example.com:8443", "https", "api.example.com", 8443, True),
        ("api.example.com:8443", "https", "api.example.com", 443, False),
        ("*.example.com", "https", "api.example.com", 443, True),
        ("*.example.com", "https", "a.b.example.com", 443, True),
        ("*.example.com", "https", "example.com", 443, False),
        ("*.example.com", "https", "badexample.com", 443, False),
        ("*.example.com", "https", "example.com.evil.test", 443, False),
        ("*.example.com:8443", "https", "a.example.com", 8443, True),
        ("127.0.0.1:8080", "http", "127.0.0.1", 8080, True),
        ("[::1]:8080", "http", "::1", 8080, True),
        ("[2001:db8::1]", "https", "2001:db8::1", 443, True),
        ("localhost:1", "http", "localhost", 1, True),
    ],
)
def test_a_binding_matches_its_hosts_only(
    pattern: str, scheme: str, host: str, port: int, matches: bool
) -> None:
    assert Binding.parse(pattern).matches(scheme, host, port) == matches


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "*",
        "*.",
        "*.com",
        "*.localhost",
        "a.*.example.com",
        "*.*.example.com",
        "*example.com",
        "https://a.example",
        "a.example/",
        "a.example:",
        "a.example:0",
        "a.example:65536",
        "a.example:x",
        "u@a.example",
        "a b.example",
        "é.example",
        "0x7f.1",
        "*.10.0.0.1",
        "*.[::1]",
        "::1",
        "[::1",
        "a..b",
        "a.example.",
    ],
)
def test_what_is_no_host_is_refused_with_its_text_and_a_remedy(pattern: str) -> None:
    with pytest.raises(BindingInvalid) as caught:
        Binding.parse(pattern)

    assert caught.value.code == "connection.invalid_host"
    assert repr(pattern) in caught.value.message
    assert caught.value.hint is not None


@pytest.mark.parametrize(
    "pattern", ["api.example.com", "*.example.com", "a.example:81", "[::1]:8080", "10.1.2.3"]
)
def test_a_binding_is_written_as_it_is_read(pattern: str) -> None:
    assert str(Binding.parse(pattern)) == pattern


def test_a_header_takes_the_place_of_any_of_its_name() -> None:
    credential = Credential("c", (), Carried({"X-Key": "value"}))
    given = [(b"x-key", b"mine"), (b"Accept", b"*/*"), (b"X-KEY", b"again")]

    assert credential.headers(given) == [(b"Accept", b"*/*"), (b"X-Key", b"value")]


def test_a_parameter_is_added_behind_what_is_there() -> None:
    credential = Credential("c", (), Carried(query={"the key": "a/b&c=d ü"}))

    assert credential.target(b"/p") == b"/p?the%20key=a%2Fb%26c%3Dd%20%C3%BC"
    assert credential.target(b"/p?q=%20") == b"/p?q=%20&the%20key=a%2Fb%26c%3Dd%20%C3%BC"


def test_what_a_credential_does_not_use_it_leaves() -> None:
    assert Credential("c", ()).headers([(b"a", b"b")]) == [(b"a", b"b")]
    assert Credential("c", ()).target(b"/p?q") == b"/p?q"


def test_a_refusal_names_the_connection_the_host_and_the_bound_hosts_and_not_the_secret() -> None:
    credential = Credential("crm", (Binding.parse("*.example.com"),), carried=Carried({"A": "s3cret"}))
    error = credential.refusal("evil.test", 443)

    assert (error.code, error.details) == (
        "connection.host_not_bound",
        {"connection": "crm", "host": "evil.test", "port": 443},
    )
    assert "'crm'" in error.message
    assert "*.example.com" in error.message
    assert "evil.test:443" in error.message
    assert "s3cret" not in error.message


def test_a_repr_shows_no_secret() -> None:
    credential = Credential(
        "c", (), Carried({"A": "s3cret"}, {"q": "s3cret"}, "/s3cret"), frozenset({"s3cret"})
    )

    assert "s3cret" not in repr(credential)
