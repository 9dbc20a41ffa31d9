#!/usr/bin/env python3
"""Sets up a checkout and runs it: `python3 dev.py` lists the verbs.

Needs nothing but Python. It is written for an interpreter that may be too old, or that lacks pip, ensurepip
or a writable home, so that each of these ends in one clear line instead of a traceback.

The environment is `.venv` beside this file. A stamp inside it says from which locks it was made, so that
every later start costs a look at four small files. The stamp is emptied before a change and written after
it: an environment with an empty stamp was interrupted, and is made anew.
"""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "celeriac-setup.json"

OLDEST = (3, 11)
NAMES = ("python3.11", "python3.12", "python3.13", "python3.14")

RUN, DEV, MODELS = "run", "dev", "models"
LOCKS = {RUN: "requirements.lock", DEV: "requirements-dev.lock", MODELS: "requirements-models.lock"}

SOAK = "tests/soak"
MOST_PROCESSES = 5
"""Tests that take minutes on purpose: only `test-all` runs them."""

VERBS = {
    "demo": "run an example workflow on the whole stack, show it live, stop everything",
    "up": "start the whole stack and keep it running until Ctrl-C",
    "test": "run the tests, on a real Valkey and a real PostgreSQL: test [SUITE...] [PYTEST OPTIONS]",
    "test-all": "run the tests that take minutes, too",
    "check": "format, lint, strict types, import contracts",
    "chaos": "kill processes at random under load, and check that nothing is lost or done twice",
    "simulate": "play worlds in which a seed decides everything, and check that every promise is kept",
    "sweep": "break every place where the engine may break in every way, and check what comes of it",
    "agree": "carry out random definitions, and hold what they come to against a second reading of the language",
    "secrets": "plant fifty secrets, use them, and search for them in all that is kept or said",
    "fuzz": "ask the API what nobody meant to ask, made from its own description: fuzz [--seed N] [--examples N]",
    "story": "play the story of the API over HTTP only, and stop at the first surprise",
    "bench": "measure the stack beside raw Celery",
    "large": "carry out what has to hold however large: items, rounds, waits, scopes; a line of JSON each",
    "lock": "compile the lock files anew from requirements*.in: lock [--upgrade]",
    "setup": "make .venv for development, and nothing else",
}

CHECKS = (
    ("format", ("ruff", "format", "--check")),
    ("lint", ("ruff", "check")),
    ("types", ("mypy",)),
    ("imports", ("lint-imports",)),
)


class Stop(Exception):
    """What hinders the set-up, and the remedy."""


class Fingerprint(NamedTuple):
    """What an environment was, or would be, made from."""

    root: str
    python: str
    run: str
    dev: "str | None"
    project: str


class Step(NamedTuple):
    """One step of a set-up."""

    verb: str
    stage: str = ""


def explain() -> str:
    width = max(map(len, VERBS))
    lines = ["usage: python3 dev.py VERB [ARGUMENTS]", ""]
    lines += [f"  {verb:<{width}}  {does}" for verb, does in VERBS.items()]
    lines += [
        "",
        "The first use makes .venv beside dev.py (under a minute); nothing else on the machine changes.",
    ]
    return "\n".join(lines)


def unknown(verb: str) -> str:
    import difflib

    near = difflib.get_close_matches(verb, VERBS, n=1)
    hint = f"did you mean '{near[0]}'?" if near else "`python3 dev.py` lists the verbs."
    return f"dev.py: there is no verb '{verb}'; {hint}"


def stage_of(verb: str) -> str:
    """Which lock a verb needs: a demo does not wait for a type checker to be installed."""
    return RUN if verb in ("demo", "up") else DEV


def steps(stage: str, want: Fingerprint, have: "Fingerprint | None") -> "list[Step]":
    """What must be done so that an environment made from `have` serves `stage` as `want` asks.

    A changed lock makes the environment anew: installing over it would keep packages that nobody asks for any
    more, and hide that something needs them. Only the step from running to developing installs on top.
    """
    same = have is not None and (have.root, have.python, have.run) == (want.root, want.python, want.run)
    if have is None or not same or (stage == DEV and have.dev not in (None, want.dev)):
        return [Step("make"), Step("install", stage), Step("editable")]
    todo = []
    if stage == DEV and have.dev is None:
        todo.append(Step("install", DEV))
    if have.project != want.project:
        todo.append(Step("editable"))
    return todo


