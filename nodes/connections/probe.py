"""The test of a connection that is only a key for HTTP: asking an address that its owner has named."""

from __future__ import annotations

from collections.abc import Mapping

from celeriac import Fail, Link, TryAgain

NO_PROBE = "There is nothing to ask: store it with a `probe`, an address that answers only to a good key."


async def ask(url: str | None, link: Link, headers: Mapping[str, str] | None = None) -> str:
    """Ask `url` and return what was answered. Raises `Fail` when the key was refused, or there is no address."""
    import httpx2

    if url is None:
        raise Fail("connection.no_test", NO_PROBE)
    try:
        answer = await link.http.get(url, headers=headers)
    except httpx2.TransportError as error:
        raise TryAgain(
            "http.unreachable", f"No answer came: {str(error) or type(error).__name__}."
        ) from error
    if answer.status_code >= 400:
        raise Fail("connection.refused", f"It was answered {answer.status_code}.")
    return f"It was answered {answer.status_code}."
