"""`celeriac up`: the whole installation, until it is told to stop."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from celeriac.commands import lock as locks
from celeriac.commands import logs
from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, answering, is_live, say, show

if TYPE_CHECKING:
    from engine.settings import Settings


def up(
    monitor: Annotated[
        bool,
        typer.Option("--monitor", help="With Celery's events and remote control, and Flower to watch them."),
    ] = False,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="Instead of 8321.")] = None,
    as_json: AsJson = False,
) -> None:
    """Start everything and keep it running, until Ctrl-C.

    What DATABASE_URL and BROKER_URL name is used; only what is missing is started.
    """
    with answering(as_json):
        logs.to_stderr()
        drive(_up(monitor, port, as_json))


async def _up(monitor: bool, port: int | None, as_json: bool) -> None:
    from celeriac.client import Refused
    from celeriac.commands.stack import running
    from engine.settings import from_environment

    settings = from_environment()
    lock = locks.Lock.take(settings.data)
    if lock is None:
        there = locks.running(settings.data) or {}
        message = f"Celeriac is up already on {settings.data}: {there.get('url', 'it is just starting')}."
        hint = f"Use it, or stop it: kill {there['pid']}" if there else "Try again in a moment."
        raise Refused("stack.running", message, hint=hint)
    try:
        async with running(
            settings, lock, port=settings.api_port if port is None else port, monitor=monitor, say=say
        ) as stack:
            show(stack.describe(), as_json, lambda: _welcome(stack.describe()))
            if not as_json and is_live(sys.stdout):
                print(await _first_user(stack.url, settings), end="", flush=True)
            await stack.failed()
            raise Refused("api.ended", "The API ended by itself.", hint="The lines above say why.")
    except asyncio.CancelledError:
        say("stopped")


async def _first_user(url: str, settings: Settings) -> str:
    """Return how to become the first user, as long as there is none: only to a person at a screen, and only on loopback."""
    from api import token
    from api.guard import LOOPBACK
    from celeriac.client import Client, Refused

    if settings.api_host not in LOOPBACK:
        return ""
    async with Client(url, token.load(settings)) as client:
        try:
            invited = await client.invite_first_user()
        except Refused:
            return ""
    return (
        "  users  none yet: celeriac admin create NAME makes one, who owns the installation;\n"
        f"         so does, once and within a day, POST /api/v1/auth/accept with the token {invited['token']}\n"
    )


def _welcome(stack: dict[str, Any]) -> str:
    lines = [
        f"Celeriac is up at {stack['url']}; Ctrl-C stops it.",
        f"  data   {stack['data']}",
        f"  token  {stack['data']}/api.token",
    ]
    if "flower" in stack:
        flower = stack["flower"]
        lines.append(f"  flower {flower['url']} (user {flower['user']}, password {flower['password']})")
    return "\n".join([*lines, "  next   celeriac run FILE, in another terminal"])