def test_arguments(verb: str, arguments: "list[str]") -> "list[str]":
    """What pytest is called with. Names before the first option are suites (folders of tests/) or paths.

    Without names the tests are shared out among a few processes, each with servers of its own: one more than there are
    processors, since much of their time they wait.
    """
    first_option = next((at for at, each in enumerate(arguments) if each.startswith("-")), len(arguments))
    named, options = arguments[:first_option], arguments[first_option:]
    if named:
        paths = [name if (ROOT / name.split("::")[0]).exists() else f"tests/{name}" for name in named]
        return paths + options
    if verb == "test-all":
        return ["tests", *options]
    processes = str(min((os.cpu_count() or 1) + 1, MOST_PROCESSES))
    return ["tests", f"--ignore={SOAK}", "-n", processes, "--dist", "worksteal", *options]


def command(verb: str, arguments: "list[str]") -> "list[str]":
    """What a verb runs with the interpreter of the environment."""
    if verb in ("test", "test-all"):
        return ["-m", "pytest", *test_arguments(verb, arguments)]
    if verb == "chaos":
        return ["-m", "tests.chaos", *arguments]
    if verb == "simulate":
        return ["-m", "tests.chaos.simulate", *arguments]
    if verb == "sweep":
        return ["-m", "tests.chaos.sweep", *arguments]
    if verb == "agree":
        return ["-m", "tests.chaos.agree", *arguments]
    if verb == "secrets":
        return ["-m", "tests.hunt", *arguments]
    if verb in ("fuzz", "story"):
        return ["-m", f"tests.{verb}", *arguments]
    if verb == "bench":
        return ["-m", "bench", *arguments]
    if verb == "large":
        return ["-m", "tests.large", *arguments]
    return ["-m", "celeriac", verb, *arguments]


def main(arguments: "list[str]") -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(explain())
        return 0
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        print(unknown(verb), file=sys.stderr)
        return 2
    try:
        require_python()
        if verb == "lock":
            return lock(rest)
        set_up(stage_of(verb))
        if verb == "setup":
            print(f"ready: {VENV}")
            return 0
        if verb == "check":
            return check()
    except Stop as stop:
        print(f"dev.py: {stop}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndev.py: interrupted; the next start makes good what is half-done.", file=sys.stderr)
        return 130
    if verb in ("test", "test-all", "chaos", "simulate", "agree", "secrets", "bench", "large"):
        os.chdir(str(ROOT))
    return replace_process([str(PYTHON), *command(verb, rest)])


def replace_process(line: "list[str]") -> NoReturn:
    """Become the program: signals and the exit code are its own, and no parent waits in memory."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(line[0], line)  # noqa: S606 - there is no shell in between, and none is wanted


# --- Which Python -------------------------------------------------------------------------------------------


def require_python() -> None:
    """Go on with a Python that is new enough: this one, or one that is on the PATH."""
    if os.name == "nt":
        raise Stop("Celeriac does not run on Windows itself. Use it in WSL 2.")
    if sys.version_info >= OLDEST:
        return
    found = newer_python()
    if found is None:
        mine = ".".join(map(str, sys.version_info[:3]))
        raise Stop(
            f"Python 3.11 or newer is needed, this is {mine} and the PATH has no newer one. "
            "Install it (Debian, Ubuntu: apt install python3.11 python3.11-venv; macOS: brew install python)."
        )
    replace_process([found, str(Path(__file__).resolve()), *sys.argv[1:]])


def newer_python() -> "str | None":
    """The first interpreter on the PATH that is new enough when asked: some are only a manager's stand-in."""
    import shutil
    import subprocess

    probe = f"import sys; sys.exit(sys.version_info < {OLDEST})"
    for name in NAMES:
        found = shutil.which(name)
        if found and subprocess.call([found, "-c", probe], stderr=subprocess.DEVNULL) == 0:
            return found
    return None


# --- The environment ----------------------------------------------------------------------------------------


def digest(name: str) -> str:
    return hashlib.sha256((ROOT / name).read_bytes()).hexdigest()[:16]


def base_python() -> str:
    """The interpreter to build on: never a virtual environment's, which may be the one being replaced."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def wanted() -> Fingerprint:
    """What an environment made now would be made from."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Fingerprint(
        str(ROOT),
        f"{version} {base_python()}",
        digest(LOCKS[RUN]),
        digest(LOCKS[DEV]),
        digest("pyproject.toml"),
    )


