"""Connections: named, sealed fields bound to hosts. Stored elsewhere; here they are made, opened and described.

Kind and hosts are sealed together with the values: whoever can write the table, and does not hold the key,
cannot send a credential to a host of his own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from celeriac import Carried, ConnectionType, Fail, Json
from celeriac.connections import secrets_of
from engine.errors import Invalid
from engine.nearest import nearest
from engine.outside.credentials import Binding, Credential
from engine.outside.sealing import Place, SealBroken, SealedWithOtherKey, SealingKeys, open_sealed, seal

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VISIBLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~:@!$&'()*+,;=-]+)*")
_FRAMING = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"}
)
_SCHEMES = frozenset({"basic", "bearer", "token", "bot"})

Kinds = Mapping[str, ConnectionType]
"""The connection types that are installed here, by name."""


class ConnectionInvalid(Invalid):
    """The connection cannot be stored like this."""

    code = "connection.invalid"


@dataclass(frozen=True, slots=True)
class SealedConnection:
    """A connection as it is stored. Times are milliseconds since the epoch.

    `failure` is what its last test came to, if that was no success.
    """

    id: str
    project_id: str
    name: str
    kind: str
    hosts: tuple[str, ...]
    sealed: bytes = field(repr=False)
    created_at: int
    updated_at: int
    last_used_at: int | None = None
    tested_at: int | None = None
    failure: Mapping[str, Json] | None = None

    @property
    def status(self) -> str:
        """`untested`, `working` or `failing`, by its last test."""
        if self.tested_at is None:
            return "untested"
        return "working" if self.failure is None else "failing"

    def to_json(self) -> dict[str, Json]:
        """Return what may be shown: everything but the secret, which nothing shows again."""
        return {
            "id": self.id,
            "name": self.name,
            "kind": self.kind,
            "hosts": list(self.hosts),
            "status": self.status,
            "failure": None if self.failure is None else dict(self.failure),
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "last_used_at": self.last_used_at,
            "tested_at": self.tested_at,
        }


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection in the clear, for one call."""

    name: str
    type: ConnectionType
    hosts: tuple[Binding, ...]
    fields: BaseModel = field(repr=False)

    def credential(self, carried: Carried | None = None) -> Credential:
        """Return what its requests carry: what it has been given by logging in, else what its fields say."""
        if carried is None:
            carried = self.type.carry(self.fields) if self.type.carry else Carried()
        _check_carried(self.name, carried)
        secrets = secrets_of(self.fields) | _texts_of(carried)
        return Credential(self.name, self.hosts, carried, secrets)


