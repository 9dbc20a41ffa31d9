"""How a command reaches an installation: by its address, through a running stack, by starting one, or in this process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from celeriac.client import Client, Refused, Unreachable
from celeriac.commands import lock as locks
from engine.settings import Settings, from_environment

_STARTING_WITHIN = 30.0


@asynccontextmanager
async def api(
    url: str | None,
    *,
    start: bool = False,
    settings: Settings | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[Client]:
    """Hand over a client of the installation. With `start` one is started when none runs, and stopped afterwards.

    Without it, and with nothing running, requests are served in this process, on the same data: what they change is
    carried out when a worker runs.
    """
    settings = settings or from_environment()
    async with AsyncExitStack() as around:
        yield await around.enter_async_context(await _client(around, url, settings, start=start, say=say))


async def ask(url: str | None, question: Callable[[Client], Awaitable[Any]]) -> Any:
    """Return what a client of the installation answers to one question."""
    async with api(url) as client:
        return await question(client)


async def _client(
    around: AsyncExitStack, url: str | None, settings: Settings, *, start: bool, say: Callable[[str], None]
) -> Client:
    from api import token

    if url is not None:
        return Client(url, _token_for(url, settings), project=settings.project)
    found = await _running(settings, wait=start)
    if found is not None:
        return Client(found["url"], token.load(settings), project=settings.project)
    if start and (lock := locks.Lock.take(settings.data)) is not None:
        from celeriac.commands.stack import running

        say("Nothing is running here: starting an installation for this command.")
        stack = await around.enter_async_context(running(settings, lock, port=0, say=say))
        return Client(stack.url, token.load(settings), project=settings.project)
    if start:
        message = "An installation on this data directory is starting or stopping."
        raise Unreachable("stack.busy", message, hint="Try again in a moment.")
    return await _in_process(around, settings)


def _token_for(url: str, settings: Settings) -> str:
    """Return the token to show to an API that is named by its address. This machine's own never leaves it."""
    from urllib.parse import urlsplit

    from api import token
    from api.guard import LOOPBACK

    if not settings.api_token and urlsplit(url).hostname not in LOOPBACK:
        message = f"{url} is not on this machine, and CELERIAC_API_TOKEN is not set."
        hint = "Set CELERIAC_API_TOKEN to an API key of that installation, or to its token."
        raise Refused("usage.token", message, hint=hint, status=400)
    return token.load(settings)


async def _running(settings: Settings, *, wait: bool) -> dict[str, Any] | None:
    """Return where a stack runs on this data directory; one that is just starting is waited for."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + (_STARTING_WITHIN if wait else 0)
    while (found := locks.running(settings.data)) is None and loop.time() < deadline:
        if not locks.is_taken(settings.data):
            return None
        await asyncio.sleep(0.05)
    return found


async def _in_process(around: AsyncExitStack, settings: Settings) -> Client:
    import httpx2

    if settings.sqlite and not settings.sqlite_path.exists():
        message = f"There is no installation in {settings.data}."
        hint = "Start one: celeriac up. Another place is named by CELERIAC_DATA or --url."
        raise Refused("stack.missing", message, hint=hint)
    from api import token
    from api.main import create_app

    guard = create_app(settings, serves=False)
    await around.enter_async_context(guard.app.router.lifespan_context(guard.app))
    transport = httpx2.ASGITransport(guard)
    return Client("http://localhost", token.load(settings), project=settings.project, transport=transport)


def environment_hint(settings: Settings) -> str:
    """Return what stands before a command so that it means this installation; nothing for the default one."""
    default = from_environment({**os.environ, "CELERIAC_DATA": ""}).data
    named = os.environ.get("CELERIAC_DATA")
    return (
        "" if settings.data == default or named == str(settings.data) else f"CELERIAC_DATA={settings.data} "
    )
