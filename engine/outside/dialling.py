"""Where a name leads, judged: a resolver that answers differently the second time gains nothing, for nobody asks again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

from celeriac import Fail, TryAgain
from engine.failpoints import crossing
from engine.outside.addresses import SETTING, Address, Policy, literal

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Finds the addresses of a host name. Raises `OSError`."""


def _refused(place: str) -> Exception:
    """What a call comes to whose server is not there, for a failpoint."""
    return TryAgain("connection.unreachable", f"There is no connection at {place}.")


class Dialling:
    """Resolves names and connects sockets under one policy. `resolve` stands for the system's and is exchanged in tests."""

    def __init__(self, policy: Policy, resolve: Resolve | None = None) -> None:
        self.policy = policy
        self._resolve = resolve or _system_resolve

    async def addresses(self, host: str, port: int, seconds: float) -> list[Address]:
        """Return every address of a host, each one permitted.

        Raises `Fail` (`egress.refused`) if one of them is not, `OSError` when the name cannot be resolved, and
        `TimeoutError` when that takes longer than `seconds`.
        """
        found = await self._found(host, port, seconds)
        for address in found:
            kind = self.policy.refusal(host, port, address)
            if kind is not None:
                raise refused(host, port, kind)
        return found

    async def judged(self, host: str, port: int) -> list[str]:
        """Return the same as text. Raises `Fail`, or `TryAgain` (`connection.unreachable`)."""
        try:
            found = await self.addresses(host, port, self.policy.limits.connect_seconds)
        except OSError as error:
            raise _unreachable(host, port, error) from error
        if not found:
            raise _unreachable(host, port, OSError("the name has no address"))
        return [str(each) for each in found]

    @crossing("network.connect", _refused)
    async def connect(self, host: str, port: int) -> socket.socket:
        """Return a connected, non-blocking socket. Raises `Fail`, or `TryAgain` (`connection.unreachable`)."""
        addresses = await self.judged(host, port)
        seconds = self.policy.limits.connect_seconds / len(addresses)
        failure: OSError = OSError("no address answers")
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            made = socket.socket(family, socket.SOCK_STREAM)
            try:
                made.setblocking(False)
                async with asyncio.timeout(seconds):
                    await asyncio.get_running_loop().sock_connect(made, (address, port))
            except OSError as error:
                made.close()
                failure = error
            except BaseException:
                made.close()
                raise
            else:
                return made
        raise _unreachable(host, port, failure) from failure

    async def _found(self, host: str, port: int, seconds: float) -> list[Address]:
        spelled = literal(host)
        if spelled is not None:
            return [spelled]
        try:
            async with asyncio.timeout(seconds):
                found = await self._resolve(host, port)
        except TimeoutError as error:
            raise TimeoutError(f"The name {host} was not resolved in time.") from error
        except (OSError, UnicodeError) as error:
            raise OSError(f"The name {host} cannot be resolved.") from error
        return list(dict.fromkeys(ip_address(each) for each in found))


def refused(host: str, port: int, kind: str) -> Fail:
    """Return the error of a node that would reach what the deployment does not allow."""
    return Fail(
        "egress.refused",
        f"{host}:{port} is not on the public internet: {kind}. Workflows may reach it only where the "
        f"deployment allows it with {SETTING}, for example {SETTING}={host}:{port}.",
        {"host": host, "port": port},
    )


def _unreachable(host: str, port: int, error: OSError) -> TryAgain:
    reason = error.strerror or str(error) or "no answer in time"
    return TryAgain("connection.unreachable", f"{host}:{port} cannot be reached: {reason.rstrip('.')}.")


@crossing("network.resolve", OSError)
async def _system_resolve(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(each[4][0]) for each in found]
