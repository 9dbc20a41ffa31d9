"""Which hosts and addresses a workflow may reach: a pure policy over the special-purpose registries of IANA.

The table is our own, since `ipaddress.is_global` calls several inner addresses public (`::127.0.0.1`, NAT64
around 169.254.169.254, multicast). What IANA does not list as globally reachable is refused; of IPv6 only
global unicast passes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from engine.errors import Misconfigured

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

SETTING = "CELERIAC_EGRESS_ALLOW"
"""The deployment's setting that names exceptions; every refusal points to it."""

_SPECIAL_V4 = tuple(
    (IPv4Network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "this machine"),
        ("10.0.0.0/8", "a private network"),
        ("100.64.0.0/10", "a provider's inner network"),
        ("127.0.0.0/8", "this machine (loopback)"),
        ("168.63.129.16/32", "a cloud's inner service"),
        ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
        ("172.16.0.0/12", "a private network"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "reserved for documentation"),
        ("192.88.99.0/24", "a retired relay (6to4)"),
        ("192.168.0.0/16", "a private network"),
        ("198.18.0.0/15", "reserved for benchmarks"),
        ("198.51.100.0/24", "reserved for documentation"),
        ("203.0.113.0/24", "reserved for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)

_SPECIAL_V6 = tuple(
    (IPv6Network(network), kind)
    for network, kind in (
        ("::/128", "this machine"),
        ("::1/128", "this machine (loopback)"),
        ("64:ff9b:1::/48", "a translator's inner network (NAT64)"),
        ("100::/64", "discarded"),
        ("2001::/23", "reserved for protocols"),
        ("2001:db8::/32", "reserved for documentation"),
        ("2002::/16", "a retired relay (6to4)"),
        ("3fff::/20", "reserved for documentation"),
        ("5f00::/16", "reserved for segment routing"),
        ("fc00::/7", "a private network"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "a private network (site-local)"),
        ("ff00::/8", "multicast"),
    )
)

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_COMPATIBLE = IPv6Network("::/96")
_NAT64 = IPv6Network("64:ff9b::/96")

_METADATA: tuple[Network, ...] = (
    IPv4Network("169.254.0.0/16"),
    IPv4Network("168.63.129.16/32"),
    IPv4Network("100.100.100.200/32"),
    IPv4Network("192.0.0.192/32"),
    IPv6Network("fe80::/10"),
    IPv6Network("fd00:ec2::/32"),
    IPv6Network("fd20:ce::254/128"),
)
"""Where clouds hand out credentials to whoever asks. Only an exception that names the very address opens
these.
"""

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def carried(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address carries: mapped, compatible, 6to4, NAT64 or Teredo."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def kind_of(address: Address) -> str | None:
    """Return what is special about an address, in words; None for a public one.

    A mapped address and one behind the well-known NAT64 prefix are what they carry. 6to4, Teredo and
    compatible addresses have no honest use left, and are refused whatever they carry.
    """
    inner = carried(address)
    if inner is not None:
        kind = kind_of(inner)
        if kind is not None:
            return kind
        if address in _NAT64 or (isinstance(address, IPv6Address) and address.ipv4_mapped is not None):
            return None
        return "a retired form of IPv4 in IPv6"
    table: tuple[tuple[Network, str], ...] = _SPECIAL_V4 if isinstance(address, IPv4Address) else _SPECIAL_V6
    for network, kind in table:
        if address in network:
            return kind
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return "reserved"
    return None


def literal(host: str) -> Address | None:
    """Return the address that a host spells out (IPv6 without brackets); None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def fault_of(host: str) -> str | None:
    """Return what is wrong with a host's form; None for a name, a dotted quad, or an IPv6 address without a
    zone.

    Resolvers read `127.1`, `0x7f.1` and `2130706433` as loopback. One spelling of an address is enough.
    """
    if not host:
        return "has no host"
    if ":" in host:
        return None if "%" not in host and literal(host) else "has a host that is no IPv6 address"
    labels = host.split(".")
    if not all(labels):
        return "has a host with an empty label"
    if len(host) > 253 or not all(_LABEL.fullmatch(each) for each in labels):
        return "has a host with characters that no host name has"
    if _NUMBER.fullmatch(labels[-1]) and not isinstance(literal(host), IPv4Address):
        return "has a host that is a number; write an IPv4 address as four decimal numbers"
    return None


@dataclass(frozen=True, slots=True)
class Allowed:
    """One exception: a host or a network, and a port or all of them."""

    host: str | None
    network: Network | None
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Allowed:
        """Read `host`, `address` or `network/length`, each with an optional `:port`; IPv6 with a port in
        brackets.
        """
        if text.startswith("["):
            head, bracket, tail = text[1:].partition("]")
            if not bracket or (tail and not tail.startswith(":")):
                raise _unusable(text, "its brackets are not closed before the port")
            port = tail[1:] or (tail and "?")
        elif text.count(":") > 1:
            head, port = text, ""
        else:
            head, colon, port = text.partition(":")
            port = port or (colon and "?")
        if port and not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
            raise _unusable(text, "its port is no number from 1 to 65535")
        number = int(port) if port else None
        if "/" in head or literal(head) is not None:
            try:
                return cls(None, ip_network(head), number)
            except ValueError as error:
                raise _unusable(text, f"{error}") from None
        host = head.lower()
        if fault_of(host) is not None:
            raise _unusable(text, "it is neither a host name, nor an address, nor a network")
        return cls(host, None, number)

    def covers(self, host: str, port: int, address: Address) -> bool:
        """Whether this exception opens `address`, found under the name `host`, at `port`."""
        if self.port is not None and self.port != port:
            return False
        if is_metadata(address):
            return self.network is not None and self.network.num_addresses == 1 and address in self.network
        return self.host == host if self.network is None else address in self.network


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one answer may be. Sizes are bytes; `expansion` is how often larger than its transfer a body
    may get.
    """

    body_bytes: int = 10 * 1024 * 1024
    header_bytes: int = 64 * 1024
    connect_seconds: float = 5.0
    total_seconds: float = 30.0
    redirects: int = 5
    expansion: int = 20


@dataclass(frozen=True, slots=True)
class Policy:
    """What workflows may reach: the public internet, and what the deployment allows besides."""

    allow: tuple[Allowed, ...] = ()
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Read the setting: exceptions with commas between. Raises `Misconfigured` with the one that is
        wrong.
        """
        return cls(tuple(Allowed.parse(each.strip()) for each in text.split(",") if each.strip()))

    def refusal(self, host: str, port: int, address: Address) -> str | None:
        """Return why `address`, found as `host`, must not be connected to; None when it may be."""
        kind = kind_of(address)
        if kind is None:
            return None
        # A mapped address is its IPv4 address, for the system as for us.
        real = (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
        return None if any(each.covers(host, port, real) for each in self.allow) else kind


def is_metadata(address: Address) -> bool:
    """Whether an address, or what it carries, is one where clouds hand out credentials."""
    return any(each in network for each in (address, carried(address)) if each for network in _METADATA)


def _unusable(text: str, reason: str) -> Misconfigured:
    return Misconfigured(
        f"{SETTING} names {text!r}, which cannot be used: {reason}.",
        hint="Name hosts, addresses or networks with commas between: localhost:8080, 10.0.0.0/8, [::1]:9000.",
    )
