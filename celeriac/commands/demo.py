"""`celeriac demo`: somebody guesses passwords at a small site; it is found, judged, decided on by a person, and cut off."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from celeriac.commands import lock as locks
from celeriac.commands import running
from celeriac.commands.loop import drive
from celeriac.commands.terminal import SUCCEEDED, AsJson, answering, lasting, refuse, say

if TYPE_CHECKING:
    from celeriac.client import Client
    from celeriac.commands.site import Site
    from celeriac.outcomes import Json
    from engine.settings import Settings

WORKFLOW = Path("office") / "log_triage.json"
GUESSES, THRESHOLD = 40, 5
_NO_MODEL = "No model is installed on this machine, so a plain rule judges. With one (celeriac models install) a model does."


def demo(as_json: AsJson = False) -> None:
    """Run an example workflow on the whole stack, show it live, and stop everything.

    A small site on this machine is signed in to, and somebody guesses passwords there. The workflow finds that in the site's log,
    has it judged (by the model of this machine, if it is installed), asks you, and has the site's firewall cut the guesser off.
    """
    with answering(as_json):
        from engine.settings import from_environment

        body = drive(_demo(from_environment(), ask=not as_json and sys.stdin.isatty()))
        if as_json or body["status"] != "succeeded":
            raise typer.Exit(running.report(body, as_json))
        print("\n".join(_report(body)))
        say("")
        say(f"{body['id']} succeeded in {lasting(body['duration_ms'])}, and everything is stopped.")
        prefix = body["prefix"]
        say(f"  what happened, node by node   {prefix}celeriac executions show {body['id']}")
        say(f"  the log                       {body['log']}")
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


async def _demo(settings: Settings, *, ask: bool) -> dict[str, Any]:
    from celeriac.commands import models, reach
    from celeriac.commands.site import Site
    from celeriac.commands.stack import running as whole

    document = (examples() / WORKFLOW).read_bytes()
    settings = _beside(settings)
    lock = locks.Lock.take(settings.data)
    if lock is None:
        refuse("demo.running", "The demo is running already.", "Wait until it is done.")
    with_model = models.is_there(settings.models)
    site = Site(settings.data / "site.log")
    try:
        site.live(GUESSES)
        settings = dataclasses.replace(
            settings, egress_allow=f"{settings.egress_allow},{site.address}".strip(",")
        )
        say("Starting API, worker and broker ...")
        async with whole(settings, lock, port=0, say=say) as stack:
            from api import token
            from celeriac.client import Client

            async with Client(stack.url, token.load(settings)) as client:
                for each in site.connections():
                    await client.add_connection(each)
                if with_model:
                    await client.enter_model("default", {"provider": "local", "model": "smollm2"})
                say("The model of this machine judges." if with_model else _NO_MODEL)
                body = await _triage(client, document, site, ask=ask, with_model=with_model)
                told = {"prefix": reach.environment_hint(settings), "log": str(settings.data / "site.log")}
                return {**body, **told, "answers": site.again()}
    finally:
        site.close()


async def _triage(
    client: Client, document: bytes, site: Site, *, ask: bool, with_model: bool
) -> dict[str, Any]:
    """Start the workflow on the site's log, tell what happens, and have its question answered; return the execution."""
    pushed = await client.push(document)
    log = site.log()
    payload: Json = {"log": log, "threshold": THRESHOLD, "ai": with_model}
    started = await client.execute(pushed["id"], payload, key=str(uuid.uuid4()))
    say(f"{pushed['name']}, on the {len(log.splitlines())} lines that the site has logged:")
    async for event in client.follow(started["id"]):
        if (line := running.line_of(event)) is not None:
            say(line)
        if event["type"] == "node.waiting":
            await _decide(client, started["id"], ask=ask)
    return await running.wait_for(client, started["id"], None)


async def _decide(client: Client, execution: str, *, ask: bool) -> None:
    """Ask whoever sits there; where nobody does, say yes for them."""
    found = (await client.approvals(status="open"))["data"]
    for each in found:
        if each["execution"] != execution:
            continue
        whole = await client.approval(each["id"])
        shown = ", ".join(f"{name} {value}" for name, value in whole["show"].items())
        yes = True
        if ask:
            yes = await asyncio.to_thread(_asked, f"{whole['title']} ({shown}) [Y/n] ")
        else:
            say(f"  {whole['title']} ({shown}): nobody is asked here, so the demo approves")
        decision = {"decision": "approve" if yes else "reject", "shown_hash": whole["shown_hash"]}
        await client.decide(each["id"], decision)


def _asked(question: str) -> bool:
    try:
        sys.stderr.write(question)
        sys.stderr.flush()
        return not sys.stdin.readline().strip().lower().startswith("n")
    except EOFError:
        return False


def _beside(settings: Settings) -> Settings:
    """Return the settings of an installation of the demo's own: its connections lead to a server that ends with it."""
    os.environ.pop("BROKER_URL", None)
    data = settings.data / "demo"
    return dataclasses.replace(
        settings,
        data=data,
        database_url=f"sqlite:///{data / 'celeriac.db'}",
        models_folder=str(settings.models),
    )


def _report(body: dict[str, Any]) -> list[str]:
    """Return what came of it as lines for people."""
    output = body["output"]
    told = ["", "detected    " + _found(output)]
    if done := output.get("done"):
        told += [
            f"judged      {done['verdict']}, by a {done['by']}",
            f"mitigated   {done['ip']} is in quarantine; ticket {done['ticket'] or '-'}; whoever is on duty has been told",
        ]
    elif left := output.get("left"):
        told.append(f"decided     {left['ip']} is left alone")
    elif harmless := output.get("harmless"):
        told.append(f"judged      a mistake: nothing is done about {harmless['ip']}")
    answers = ", ".join(f"{address} {status}" for address, status in body["answers"].items())
    return [*told, f"afterwards  the site answers {answers}"]


def _found(output: dict[str, Any]) -> str:
    if done := output.get("done"):
        return f"{done['tries']} failed sign-ins from {done['ip']}"
    return "failed sign-ins" if "quiet" not in output else "nothing to look at"
