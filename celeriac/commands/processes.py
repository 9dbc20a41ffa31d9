"""Single processes of an installation that is put together by hand: worker, poller, API."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from celeriac.commands import logs
from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, answering, say, show


def worker(
    queues: Annotated[
        str | None, typer.Option("--queues", metavar="NAME,...", help="Serve these queues only.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Carry out executions, until told to stop."""
    with answering(as_json):
        logs.to_stderr()
        from worker.process import serve

        raise typer.Exit(serve([each.strip() for each in (queues or "").split(",") if each.strip()]))


def poller(as_json: AsJson = False) -> None:
    """Look after timers, overdue segments and the dead, until told to stop. API and workers do so too."""
    with answering(as_json):
        logs.to_stderr()
        from engine.runtime import assemble
        from engine.settings import from_environment

        waited_for = {signal.SIGINT, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
        runtime = assemble(from_environment())
        show({"status": "polling", "owner": runtime.owner}, as_json, lambda: "polling; Ctrl-C stops it")
        signal.sigwait(waited_for)
        runtime.close()


def api(
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="Instead of 8321.")] = None,
    as_json: AsJson = False,
) -> None:
    """Serve the API, until told to stop."""
    with answering(as_json):
        logs.to_stderr()
        drive(_serve(port, as_json))


async def _serve(port: int | None, as_json: bool) -> None:
    import asyncio

    from api.listening import listen, url_of
    from api.server import make
    from engine.settings import from_environment
    from engine.store.database import open_database
    from engine.store.schema import check

    settings = from_environment()
    connection = open_database(settings).connect()
    check(connection)
    connection.close()
    listening = listen(settings.api_host, settings.api_port if port is None else port)
    server = make(settings)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        show({"url": url_of(listening)}, as_json, lambda: url_of(listening))
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        say("stopping")
    finally:
        server.should_exit = True
        await asyncio.wait([serving])
