"""The connection contract: what a connection type declares, and what a node gets of a connection that was opened for it.

A connection type is declared like a node type: one function with its fields as the first parameter, which is the test
of such a connection. Fields of the type `SecretStr` are secrets: they go in, and nothing shows them again.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, SecretStr

from celeriac.models import model_of
from celeriac.outcomes import Json

if TYPE_CHECKING:
    import httpx2


class Program(Protocol):
    """A program that was started for one call, and is spoken to by lines."""

    async def write(self, line: bytes) -> None:
        """Write a line to its input. Raises `ConnectionError` when it does not read any more."""

    async def read(self) -> bytes | None:
        """Return the next line of its output, without the end; None when there is none any more.

        Raises `Fail` (`program.line_too_large`).
        """

    async def last_words(self) -> str:
        """Return the last of what it has said to its standard error, and how it ended, if it has."""


class Link(Protocol):
    """An opened connection: it carries its credential to the hosts it is bound to, and nowhere else."""

    http: httpx2.AsyncClient
    """A client that adds to each request what the connection's type says."""

    kind: str
    """The name of the connection's type."""

    fields: Any
    """What was stored, as the model of the connection's type, secrets included."""

    async def dial(self, host: str, port: int) -> socket.socket:
        """Return a connected, non-blocking socket to one of the hosts the connection is bound to.

        Raises `Fail` for another host and for one the deployment does not allow, and `TryAgain` (`connection.unreachable`)
        when nobody answers: then nothing was sent.
        """

    def file(self, name: str) -> Path:
        """Return a path inside the folder that the deployment has set aside for the files of workflows.

        Raises `Fail` (`file.outside`) for one that leads out of it, by whatever way.
        """

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """Return the judged addresses of a bound host, for drivers that dial themselves. Raises as `dial` does."""

    def program(self, name: str, values: Mapping[str, str]) -> AbstractAsyncContextManager[Program]:
        """Start a program that the deployment allows under this name, and end it with all that came of it behind the block.

        `values` take the places of their names in the environment that the deployment gives it. Raises `Fail` (`program.*`)
        for one that is not allowed, and `TryAgain` (`program.not_started`).
        """


@dataclass(frozen=True, slots=True)
class Carried:
    """What is added to each request, below the client: no log line and no error ever shows it.

    `prefix` is put in front of the path, for the services that want their key there.
    """

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    prefix: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Token:
    """What logging in gave. It is used for `seconds`, or until the service answers 401.

    `changed` are values of fields that have to be stored in the place of the old ones, such as a refresh token that may
    be used once.
    """

    carried: Carried
    seconds: float | None = None
    changed: Mapping[str, str] = field(default_factory=dict, repr=False)


Hosts = Callable[[Any], Sequence[str]]
Carry = Callable[[Any], Carried]
LogIn = Callable[[Any, "httpx2.AsyncClient"], Awaitable[Token]]
Test = Callable[[Any, Link], Awaitable[str]]


@dataclass(frozen=True, slots=True, eq=False)
class ConnectionType:
    """One registered kind of connection. Made by `@connection`."""

    name: str
    summary: str
    fields: type[BaseModel]
    hosts: Hosts | None
    carry: Carry | None
    log_in: LogIn | None
    test: Test

    def schema(self) -> dict[str, Json]:
        """Return the JSON Schema of the fields. Secrets are `writeOnly`."""
        return self.fields.model_json_schema()

    def secrets(self) -> tuple[str, ...]:
        """Return the names of the fields that are secrets."""
        properties = self.schema().get("properties", {})
        assert isinstance(properties, dict)  # noqa: S101  pydantic writes it
        return tuple(name for name, each in properties.items() if _is_secret(each))


def connection(
    name: str,
    *,
    hosts: Hosts | None = None,
    carry: Carry | None = None,
    log_in: LogIn | None = None,
) -> Callable[[Test], ConnectionType]:
    """Declare a connection type from its test, `async def test(fields, link) -> str`.

    - The test returns what it found, in a few words, or raises what a node would raise. It changes nothing.
    - `hosts` says from the fields which hosts the connection is bound to. Without it whoever stores one names them.
    - `carry` says from the fields what each HTTP request carries.
    - `log_in` gets that from the service itself, and is asked again when it has expired.
    """

    def declare(test: Test) -> ConnectionType:
        return ConnectionType(
            name=name,
            summary=(test.__doc__ or "").strip(),
            fields=model_of(test),
            hosts=hosts,
            carry=carry,
            log_in=log_in,
            test=test,
        )

    return declare


def secrets_of(fields: BaseModel) -> frozenset[str]:
    """Return the secret values among the fields."""
    values = (getattr(fields, name) for name in type(fields).model_fields)
    return frozenset(each.get_secret_value() for each in values if isinstance(each, SecretStr))


def _is_secret(schema: object) -> bool:
    if not isinstance(schema, dict):
        return False
    choices = schema.get("anyOf")
    return bool(schema.get("writeOnly")) or (isinstance(choices, list) and any(map(_is_secret, choices)))