def existing() -> "Fingerprint | None":
    """What the environment was made from; nothing if there is none, or a half-made one."""
    try:
        made = json.loads(STAMP.read_text(encoding="utf-8"))
        return Fingerprint(**made) if made and PYTHON.exists() else None
    except (OSError, ValueError, TypeError):
        return None


def keep_python(want: Fingerprint, have: "Fingerprint | None") -> Fingerprint:
    """Be content with another good Python that made the environment, or two would re-make it in turns."""
    if have is None:
        return want
    version, made_with = have.python.split(" ", 1)
    mine = base_python()
    moved_on = made_with == mine and have.python != want.python
    good = tuple(map(int, version.split("."))) >= OLDEST and os.path.realpath(str(PYTHON)) == made_with
    return want._replace(python=have.python) if good and not moved_on else want


def pending(stage: str) -> "list[Step]":
    have = existing()
    return steps(stage, keep_python(wanted(), have), have)


def set_up(stage: str) -> None:
    """Leave an environment that serves `stage`. One process does the work; others wait and find it done."""
    if not pending(stage):
        return
    if not os.access(str(ROOT), os.W_OK) or (VENV.exists() and not os.access(str(VENV), os.W_OK)):
        raise Stop(
            f"{VENV} must be made or renewed, and {ROOT} is not writable for you. Clone or copy it to a "
            "folder of your own and start there, or let its owner run `python3 dev.py setup` once."
        )
    import fcntl

    with Path(__file__).open("rb") as door:
        try:
            fcntl.flock(door, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another dev.py is setting up .venv: waiting for it")
            fcntl.flock(door, fcntl.LOCK_EX)
        todo = pending(stage)
        if todo:
            carry_out(todo, stage, door.fileno())


def carry_out(todo: "list[Step]", stage: str, door: int) -> None:
    """Do the steps. Each child inherits the locked door: not even a killed parent lets a second one in."""
    import time

    have = existing()
    begun = time.monotonic()
    version = ".".join(map(str, sys.version_info[:3]))
    if todo[0].verb == "make":
        have = None
        refuse_foreign()
        empty()
    installer = choose_installer()
    STAMP.write_text("{}", encoding="utf-8")
    want = keep_python(wanted(), have)
    for step in todo:
        if step.verb == "make":
            say(f"making .venv with Python {version} and {installer.name}; only the first start does this")
            run([base_python(), "-m", "venv", *installer.venv_options, str(VENV)], "making .venv", door)
        elif step.verb == "install":
            lock_file = ROOT / LOCKS[step.stage]
            count = sum(line[:1].isalnum() for line in lock_file.read_text(encoding="utf-8").splitlines())
            options = ["--no-deps", "--require-hashes", "-r", str(lock_file)]
            run([*installer.line, *installer.quick, *options], f"installing {count} packages", door, count)
        else:
            run(
                [*installer.line, "--no-deps", "--no-build-isolation", "-e", str(ROOT)],
                "linking this checkout",
                door,
            )
    dev = want.dev if stage == DEV else have.dev if have else None
    made = want._replace(dev=dev)
    fresh = STAMP.with_suffix(".new")
    fresh.write_text(json.dumps(made._asdict()), encoding="utf-8")
    fresh.replace(STAMP)
    say(f".venv is ready after {time.monotonic() - begun:.0f} s")


def refuse_foreign() -> None:
    """Only what this program made is thrown away."""
    if VENV.is_symlink() or (VENV.exists() and not STAMP.exists() and any(VENV.iterdir())):
        raise Stop(f"{VENV} was not made by dev.py. Move it away (mv .venv .venv.mine) and start again.")


def empty() -> None:
    """An empty folder with an empty stamp, which goes in first and stays: an interruption leaves a sign."""
    import shutil

    VENV.mkdir(exist_ok=True)
    STAMP.write_text("{}", encoding="utf-8")
    for each in VENV.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(str(each))
        elif each != STAMP:
            each.unlink()


class Installer(NamedTuple):
    """One of the ways to put packages into the environment."""

    name: str
    venv_options: "tuple[str, ...]"
    line: "tuple[str, ...]"
    quick: "tuple[str, ...]" = ()


def choose_installer() -> Installer:
    """Choose uv if it is there, else the environment's own pip, else a pip outside of it."""
    import importlib.util
    import shutil

    uv = shutil.which("uv")
    if uv:
        line = [uv, "pip", "install", "--quiet", "--python", str(PYTHON)]
        return Installer("uv", ("--without-pip",), (*line, *([] if cache_is_writable() else ["--no-cache"])))
    # Compiling ahead costs a third of an installation, and most modules are never imported.
    quick = ("--no-compile",)
    options = ("install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off")
    if importlib.util.find_spec("ensurepip"):
        return Installer("pip", (), (str(PYTHON), "-m", "pip", *options), quick)
    if importlib.util.find_spec("pip"):
        outer = (base_python(), "-m", "pip", "--python", str(PYTHON), *options)
        return Installer("the pip outside of it", ("--without-pip",), outer, quick)
    raise Stop(
        "this Python has neither pip nor ensurepip, and there is no uv. Install one of them "
        "(Debian, Ubuntu: apt install python3-venv)."
    )


def cache_is_writable() -> bool:
    """Whether uv may keep a cache: it fails where it cannot, as in an unwritable home."""
    home = Path(os.environ.get("HOME") or "/")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    at = Path(os.environ.get("UV_CACHE_DIR") or cache / "uv")
    while not at.exists():
        at = at.parent
    return os.access(str(at), os.W_OK)


# --- Talk and processes -------------------------------------------------------------------------------------


def say(text: str) -> None:
    """Talk goes to stderr: what a verb prints on stdout is data."""
    print(f"dev.py: {text}", file=sys.stderr, flush=True)


def run(line: "list[str]", what: str, door: "int | None" = None, count: int = 0) -> None:
    """Run a step to its end. A terminal shows in one line how far it is; failing shows its last output."""
    import subprocess

    live = sys.stderr.isatty()
    if not live:
        say(what)
    output, seen = [], 0
    with subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=() if door is None else (door,),
    ) as process:
        for text in process.stdout or ():
            output.append(text)
            seen += text.startswith("Collecting ")
            if live:
                far = f" {seen} of {count}" if seen and seen < count else ""
                print(f"\r\033[Kdev.py: {what}{far}", end="", file=sys.stderr, flush=True)
    if live:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    if process.returncode != 0:
        sys.stderr.writelines(output[-30:])
        raise Stop(f"{what} failed (exit {process.returncode}); the lines above say why. `{' '.join(line)}`")


