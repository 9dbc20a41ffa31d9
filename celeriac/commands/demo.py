"""`celeriac demo`: an example workflow on real data, on the whole stack, with everything stopped afterwards."""

from __future__ import annotations

import dataclasses
import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from celeriac.commands import lock as locks
from celeriac.commands import running
from celeriac.commands.loop import drive
from celeriac.commands.terminal import SUCCEEDED, AsJson, answering, lasting, refuse, say, table

if TYPE_CHECKING:
    from celeriac.outcomes import Json
    from engine.settings import Settings

WORKFLOW, DATA = "demo.json", "data"


def demo(as_json: AsJson = False) -> None:
    """Run an example workflow on the whole stack, show it live, and stop everything.

    It reads the time zones of the world from a small server that is out of order at first, works on five regions at
    once, waits on a durable timer, and puts a report together.
    """
    with answering(as_json):
        from engine.settings import from_environment

        body = drive(_demo(from_environment()))
        if as_json or body["status"] != "succeeded":
            raise typer.Exit(running.report(body, as_json))
        print(_report(body["output"]))
        say("")
        say(f"{body['id']} succeeded in {lasting(body['duration_ms'])}, and everything is stopped.")
        prefix = body["prefix"]
        say(f"  what happened, node by node   {prefix}celeriac executions show {body['id']}")
        say(f"  the workflow                  {examples() / WORKFLOW}")
        say("  one of your own               celeriac run FILE")
        say("  keep it running               celeriac up")
        raise typer.Exit(SUCCEEDED)


def examples() -> Path:
    """Return the folder of examples. Raises `Refused` where there is none."""
    here = Path(__file__).resolve().parents[1]
    places = (here / "_app" / "examples", here.parent / "examples")
    found = next((each for each in places if (each / WORKFLOW).exists()), None)
    if found is None:
        message = "This installation comes without the examples."
        refuse("demo.missing", message, "Install Celeriac anew, or use a checkout.")
    return found


async def _demo(settings: Settings) -> dict[str, Any]:
    from celeriac.client import FINAL, Client
    from celeriac.commands import reach, source
    from celeriac.commands.stack import running as whole

    folder = examples()
    lock = locks.Lock.take(settings.data)
    if lock is None:
        # The running stack keeps to its own rules of what may be reached; the demo brings its own server along.
        say(f"Celeriac is up on {settings.data}; the demo starts its own beside it.")
        settings = _beside(settings)
        lock = locks.Lock.take(settings.data)
    if lock is None:
        refuse("demo.running", "The demo is running already.", "Wait until it is done.")
    data = source.Source(folder / DATA, failures=1)
    try:
        allowed = f"{settings.egress_allow},{data.address}".strip(",")
        settings = dataclasses.replace(settings, egress_allow=allowed)
        say("Starting API, worker and broker ...")
        async with whole(settings, lock, port=0, say=say) as stack:
            from api import token

            async with Client(stack.url, token.load(settings)) as client:
                pushed = await client.push((folder / WORKFLOW).read_bytes())
                payload: Json = {"source": f"http://{data.address}"}
                started = await client.execute(pushed["id"], payload, key=str(uuid.uuid4()))
                say(
                    f"{pushed['name']}, on the time zones of the world; the server of the data fails at first:"
                )
                async for event in client.follow(started["id"]):
                    if (line := running.line_of(event)) is not None:
                        say(line)
                body = await running.wait_for(client, started["id"], None)
                if body["status"] not in FINAL:
                    raise AssertionError
                return {**body, "prefix": reach.environment_hint(settings)}
    finally:
        data.close()


def _beside(settings: Settings) -> Settings:
    data = settings.data / "demo"
    return dataclasses.replace(settings, data=data, database_url=f"sqlite:///{data / 'celeriac.db'}")


def _report(output: Any) -> str:
    """Return the workflow's result as a person reads it."""
    if not isinstance(output, dict) or "regions" not in output:
        return json.dumps(output, indent=2, ensure_ascii=False)
    rows = [
        [
            each["region"],
            str(each["clocks"]),
            str(each["countries"]),
            f"{each['widest']['zone']} ({each['widest']['shared']})",
        ]
        for each in output["regions"]
    ]
    return "\n".join(
        (
            "",
            f"{output['countries']} countries and territories share {output['clocks']} clocks.",
            f"The northernmost is {output['northernmost']}, the southernmost {output['southernmost']}.",
            f"Most clocks: {', '.join(output['most_clocks'])}.",
            "",
            table(["region", "clocks", "countries", "shared by most countries"], rows),
        )
    )
