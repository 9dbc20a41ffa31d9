"""`celeriac` and `python -m celeriac`."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command line. In an installed wheel the rooms are in a folder of their own, which goes first on the path."""
    rooms = Path(__file__).parent / "_app"
    if rooms.is_dir():
        sys.path.insert(0, str(rooms))
        inherited = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = f"{rooms}{os.pathsep}{inherited}" if inherited else str(rooms)
    from celeriac.cli import app

    app(prog_name="celeriac")


if __name__ == "__main__":
    main()
