from __future__ import annotations

import random
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import Misconfigured
from engine.outside.addresses import Allowed, Policy, carried, fault_of, is_metadata, kind_of, literal

SPECIAL_V4 = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
]
SPECIAL_V6 = [
    "::/128",
    "::1/128",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.0.3.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
    "3ffe::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]


def inside(network: IPv4Network | IPv6Network, draw: random.Random) -> Iterator[IPv4Address | IPv6Address]:
    yield network[0]
    yield network[-1]
    for _ in range(8):
        yield network[draw.randrange(network.num_addresses)]


def wrapped(inner: IPv4Address) -> Iterator[IPv6Address]:
    number = int(inner)
    yield IPv6Address((0xFFFF << 32) | number)
    yield IPv6Address(number) if number > 1 else IPv6Address(0)
    yield IPv6Address((0x2002 << 112) | (number << 80) | 1)
    yield IPv6Address((0x64_FF9B << 96) | number)
    yield IPv6Address((0x2001_0000 << 96) | (int(IPv4Address("8.8.8.8")) << 64) | (number ^ 0xFFFF_FFFF))


def vectors() -> list[IPv4Address | IPv6Address]:
    draw = random.Random(20)
    plain = [each for text in SPECIAL_V4 for each in inside(IPv4Network(text), draw)]
    found: list[IPv4Address | IPv6Address] = [each for each in plain if isinstance(each, IPv4Address)]
    found += [outer for each in plain if isinstance(each, IPv4Address) for outer in wrapped(each)]
    found += [each for text in SPECIAL_V6 for each in inside(IPv6Network(text), draw)]
    return found


def test_no_special_address_in_any_wrapping_is_public() -> None:
    assert len(vectors()) >= 1000
    assert [str(each) for each in vectors() if kind_of(each) is None] == []


def test_no_special_address_in_any_wrapping_passes_an_empty_allow_list() -> None:
    policy = Policy()

    assert [str(each) for each in vectors() if policy.refusal("host.test", 443, each) is None] == []


@pytest.mark.parametrize("text", PUBLIC)
def test_addresses_beside_the_special_ones_are_public(text: str) -> None:
    assert kind_of(ip_address(text)) is None


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_whatever_python_calls_not_global_is_special_to_us(address: IPv4Address) -> None:
    assert kind_of(address) is not None or address.is_global


@settings(deadline=None)
@given(st.ip_addresses(v=6))
def test_of_ipv6_only_global_unicast_and_carried_public_addresses_pass(address: IPv6Address) -> None:
    inner = carried(address)
    passes = kind_of(address) is None

    assert not passes or address in IPv6Network("2000::/3") or (inner is not None and kind_of(inner) is None)


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::127.0.0.1", "127.0.0.1"),
        ("2002:a9fe:a9fe::", "169.254.169.254"),
        ("64:ff9b::a9fe:a9fe", "169.254.169.254"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45"),
        ("::1", None),
        ("2001:4860:4860::8888", None),
        ("127.0.0.1", None),
    ],
)
def test_an_address_inside_another_is_found(outer: str, inner: str | None) -> None:
    assert carried(ip_address(outer)) == (None if inner is None else IPv4Address(inner))


@pytest.mark.parametrize("text", ["2002:808:808::1", "2001:0:808:808::f7f7:f7f7", "::8.8.8.8"])
def test_retired_tunnels_are_refused_even_around_public_addresses(text: str) -> None:
    assert kind_of(ip_address(text)) is not None


def loopback_spellings() -> list[str]:
    number = 0x7F000001
    parts = ["127", "0x7f", "0177"]
    tails = ["1", "0x1", "01", "0.1", "0.0.1", "0x0.0x0.0x1", "00.00.01"]
    spelled = [f"{part}.{tail}" for part in parts for tail in tails]
    spelled += [str(number), hex(number), oct(number).replace("o", ""), "0", "0x0", "0x", "00000000177.1"]
    spelled += [
        "127.0.0.1.",
        "127.0.0.01",
        "127.0.0.0x1",
        "127.0.0.256",
        "1.2.3.4.5",
        "1.2.3",
        "a.1",
        "a.0x1f",
    ]
    return [each for each in spelled if each != "127.0.0.1"]


