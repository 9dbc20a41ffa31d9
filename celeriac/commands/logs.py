"""Where processes of the installation write what went wrong: stderr, one line each."""

from __future__ import annotations

import logging


def to_stderr() -> None:
    """Write warnings and errors of this process to stderr, with what no reader's terminal minds."""
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