def make_connection(
    *,
    connection_id: str,
    project_id: str,
    name: str,
    kind: str,
    hosts: Sequence[str],
    values: Mapping[str, Json],
    kinds: Kinds,
    keys: SealingKeys,
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
    type_ = kinds.get(kind)
    if type_ is None:
        near = nearest(kind, kinds)
        hint = f"Did you mean {near!r}?" if near else f"The kinds are {', '.join(sorted(kinds))}."
        raise ConnectionInvalid(f"{kind!r} is no kind of connection.", hint=hint)
    fields = _fields(name, type_, values)
    if any(each != each.strip() and "\n" not in each.strip() for each in secrets_of(fields)):
        raise ConnectionInvalid(
            f"A secret of the connection {name!r} begins or ends with a space or a line break.",
            hint="It was probably copied along. Leave it out.",
        )
    bound = _bound(name, type_, fields, hosts)
    Opened(name, type_, bound, fields).credential()
    sealed = SealedConnection(
        connection_id, project_id, name, kind, tuple(map(str, bound)), b"", created_at=now, updated_at=now
    )
    return _sealed(sealed, values, keys, random_bytes)


def open_connection(connection: SealedConnection, kinds: Kinds, keys: SealingKeys) -> Opened:
    """Open a stored connection for one call. Raises `Fail` (`connection.*`), for it happens inside a node's
    call.
    """
    values = _values(connection, keys)
    type_ = kinds.get(connection.kind)
    if type_ is None:
        raise Fail(
            "connection.unknown_kind",
            f"The connection {connection.name!r} is of the kind {connection.kind!r}, which is not installed here. "
            "Install the package that offers it on every worker.",
            {"connection": connection.name},
        )
    try:
        fields = _fields(connection.name, type_, values)
    except ConnectionInvalid as error:
        raise Fail(error.code, f"{error.message} Store it anew.", {"connection": connection.name}) from None
    return Opened(connection.name, type_, tuple(map(Binding.parse, connection.hosts)), fields)


def with_values(
    connection: SealedConnection,
    changed: Mapping[str, Json],
    keys: SealingKeys,
    random_bytes: Callable[[int], bytes],
) -> SealedConnection:
    """Return a connection with other values in some of its fields, sealed under the current key; no changes only reseal it."""
    return _sealed(connection, {**_values(connection, keys), **changed}, keys, random_bytes)


def unknown(name: str, known: Iterable[str], kinds: Sequence[str] = ()) -> Fail:
    """Return the error of a node that names a connection which is not there; it names the nearest, or how to store one."""
    near = nearest(name, known)
    kind = kinds[0] if kinds else "KIND"
    remedy = (
        f"Did you mean {near!r}?"
        if near
        else f"Store it with: celeriac connections add {name} --kind {kind}."
    )
    return Fail("connection.unknown", f"There is no connection {name!r} here. {remedy}", {"connection": name})


def wrong_kind(name: str, kind: str, kinds: Sequence[str]) -> Fail:
    """Return the error of a node that cannot work with a connection of this kind."""
    message = f"The connection {name!r} is of the kind {kind}; the node takes {' or '.join(kinds)}."
    return Fail("connection.wrong_kind", message, {"connection": name, "kind": kind})


def _sealed(
    connection: SealedConnection,
    values: Mapping[str, Json],
    keys: SealingKeys,
    random_bytes: Callable[[int], bytes],
) -> SealedConnection:
    content = {"kind": connection.kind, "hosts": connection.hosts, "values": dict(values)}
    text = json.dumps(content).encode()
    return replace(
        connection,
        sealed=seal(text, place_of_connection(connection.project_id, connection.id), keys, random_bytes),
    )


def _values(connection: SealedConnection, keys: SealingKeys) -> dict[str, Json]:
    try:
        content: dict[str, Any] = json.loads(
            open_sealed(connection.sealed, place_of_connection(connection.project_id, connection.id), keys)
        )
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
    values: dict[str, Json] = content["values"]
    return values


def place_of_connection(project: str, connection: str) -> Place:
    """Return where the sealed text of a connection belongs."""
    return Place(project, connection, "credential")


def _altered(connection: SealedConnection) -> Fail:
    return Fail(
        "connection.altered",
        f"The stored connection {connection.name!r} is not as it was sealed: somebody changed its row. "
        "Find out who, and store the connection anew.",
        {"connection": connection.name},
    )


def _fields(name: str, type_: ConnectionType, values: Mapping[str, Json]) -> BaseModel:
    """Read the values of one kind. Raises `ConnectionInvalid`, which repeats none of them."""
    try:
        return type_.fields.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "values"
        known = ", ".join(type_.fields.model_fields)
        raise ConnectionInvalid(
            f"The connection {name!r} cannot be of the kind {type_.name} like this: {place}: {first['msg']}.",
            hint=f"Its fields are {known}.",
        ) from None


def _bound(name: str, type_: ConnectionType, fields: BaseModel, hosts: Sequence[str]) -> tuple[Binding, ...]:
    if type_.hosts is None:
        if not hosts:
            raise ConnectionInvalid(
                f"The connection {name!r} is bound to no host.",
                hint="Name the hosts its credential may be sent to, like api.example.com or *.example.com.",
            )
        return tuple(map(Binding.parse, hosts))
    if hosts:
        raise ConnectionInvalid(
            f"A connection of the kind {type_.name} is bound to the hosts that its fields name.",
            hint="Leave the hosts out.",
        )
    return tuple(map(Binding.parse, type_.hosts(fields)))


def _check_carried(name: str, carried: Carried) -> None:
    """Refuse what would make the server see another request than the one that was meant."""
    for header, value in carried.headers.items():
        if not _TOKEN.fullmatch(header) or header.lower() in _FRAMING:
            raise ConnectionInvalid(
                f"{header!r} is no header that can carry a key.", hint="For example X-Api-Key."
            )
        if not _VISIBLE.fullmatch(value):
            raise ConnectionInvalid(
                f"What the connection {name!r} puts into the header {header} has characters that no header may carry.",
                hint="Look for a line break or a space at the end of its values.",
            )
    if not _PREFIX.fullmatch(carried.prefix):
        raise ConnectionInvalid(
            f"What the connection {name!r} puts in front of the path has characters that no path may hold.",
            hint="Look for a line break, a space or a slash in its values.",
        )


def _texts_of(carried: Carried) -> frozenset[str]:
    """Return the texts that give away what is carried: values, without the word that says what they are."""
    values = [*carried.headers.values(), *carried.query.values(), *carried.prefix.split("/")]
    shortened = (value.partition(" ") for value in values)
    return frozenset(
        rest if word.lower() in _SCHEMES and rest else word + space + rest for word, space, rest in shortened
    ) - {""}