@pytest.mark.parametrize("host", loopback_spellings())
def test_numbers_that_resolvers_read_as_addresses_are_no_hosts(host: str) -> None:
    assert fault_of(host) is not None


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "a..b",
        ".a",
        "a.",
        "a b",
        "a%20b",
        "a\\b",
        "a/b",
        "a@b",
        "a#b",
        "a?b",
        "a\tb",
        "a\x00b",
        "A.example",
        "-a.example",
        "a-.example",
        "é.example",
        "①②⑦.⓪.⓪.①",
        "a" * 64,
        ".".join(["a" * 60] * 5),
        "::1%eth0",
        "fe80::1%25eth0",
        ":::",
        "1:2",
        "::ffff:127.1",
        "[::1]",
    ],
)
def test_what_is_no_canonical_host_has_a_fault(host: str) -> None:
    assert fault_of(host) is not None


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "api.example.com",
        "my_service",
        "xn--fiqs8s.icom.museum",
        "a-b.example",
        "8.8.8.8",
        "1and1.example",
        "0x1.example",
        "::1",
        "2001:db8::8.8.8.8",
        "::ffff:127.0.0.1",
    ],
)
def test_names_and_canonical_addresses_have_no_fault(host: str) -> None:
    assert fault_of(host) is None


def test_a_name_is_no_literal() -> None:
    assert (literal("example.com"), literal("10.0.0.1")) == (None, IPv4Address("10.0.0.1"))


@pytest.mark.parametrize(
    ("setting", "host", "port", "address", "passes"),
    [
        ("127.0.0.1", "127.0.0.1", 80, "127.0.0.1", True),
        ("127.0.0.1:8080", "127.0.0.1", 8080, "127.0.0.1", True),
        ("127.0.0.1:8080", "127.0.0.1", 8081, "127.0.0.1", False),
        ("127.0.0.1:8080", "localhost", 8080, "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", 80, "127.0.0.2", False),
        ("127.0.0.1", "mapped", 80, "::ffff:127.0.0.1", True),
        ("10.0.0.0/8", "db.inner", 5432, "10.200.3.4", True),
        ("10.0.0.0/8:5432", "db.inner", 5433, "10.200.3.4", False),
        ("10.0.0.0/8", "tunnel", 80, "2002:a00:1::", False),
        ("10.0.0.0/8", "translated", 80, "64:ff9b::a00:1", False),
        ("[::1]:9000", "::1", 9000, "::1", True),
        ("::1", "::1", 9000, "::1", True),
        ("fd00::/8", "inner", 80, "fd12::1", True),
        ("[fd00::/8]:80", "inner", 81, "fd12::1", False),
        ("Inner.Example", "inner.example", 80, "192.168.3.4", True),
        ("inner.example", "other.example", 80, "192.168.3.4", False),
        ("a.example, 127.0.0.0/8 ,b.example:1", "x", 80, "127.9.9.9", True),
    ],
)
def test_an_exception_opens_what_it_names_and_nothing_beside(
    setting: str, host: str, port: int, address: str, passes: bool
) -> None:
    assert (Policy.parse(setting).refusal(host, port, ip_address(address)) is None) == passes


METADATA = [
    "169.254.169.254",
    "169.254.170.2",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "fd00:ec2::254",
    "fe80::a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "::ffff:169.254.169.254",
]


@pytest.mark.parametrize("text", METADATA)
def test_metadata_is_not_opened_by_a_network_or_a_name(text: str) -> None:
    everything = Policy.parse("0.0.0.0/0, ::/0, metadata.example, 169.254.0.0/16")

    assert is_metadata(ip_address(text))
    assert everything.refusal("metadata.example", 80, ip_address(text)) is not None


def test_metadata_is_opened_by_its_very_address() -> None:
    policy = Policy.parse("169.254.169.254:80")

    assert policy.refusal("169.254.169.254", 80, ip_address("169.254.169.254")) is None
    assert policy.refusal("169.254.169.254", 80, ip_address("169.254.169.253")) is not None


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "*.example.com",
        "http://a",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "a:b",
        "a:",
        "a:0",
        "a:65536",
        "a:²",
        "[::1",
        "[::1]x",
        "[::1]:",
        "1.2.3",
        "a..b",
        "a b",
        "::1/129",
    ],
)
def test_a_wrong_exception_is_refused_with_its_text_and_the_setting(text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Policy.parse(f"localhost,{text}")

    assert (caught.value.code, repr(text) in caught.value.message, bool(caught.value.hint)) == (
        "settings.invalid",
        True,
        True,
    )
    assert "CELERIAC_EGRESS_ALLOW" in caught.value.message


def test_an_empty_setting_allows_nothing() -> None:
    assert (Policy.parse("").allow, Policy.parse(" , ").allow) == ((), ())


def test_an_exception_is_read_into_its_parts() -> None:
    assert Allowed.parse("10.0.0.0/8:81") == Allowed(None, IPv4Network("10.0.0.0/8"), 81)
    assert Allowed.parse("Name.Example") == Allowed("name.example", None, None)
