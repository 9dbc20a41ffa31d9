"""Connections: named, sealed credentials bound to hosts. Stored elsewhere; here they are made, opened and
described.

Kind and hosts are sealed together with the values: whoever can write the table, and does not hold the key,
cannot send a credential to a host of his own.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import httpx2

from celeriac import Fail, Json
from engine.errors import Invalid
from engine.nearest import nearest
from engine.outside.credentials import Binding, Credential
from engine.outside.egress import target_of
from engine.outside.sealing import Place, SealBroken, SealedWithOtherKey, SealingKey, open_sealed, seal

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VISIBLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_FRAMING = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"}
)

MODELS: tuple[frozenset[str], ...] = tuple(
    map(frozenset, ({"api_key"}, {"api_key", "base_url"}, {"base_url"}))
)
"""What a connection to a provider of models takes: a key, or the address of a server with the same API, or both."""

HOMES = {"openai": "https://api.openai.com/v1/", "anthropic": "https://api.anthropic.com/v1/"}
"""Where the providers of models are."""

KINDS: dict[str, tuple[frozenset[str], ...]] = {
    "basic": (frozenset({"username", "password"}),),
    "bearer": (frozenset({"token"}),),
    "api_key": (frozenset({"header", "value"}), frozenset({"query", "value"})),
    "openai": MODELS,
    "anthropic": MODELS,
}
"""The kinds, and the sets of values each one takes."""


class ConnectionInvalid(Invalid):
    """The connection cannot be stored like this."""

    code = "connection.invalid"


@dataclass(frozen=True, slots=True)
class SealedConnection:
    """A connection as it is stored. Times are milliseconds since the epoch."""

    id: str
    project_id: str
    name: str
    kind: str
    hosts: tuple[str, ...]
    sealed: bytes = field(repr=False)
    created_at: int
    updated_at: int

    def to_json(self) -> dict[str, Json]:
        """Return what may be shown: everything but the secret, which nothing shows again."""
        return {
            "id": self.id,
            "name": self.name,
            "kind": self.kind,
            "hosts": list(self.hosts),
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }


def make_connection(
    *,
    connection_id: str,
    project_id: str,
    name: str,
    kind: str,
    hosts: Sequence[str],
    values: Mapping[str, Json],
    key: SealingKey,
    now: int,
    random_bytes: Callable[[int], bytes],
) -> SealedConnection:
    """Check and seal a connection. Raises `ConnectionInvalid` or `BindingInvalid`, which never repeat a
    secret value.
    """
    if not _NAME.fullmatch(name):
        raise ConnectionInvalid(
            f"{name!r} is no name for a connection.",
            hint="Letters, digits, _ and -, up to 64, a letter first.",
        )
    hosts = hosts or _hosts_of(kind, values)
    if not hosts:
        raise ConnectionInvalid(
            f"The connection {name!r} is bound to no host.",
            hint="Name the hosts its credential may be sent to, like api.example.com or *.example.com.",
        )
    bound = tuple(str(Binding.parse(each)) for each in hosts)
    _credential(name, kind, bound, values)
    content = json.dumps({"kind": kind, "hosts": bound, "values": dict(values)})
    sealed = seal(content.encode(), Place(project_id, connection_id, "credential"), key, random_bytes)
    return SealedConnection(connection_id, project_id, name, kind, bound, sealed, now, now)


def open_connection(connection: SealedConnection, key: SealingKey) -> Credential:
    """Open a stored connection for one call. Raises `Fail` (`connection.*`), for it happens inside a node's
    call.
    """
    place = Place(connection.project_id, connection.id, "credential")
    try:
        content = json.loads(open_sealed(connection.sealed, place, key))
    except SealedWithOtherKey:
        raise Fail(
            "connection.sealed_with_other_key",
            f"The connection {connection.name!r} was sealed under another secret key than this process has. "
            "Give every process the same CELERIAC_SECRET_KEY, or store the connection anew.",
            {"connection": connection.name},
        ) from None
    except SealBroken:
        raise _altered(connection) from None
    if content["kind"] != connection.kind or tuple(content["hosts"]) != connection.hosts:
        raise _altered(connection)
    return _credential(connection.name, connection.kind, connection.hosts, content["values"])


def unknown(name: str, known: Iterable[str]) -> Fail:
    """Return the error of a node that names a connection which is not there; it names the nearest."""
    near = nearest(name, known)
    remedy = f"Did you mean {near!r}?" if near else "Store it with: celeriac connections add."
    return Fail("connection.unknown", f"There is no connection {name!r} here. {remedy}", {"connection": name})


def _altered(connection: SealedConnection) -> Fail:
    return Fail(
        "connection.altered",
        f"The stored connection {connection.name!r} is not as it was sealed: somebody changed its row. "
        "Find out who, and store the connection anew.",
        {"connection": connection.name},
    )


def _credential(name: str, kind: str, hosts: tuple[str, ...], given: Mapping[str, Json]) -> Credential:
    """Read the values of one kind. Raises `ConnectionInvalid`."""
    if kind not in KINDS:
        raise ConnectionInvalid(
            f"{kind!r} is no kind of connection.", hint=f"The kinds are {', '.join(KINDS)}."
        )
    if frozenset(given) not in KINDS[kind]:
        takes = " or ".join(" and ".join(sorted(each)) for each in KINDS[kind])
        was = " and ".join(sorted(given)) or "nothing"
        raise ConnectionInvalid(f"A connection of kind {kind} takes {takes}, and was given {was}.")
    values: dict[str, str] = {}
    for field_name, value in given.items():
        if not isinstance(value, str) or not value:
            raise ConnectionInvalid(
                f"The {field_name} of the connection {name!r} is no text, or an empty one."
            )
        values[field_name] = value
    bound = tuple(Binding.parse(each) for each in hosts)
    if kind == "basic":
        return _basic(name, bound, values["username"], values["password"])
    if kind == "bearer":
        _check_header_value(name, "token", values["token"])
        token = values["token"]
        return Credential(
            name, bound, header=("Authorization", f"Bearer {token}"), secrets=frozenset({token})
        )
    if kind in HOMES:
        return _of_models(name, bound, values.get("api_key"), values.get("base_url", HOMES[kind]))
    secret = values["value"]
    if "query" in values:
        return Credential(name, bound, query=(values["query"], secret), secrets=frozenset({secret}))
    header = values["header"]
    if not _TOKEN.fullmatch(header) or header.lower() in _FRAMING:
        raise ConnectionInvalid(
            f"{header!r} is no header that can carry a key.", hint="For example X-Api-Key."
        )
    _check_header_value(name, "value", secret)
    return Credential(name, bound, header=(header, secret), secrets=frozenset({secret}))


def _basic(name: str, bound: tuple[Binding, ...], username: str, password: str) -> Credential:
    if ":" in username or not (username + password).isprintable():
        raise ConnectionInvalid(
            f"The username or password of the connection {name!r} cannot be sent with HTTP Basic.",
            hint="A username has no colon, and neither has control characters.",
        )
    pair = base64.b64encode(f"{username}:{password}".encode()).decode()
    return Credential(
        name, bound, header=("Authorization", f"Basic {pair}"), secrets=frozenset({password, pair})
    )


def _of_models(name: str, bound: tuple[Binding, ...], key: str | None, base: str) -> Credential:
    try:
        target = target_of(httpx2.URL(base))
    except (httpx2.InvalidURL, Fail) as error:
        raise ConnectionInvalid(
            f"The base_url of the connection {name!r} is no address: {error}",
            hint="For example http://localhost:11434/v1, where /chat/completions follows.",
        ) from error
    if key is not None:
        _check_header_value(name, "api_key", key)
    credential = Credential(
        name,
        bound,
        header=None if key is None else ("Authorization", f"Bearer {key}"),
        secrets=frozenset() if key is None else frozenset({key}),
        base_url=base,
    )
    if not credential.bound_to(target.scheme, target.host, target.port):
        raise ConnectionInvalid(
            f"The connection {name!r} is bound to {', '.join(map(str, bound))}, and its base_url leads to "
            f"{target.host}:{target.port}.",
            hint="Leave the hosts out: they follow from base_url.",
        )
    return credential


def _hosts_of(kind: str, values: Mapping[str, Json]) -> list[str]:
    """Return the hosts that follow from the values, where they do."""
    base = values.get("base_url", HOMES.get(kind))
    if kind not in HOMES or not isinstance(base, str):
        return []
    try:
        url = httpx2.URL(base)
    except httpx2.InvalidURL:
        return []
    host = f"[{url.host}]" if ":" in url.host else url.host
    return [host if url.port is None else f"{host}:{url.port}"] if host else []


def _check_header_value(name: str, field_name: str, value: str) -> None:
    if not _VISIBLE.fullmatch(value):
        raise ConnectionInvalid(
            f"The {field_name} of the connection {name!r} has characters that no header may carry.",
            hint="Look for a line break or a space at its end.",
        )
