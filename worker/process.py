"""A worker process: Celery's worker in this process, told when it is ready, without the talk between workers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence

from celery import signals
from celery.exceptions import CPendingDeprecationWarning, SecurityWarning

from worker.application import app, settings

READY_FD = "CELERIAC_READY_FD"
"""The variable that names an open pipe: one line is written to it when messages are taken."""


def serve(queues: Sequence[str]) -> int:
    """Work until told to stop by a signal; return the exit code. Without queues those of the settings are served."""
    # Celery's warning about root is about pickle, and only JSON is accepted here.
    warnings.simplefilter("ignore", SecurityWarning)
    signals.setup_logging.connect(_keep_logging, weak=False)
    signals.worker_ready.connect(_ready, weak=False)
    worker = app.Worker(
        hostname=f"celeriac-{os.getpid()}@%h",
        queues=",".join(queues or settings.queues),
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=not settings.monitor,
    )
    # The one about a setting's coming default: celeryconfig.py says what it is to be. A worker turns them on when made.
    warnings.simplefilter("ignore", CPendingDeprecationWarning)
    worker.start()
    return int(worker.exitcode or 0)


def _keep_logging(**_: object) -> None:
    """Leave logging as the command line has set it up: a receiver is all Celery asks for."""


def _ready(**_: object) -> None:
    number = os.environ.pop(READY_FD, "")
    if number:
        os.write(int(number), b"ready\n")
        os.close(int(number))