def check() -> int:
    """Run all the checks, whatever the first one says, and name those that failed."""
    import subprocess

    failed = []
    for name, (tool, *options) in CHECKS:
        say(name)
        if subprocess.call([str(VENV / "bin" / tool), *options], cwd=str(ROOT)) != 0:
            failed.append(name)
    say(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


# --- Locks --------------------------------------------------------------------------------------------------


def lock(options: "list[str]") -> int:
    """Compile the locks, for every Python from 3.11 on and every platform, naming no index and no host.

    Settings of this machine stay out of it, or a lock would hold the hashes of files that only it can see.
    """
    import shutil
    import subprocess
    import tempfile

    clean = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    with tempfile.TemporaryDirectory(prefix="celeriac-lock-") as folder:
        uv = shutil.which("uv")
        if uv is None:
            say("uv is not on the PATH: installing it in a folder that is thrown away")
            throw_away = Path(folder) / "venv"
            run([base_python(), "-m", "venv", str(throw_away)], "making a folder for uv")
            run(
                [str(throw_away / "bin" / "python"), "-m", "pip", "install", "--quiet", "uv"], "installing uv"
            )
            uv = str(throw_away / "bin" / "uv")
        for stage, name in LOCKS.items():
            source = name.replace(".lock", ".in")
            line = [uv, "pip", "compile", "--quiet", "--no-config", "--universal", "--generate-hashes"]
            line += ["--python-version", "3.11", "--no-header", "--no-emit-index-url", "--no-emit-find-links"]
            line += (
                ["--no-deps"] if stage == MODELS else []
            )  # they ask for compilers and for torch, and need neither
            if subprocess.call([*line, *options, source, "-o", name], cwd=str(ROOT), env=clean) != 0:
                raise Stop(f"{source} cannot be compiled; the lines above say why.")
            if "://" in (ROOT / name).read_text(encoding="utf-8"):
                raise Stop(
                    f"{name} names a host or a path of this machine ({stage}): remove it from {source}."
                )
    say(f"wrote {', '.join(LOCKS.values())}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
