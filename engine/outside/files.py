"""Files of workflows: only those in the folder that the deployment has set aside for them."""

from __future__ import annotations

from pathlib import Path

from celeriac import Fail

SETTING = "CELERIAC_FILES"


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file inside the folder, whether the file is there or not. Raises `Fail` (`file.outside`).

    What counts is where the path leads once every link in it is followed.
    """
    base = folder.resolve()
    path = (base / name).resolve() if "\0" not in name else base
    if path == base or not path.is_relative_to(base):
        message = f"{name!r} is no file in the folder for the files of workflows, which {SETTING} names."
        raise Fail("file.outside", message, {"file": name})
    return path
