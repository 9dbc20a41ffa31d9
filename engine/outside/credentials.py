"""An opened credential: what it adds to a request, and the hosts it may be sent to."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import quote

from celeriac import Carried, Fail
from engine.errors import Invalid
from engine.outside.addresses import fault_of

_DEFAULT_PORTS = {"http": 80, "https": 443}
_PATTERN = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[^:\[\]]+)(?::(?P<port>[0-9]{1,5}))?")


class BindingInvalid(Invalid):
    """A connection is bound to something that is no host."""

    code = "connection.invalid_host"


@dataclass(frozen=True, slots=True)
class Binding:
    """A host that may see a credential. `*.` in front of a name means every host below it, and not the name
    itself.

    Without a port only the scheme's own port is meant: what else listens on that host may belong to someone
    else.
    """

    host: str
    below: bool
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Binding:
        """Read `api.example.com`, `*.example.com` or `[::1]:8080`. Raises `BindingInvalid`."""
        lowered = text.strip().lower()
        match = _PATTERN.fullmatch(lowered.removeprefix("*."))
        below = lowered.startswith("*.")
        if match is None:
            raise _unusable(text, "it is no host")
        host, port = match["host"].strip("[]"), match["port"]
        if fault_of(host) is not None:
            raise _unusable(text, "it is no host; write an international name in its ASCII form (xn--...)")
        if below and ("." not in host or ":" in host or host.rpartition(".")[2].isdecimal()):
            raise _unusable(text, "* stands in front of a name of at least two labels")
        if port and not 0 < int(port) < 65536:
            raise _unusable(text, "its port is no number from 1 to 65535")
        return cls(host, below, int(port) if port else None)

    def matches(self, scheme: str, host: str, port: int) -> bool:
        """Whether a request to `host` at `port` may carry the credential."""
        if port != (self.port or _DEFAULT_PORTS.get(scheme)):
            return False
        return host.endswith(f".{self.host}") if self.below else host == self.host

    def __str__(self) -> str:
        """Return the form that `parse` reads."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'*.' if self.below else ''}{host}{f':{self.port}' if self.port else ''}"


@dataclass(frozen=True, slots=True)
class Credential:
    """What a connection adds to each request to its hosts, and the hosts.

    `secrets` are the texts that must not appear in any output. None of them shows in a `repr`. `renew` gets the next one
    when the service has refused this one, for those that the service itself hands out.
    """

    connection: str
    hosts: tuple[Binding, ...]
    carried: Carried = field(default_factory=Carried)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    renew: Callable[[], Awaitable[Credential]] | None = None

    def bound_to(self, scheme: str, host: str, port: int) -> bool:
        """Whether a request may carry this credential."""
        return any(each.matches(scheme, host, port) for each in self.hosts)

    def check(self, host: str, port: int) -> None:
        """Let a node reach a bound host by another protocol than HTTP. Raises `Fail` (`connection.host_not_bound`)."""
        if not any(each.port == port and each.matches("", host.lower(), port) for each in self.hosts):
            raise self.refusal(host, port)

    def refusal(self, host: str, port: int) -> Fail:
        """Return the error of a node that would send this credential elsewhere."""
        return Fail(
            "connection.host_not_bound",
            f"The connection {self.connection!r} is bound to {', '.join(map(str, self.hosts))}, and not to "
            f"{host}:{port}. Correct the node's url, or store the connection anew with this host too.",
            {"connection": self.connection, "host": host, "port": port},
        )

    def headers(self, given: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return the request's headers with the credential's own in the place of any of the same name."""
        own = [(name.encode("ascii"), value.encode("ascii")) for name, value in self.carried.headers.items()]
        names = {name.lower() for name, _ in own}
        return [*(each for each in given if each[0].lower() not in names), *own]

    def target(self, path: bytes) -> bytes:
        """Return the request's path and query, with what the credential puts in front and at the end."""
        path = self.carried.prefix.encode("ascii") + path
        for name, value in self.carried.query.items():
            added = f"{quote(name, safe='')}={quote(value, safe='')}".encode("ascii")
            path += (b"&" if b"?" in path else b"?") + added
        return path


def _unusable(text: str, reason: str) -> BindingInvalid:
    return BindingInvalid(
        f"A connection cannot be bound to {text!r}: {reason}.",
        hint="Name hosts like api.example.com, *.example.com or 10.1.2.3:8080.",
    )
