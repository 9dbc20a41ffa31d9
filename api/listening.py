"""The socket that the API listens on: taken before anything is started, so that a taken port is known at once."""

from __future__ import annotations

import errno
import os
import socket

from engine.errors import CeleriacError, Misconfigured


class PortTaken(CeleriacError):
    """Another program listens on the port."""

    code = "api.port_taken"


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes any that is free. Raises `PortTaken` or `Misconfigured`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        message = f"CELERIAC_API_HOST is {host!r}, which is no address of this machine: {error.strerror}."
        raise Misconfigured(message, hint="Unset CELERIAC_API_HOST for 127.0.0.1.") from None
    found = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        found.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            message = f"The port {port} of {host} is {'taken' if error.errno == errno.EADDRINUSE else 'not allowed'}."
            hint = f"Stop what uses it, or take another: --port {port + 1 if port < 65535 else 8321}"
            raise PortTaken(message, hint=hint) from None
        message = f"{host} is no address to listen on here: {error.strerror}."
        raise Misconfigured(message, hint="Unset CELERIAC_API_HOST for 127.0.0.1.") from None
    return found


def url_of(listening: socket.socket) -> str:
    """Return where a listening socket is reached from this machine."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  what listens everywhere listens here
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
